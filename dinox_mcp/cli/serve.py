"""`dinox-mcp serve`, which is also what `dinox-mcp` without a command does: serve an assistant over MCP."""

import argparse
import gc
import sys
from typing import NoReturn

from dinox_mcp.cli.terminal import COMMON, SERVING, add_common_flags, flags, load_settings, number

_REFUSED = {
    "--dinox-api-key": "every program of this machine can read a key on the command line; set DINOX_API_KEY instead",
    "--enable-client-key": "leave it out: clients may always bring their own key, in the header X-DINOX-API-Key; "
    "?key= in the address is not read, as addresses are logged",
}
"""Flags of the vendor's server that this one does not have, and what to do instead (docs/from-vendor.md)."""
_WAITING = (
    "dinox-mcp: waiting for an MCP host on stdin. A host starts this command itself: run dinox-mcp install HOST "
    "(--list names them).\n"
    "To detect from this terminal: dinox-mcp detect photo.jpg person. Press Ctrl-C to stop.\n"
)


def add_flags(command: argparse.ArgumentParser, default: str | None = argparse.SUPPRESS) -> None:
    """Add the flags of serving to the parser of `serve`, or of `dinox-mcp` itself.

    `default` is the value of a flag that is not given. The command leaves such flags out: their defaults would replace
    the flags given before it.
    """
    command.set_defaults(run=run)
    group = command.add_argument_group("serving")
    group.add_argument(
        "--transport",
        type=str.lower,
        choices=("stdio", "http", "sse"),
        default=default,
        help="stdio (default), http or sse",
    )
    group.add_argument("--host", default=default, help="address to listen on (default 127.0.0.1)")
    group.add_argument(
        "--port",
        type=number(int, 0, 65535),
        default=default,
        metavar="PORT",
        help="port to listen on, 0 for a free one (default 8000)",
    )
    group.add_argument(
        "--no-auth", action="store_true", default=default, help="serve a network without a token (DINOX_MCP_TOKEN)"
    )
    group.add_argument(
        "--warm-up", action="store_true", default=default, help="load the local model now, not at the first request"
    )
    _add_flags_of_the_vendor(group, default)
    add_common_flags(command, default)


def run(options: argparse.Namespace) -> None:
    """Serve until the host closes stdin, or until the process is stopped."""
    # Half of the start is spent building the SDK's classes; a garbage collection meanwhile finds nothing in 60 ms.
    gc.disable()
    from dinox_mcp.server.serve import serve

    gc.freeze()
    gc.enable()
    settings = load_settings(**flags(options, *SERVING, *COMMON))
    if settings.transport == "stdio" and sys.stdin is not None and sys.stdin.isatty():  # a person would type messages
        sys.stderr.write(_WAITING)
    serve(settings)


def _add_flags_of_the_vendor(group: "argparse._ArgumentGroup", default: str | None) -> None:
    """Accept the flags of the vendor's server that have the same meaning here, and refuse the others by name."""
    for transport in ("http", "stdio"):
        group.add_argument(
            f"--{transport}",
            action="store_const",
            dest="transport",
            const=transport,
            default=default,
            help=argparse.SUPPRESS,
        )
    for flag in _REFUSED:
        group.add_argument(flag, nargs="?", action=_Refused, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


class _Refused(argparse.Action):
    """Exit with an explanation; the flag's value, which may be a key, is not repeated."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        parser.error(f"{self.option_strings[0]}: {_REFUSED[self.option_strings[0]]}")
