"""`dinox-mcp`: the parser of all commands, and the exit status of each error."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from dinox_mcp import __version__
from dinox_mcp.cli import serve
from dinox_mcp.cli.terminal import COMMON, SERVING, flags, prepare, printable, report
from dinox_mcp.errors import DinoxError, SettingsError

_DESCRIPTION = "Eyes for AI assistants: an MCP server that finds objects in images, exactly."
_EPILOG = """\
examples:
  dinox-mcp install claude-desktop                add this server to an assistant (install --list names them)
  dinox-mcp detect photo.jpg person "red car" --out annotated.jpg
  dinox-mcp detect 'shelf/*.jpg' box --out annotated/ --json
  dinox-mcp detect photo.jpg person --open        show the result in the browser
  dinox-mcp detect clip.mp4 person car --out found/
  dinox-mcp search photos/ dog "red car" --out best.jpg     which images hold what, the best on one sheet
  dinox-mcp batch photos/ person car --out runs/photos      any number of images, into Parquet files
  dinox-mcp compare before.jpg after.jpg --out changes.jpg
  dinox-mcp export photo.jpg face --as redacted --to out/
  dinox-mcp evaluate coco --annotations instances_val2017.json --images val2017/
  dinox-mcp doctor                                report what works here, and the remedy for what does not
  dinox-mcp pull fast                             download a model for the local backend
  dinox-mcp                                       serve an assistant over stdio (what hosts start)
  dinox-mcp serve --transport http --port 8000    serve http://127.0.0.1:8000/mcp

environment:
  DINOX_API_KEY             key of the DINO-X cloud (https://deepdataspace.com)
  IMAGE_STORAGE_DIRECTORY   folder where visualize, and detect without --out, save images at full size
  DINOX_MCP_TOKEN           bearer token that HTTP clients must send
  DINOX_MCP_*               every other option; docs/settings.md lists them
"""
_COMMANDS = {
    "install": "add this server to an assistant: Claude, Cursor, VS Code, Codex, ...",
    "detect": "detect objects in images and videos, and print or draw them",
    "search": "find which of many images hold what",
    "batch": "detect objects in any number of images, into Parquet files",
    "compare": "report what changed between two images of one scene",
    "export": "make crops, cut-outs, redacted copies or labels of what is detected in images",
    "evaluate": "measure how good a backend is on labelled images",
    "doctor": "report what works here, what does not, and the remedy",
    "pull": "download a model for the local backend",
    "serve": "serve an assistant (the default)",
}
_INTERRUPTED = 130
_READER_LEFT = 141  # as a shell counts a program that SIGPIPE ended


class _Parser(argparse.ArgumentParser):
    """A parser that reports wrong usage in one line, as the commands report their errors."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2 and one line on stderr."""
        sys.exit(report(f"{message.removeprefix('argument ')} (see {self.prog} --help)", 2))


class _CommandParser(_Parser):
    """The parser of a command, whose module is imported only when the command is used: serving must start fast.

    The module is `dinox_mcp.cli.NAME`; its function `add_flags(parser)` adds the flags, and sets `run`.
    """

    _complete = False

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]  # noqa: ANN401 - as argparse declares it
        """Add the flags, and parse."""
        if not self._complete:
            self._complete = True
            command = self.prog.split()[-1]
            import_module(f"dinox_mcp.cli.{command}").add_flags(self)
            self.set_defaults(command=command, own={action.dest for action in self._actions})
        return super().parse_known_args(args, namespace)


class _TopParser(_Parser):
    """The parser of `dinox-mcp`, whose help begins with what works on this machine."""

    def format_help(self) -> str:
        """Return the help, with what works at the time of the call."""
        self.description = f"{_DESCRIPTION}\n\n{_works_now()}"
        return super().format_help()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and exit with its status.

    The status is 0, 1 (an error), 2 (wrong usage or settings), 130 (Ctrl-C) or 141 (the reader of a pipe has left).
    """
    prepare()
    try:
        options = parser().parse_args(arguments)  # which imports the command
        _refuse_others(options)
        options.run(options)
    except SettingsError as error:
        sys.exit(report(error, 2))
    except DinoxError as error:
        sys.exit(report(error, 1))
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        sys.exit(_READER_LEFT)


def parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    top = _TopParser(prog="dinox-mcp", epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("--version", action="version", version=f"dinox-mcp {__version__}")
    serve.add_flags(top, None)
    top.set_defaults(own=SERVING + COMMON)
    commands = top.add_subparsers(title="commands", metavar="COMMAND", parser_class=_CommandParser)
    for name, text in _COMMANDS.items():
        commands.add_parser(name, help=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    return top


def _refuse_others(options: argparse.Namespace) -> None:
    """Refuse flags that were given before a command that does not have them."""
    for name, value in flags(options, *SERVING, *COMMON).items():
        if value is not None and name not in options.own:
            flag = name.replace("_", "-")
            raise SettingsError(f"--{flag} is not an option of {options.command}; leave it out")


def _works_now() -> str:
    """Write what this machine can detect, and the one step that gives more."""
    from dinox_mcp.doctor.report import abilities
    from dinox_mcp.settings import Settings

    try:
        found = abilities(Settings.load())
    except DinoxError as error:
        return f"works now: nothing, as a setting is wrong: {printable(str(error))}"
    works = f"works now: {', '.join(found.works) or 'nothing'}"
    return f"{works}\none step to detect anything that you can name: {found.step}" if found.step else works
