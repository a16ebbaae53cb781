"""The command line: serve an assistant, or detect for a person."""

import argparse
import gc
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dinox_mcp import __version__
from dinox_mcp.errors import DinoxError, SettingsError

if TYPE_CHECKING:
    from dinox_mcp.settings import Settings

_EPILOG = """\
examples:
  dinox-mcp                                       serve an assistant over stdio (what hosts start)
  dinox-mcp serve --transport http --port 8000    serve http://127.0.0.1:8000/mcp
  dinox-mcp detect photo.jpg person "red car" --out annotated.jpg
  dinox-mcp detect 'shelf/*.jpg' box --out annotated/ --json
  dinox-mcp pull fast                             download a model for the local backend

environment:
  DINOX_API_KEY             key of the DINO-X cloud (https://deepdataspace.com); without one, text, codes and
                            markers are found on this machine
  IMAGE_STORAGE_DIRECTORY   folder where visualize saves pictures at full size
  DINOX_MCP_TOKEN           bearer token that HTTP clients must send
  DINOX_MCP_*               every other option; the README lists them
"""
_DETECT_EPILOG = """\
A word is a picture if it is a URL, ends like one (.jpg .png .webp …) or is an existing path or a pattern that matches
files; every other word is a prompt. Without prompts, everything that the backend knows is detected.

exit status: 0 all pictures answered, 1 some could not be, 2 wrong usage or settings
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exits with 0, 1 (a detection failed) or 2 (wrong usage or settings)."""
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except SettingsError as error:
        sys.exit(_complain(error, 2))
    except DinoxError as error:
        sys.exit(_complain(error, 1))
    except KeyboardInterrupt:
        sys.exit(130)


def parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="dinox-mcp",
        description="Eyes for AI assistants: an MCP server that finds objects in pictures, exactly.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"dinox-mcp {__version__}")
    top.set_defaults(run=_serve)
    commands = top.add_subparsers(title="commands", metavar="COMMAND")
    for command in (top, commands.add_parser("serve", help="serve an assistant (the default)")):
        _add_serve_options(command)
    _add_detect_command(commands)
    _add_pull_command(commands)
    return top


def _add_serve_options(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=_serve)
    options = command.add_argument_group("serving")
    options.add_argument("--transport", choices=("stdio", "http", "sse"), help="stdio (default), http or sse")
    options.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    options.add_argument("--port", help="port to listen on, 0 for a free one (default 8000)")
    options.add_argument(
        "--no-auth", action="store_true", default=None, help="serve a network without a token (DINOX_MCP_TOKEN)"
    )
    _add_common_options(command)


def _add_detect_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    detect = commands.add_parser(
        "detect",
        help="detect objects in pictures and print or draw them",
        description="Detect objects in pictures and print them as a table, or draw them.",
        epilog=_DETECT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    detect.set_defaults(run=_detect)
    detect.add_argument("words", nargs="+", metavar="PICTURE_OR_PROMPT", help="pictures, and what to look for in them")
    detect.add_argument("--out", metavar="PATH", help="write the annotated picture here: a .jpg or .png, or a folder")
    detect.add_argument("--json", action="store_true", help="print one JSON document a line for each picture")
    detect.add_argument("--min-score", type=float, default=0.25, metavar="S", help="lowest score, 0 to 1 (0.25)")
    detect.add_argument(
        "--iou-threshold", type=float, default=0.8, metavar="T", help="overlap above which boxes are one (0.8)"
    )
    detect.add_argument("--max-objects", type=int, default=100, metavar="N", help="objects to list at most (100)")
    detect.add_argument("--masks", action="store_true", help="ask for masks, where the backend can")
    _add_common_options(detect)


def _add_pull_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    pull = commands.add_parser(
        "pull",
        help="download a model for the local backend",
        description="Download a model for the local backend, or what is missing or new of it.",
    )
    pull.set_defaults(run=_pull)
    pull.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a preset, owner/name or owner/name@revision of the hub (default: DINOX_MCP_MODEL, or the device's)",
    )
    pull.add_argument("--list", action="store_true", help="list the presets and whether each is here")


def _add_common_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--backend", help="auto (default), dinox, local, embedded, or a plug-in's name")
    command.add_argument("--log-level", choices=("debug", "info", "warning", "error"), help="log to stderr (warning)")


def _serve(options: argparse.Namespace) -> None:
    # Half of the start is building the SDK's classes; collecting garbage meanwhile finds none and takes 60 ms.
    gc.disable()
    from dinox_mcp.server.serve import serve

    gc.freeze()
    gc.enable()
    serve(_settings(options, "transport", "host", "port", "no_auth", "backend", "log_level"))


def _detect(options: argparse.Namespace) -> None:
    from dinox_mcp.terminal import detect

    if not detect(_settings(options, "backend", "log_level"), options):
        sys.exit(1)


def _pull(options: argparse.Namespace) -> None:
    from dinox_mcp.backends.local.pull import list_presets, pull

    if options.list:
        list_presets()
    else:
        pull(_settings(options), options.model)


def _settings(options: argparse.Namespace, *flags: str) -> "Settings":
    from dinox_mcp.settings import Settings, unknown_variables

    for line in unknown_variables():
        sys.stderr.write(f"dinox-mcp: {line}\n")
    return Settings.load(**{flag: getattr(options, flag) for flag in flags})


def _complain(error: DinoxError, status: int) -> int:
    sys.stderr.write(f"dinox-mcp: {error}\n")
    return status
