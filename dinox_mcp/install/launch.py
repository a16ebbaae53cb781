"""What a host starts: `uvx dinox-mcp`, or this Python's own program."""

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from typing import Literal

from dinox_mcp.errors import SettingsError
from dinox_mcp.install.hosts import Launch
from dinox_mcp.install.machine import Machine

Launcher = Literal["auto", "uvx", "python"]
PACKAGE = "dinox-mcp"
_OURS = re.compile(r"(?:.*[\\/])?dinox[-_]mcp(?:\.exe)?(?:\[[\w,-]*\])?(?:[=<>~!@].*)?")
_WHEEL = re.compile(r"(?:.*[\\/])?dinox_mcp-[^\\/]*\.(?:whl|tar\.gz)")


def choose(
    machine: Machine,
    env: Mapping[str, str],
    *,
    launcher: Launcher = "auto",
    source: str | None = None,
    extras: Sequence[str] = (),
    shared: bool = False,
) -> Launch:
    """Choose what starts the server.

    `auto` takes uvx where it is found, unless this package was installed from elsewhere than an index, as when it is
    developed. `source` is what uvx takes it from instead: a version, a wheel, a folder. Paths are absolute, because
    hosts that are started from a desktop do not know the shell's PATH; unless the file is `shared` with others.

    Raises:
        SettingsError: uvx is asked for and not found.
    """
    uvx = machine.which("uvx")
    if launcher == "uvx" and uvx is None:
        raise SettingsError("uvx is not found; install uv (it brings uvx), or use --launcher python")
    if uvx is not None and (launcher == "uvx" or source or (launcher == "auto" and not _from_elsewhere(machine))):
        named = _with_extras(source or PACKAGE, extras)
        args = (PACKAGE,) if named == PACKAGE else ("--from", named, PACKAGE)
        return Launch("uvx" if shared else uvx, args, env)
    program = machine.python.parent / (f"{PACKAGE}.exe" if machine.platform == "win32" else PACKAGE)
    if program.exists():
        return Launch(str(program), (), env)
    return Launch(str(machine.python), ("-m", "dinox_mcp"), env)


def is_ours(entry: object) -> bool:
    """Tell whether an entry of any host starts this server."""
    return any(_OURS.fullmatch(word) or _WHEEL.fullmatch(word) for word in words(entry) if not word.startswith("@"))


def words(entry: object) -> list[str]:
    """Give the command line of an entry."""
    if not isinstance(entry, dict):
        return []
    parts = [entry.get("command"), entry.get("args")]
    flat = [one for part in parts for one in (part if isinstance(part, list) else [part])]
    return [one for one in flat if isinstance(one, str)]


def _with_extras(source: str, extras: Sequence[str]) -> str:
    """Name extras as requirements do: behind the package's name, or behind a path."""
    if not extras:
        return source
    at = len(PACKAGE) if source.startswith(PACKAGE) else len(source)
    return f"{source[:at]}[{','.join(extras)}]{source[at:]}"


def _from_elsewhere(machine: Machine) -> bool:
    """Tell whether uvx would start another version than this one. What uvx itself has made is no place to stay."""
    if any(part.startswith("archive-v") for part in machine.python.parts):
        return False
    try:
        return distribution(PACKAGE).read_text("direct_url.json") is not None
    except PackageNotFoundError:
        return True
