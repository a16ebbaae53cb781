"""What the commands share: the parser classes, argument types, common flags, and settings from flags."""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from dinox_mcp.cli import terminal
from dinox_mcp.errors import DinoxError, SettingsError

if TYPE_CHECKING:
    from dinox_mcp.settings import Settings

COMMON = ("backend", "log_level")
"""Flags that serving and detecting have in common."""
SERVING = ("transport", "host", "port", "no_auth", "warm_up")
"""Flags that only serving has. They may be given before any command, so the other commands must refuse them."""


class Parser(argparse.ArgumentParser):
    """A parser that reports wrong usage in one line, as the commands report their errors."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2 and one line on stderr."""
        sys.exit(report(f"{message.removeprefix('argument ')} (see {self.prog} --help)", 2))


class CommandParser(Parser):
    """The parser of a command, whose module is imported only when the command is used: serving must start fast.

    The module is `dinox_mcp.cli.NAME`; its function `add_flags(parser)` adds the flags, and sets `run`.
    """

    _complete = False

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]  # noqa: ANN401 - as argparse declares it
        """Add the flags, and parse."""
        if not self._complete:
            self._complete = True
            import_module(f"dinox_mcp.cli.{self.prog.split()[-1]}").add_flags(self)
        return super().parse_known_args(args, namespace)


def add_common_flags(command: argparse.ArgumentParser, default: str | None) -> None:
    """Add --backend and --log-level; `default` is their value where they are not given."""
    command.add_argument(
        "--backend", default=default, help="auto (default), dinox, local, embedded, or a plug-in's name"
    )
    command.add_argument(
        "--log-level",
        type=str.lower,
        choices=("debug", "info", "warning", "error"),
        default=default,
        help="log to stderr (warning)",
    )


def number(kind: type[int] | type[float], least: int, most: int) -> Callable[[str], float]:
    """Make an argument type that accepts numbers from `least` to `most`."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(least - 1)
        if not least <= value <= most:  # not a number (NaN) fails this, too
            what = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r:.80} is not {what} from {least} to {most}")
        return value

    return read


def flags(options: argparse.Namespace, *names: str) -> dict[str, object]:
    """Return the named flags with their values, None where a flag was not given."""
    return {name: getattr(options, name) for name in names}


def refuse(options: argparse.Namespace, command: str, *names: str) -> None:
    """Refuse flags that were given before a command that does not have them.

    Raises:
        SettingsError: One of them was given.
    """
    for flag, value in flags(options, *names).items():
        if value is not None:
            raise SettingsError(f"--{flag.replace('_', '-')} is not an option of {command}; leave it out")


def load_settings(**given: object) -> "Settings":
    """Read the settings, with `given` flags before environment variables; warn of misspelled variables on stderr.

    Raises:
        SettingsError: A flag or a variable is wrong.
    """
    from dinox_mcp.settings import Settings, unknown_variables

    for warning in unknown_variables():
        report(warning, 0)
    return Settings.load(**given)


def report(problem: DinoxError | str, status: int) -> int:
    """Write a problem to stderr in one line; return the exit status."""
    sys.stderr.write(f"dinox-mcp: {terminal.printable(str(problem))}\n")
    return status
