"""What a host starts: `uvx dinox-mcp`, or this Python's own program."""

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from itertools import pairwise
from typing import Literal

from dinox_mcp.errors import SettingsError
from dinox_mcp.install.files import Machine
from dinox_mcp.install.hosts import Launch

Launcher = Literal["auto", "uvx", "python"]
PACKAGE = "dinox-mcp"
_OURS = re.compile(r"(?:.*[\\/])?dinox[-_]mcp(?:\.exe)?(?:\[[\w,-]*\])?(?:[=<>~!@].*)?")
_PROOF = {"local": "torch", "video": "av"}
_TOOLS = {("uv", "tools"), ("pipx", "venvs")}
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

    `auto` takes uvx where it is found, unless this program was installed to stay (by `uv tool install` or pipx: it
    starts faster) or from elsewhere than an index (as when it is developed). `source` is what uvx takes it from: a
    version, a wheel, a folder. Paths are absolute, because hosts that are started from a desktop do not know the
    shell's PATH; unless the file is `shared` with others.

    Raises:
        SettingsError: uvx is asked for and not found.
    """
    uvx = machine.which("uvx")
    if uvx is None and (launcher == "uvx" or source):
        raise SettingsError("uvx is not found; install uv (it brings uvx), or leave --from and --launcher uvx out")
    if uvx is not None and (launcher == "uvx" or source or (launcher == "auto" and not _stays(machine))):
        named = _with_extras(source or PACKAGE, extras)
        args = (PACKAGE,) if named == PACKAGE else ("--from", named, PACKAGE)
        return Launch("uvx" if shared else uvx, args, env)
    program = machine.python.parent / (f"{PACKAGE}.exe" if machine.platform == "win32" else PACKAGE)
    if program.exists():
        return Launch(str(program), (), env)
    return Launch(str(machine.python), ("-m", "dinox_mcp"), env)


def lacks(launch: Launch, extras: Sequence[str]) -> list[str]:
    """List the extras that are asked for and that what starts the server does not have; uvx brings them."""
    if launch.args[-1:] == (PACKAGE,):
        return []
    return [name for name in extras if find_spec(_PROOF[name]) is None]


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


def _stays(machine: Machine) -> bool:
    """Tell whether this program is the one to start; what uvx itself has made is no place to stay."""
    parts = machine.python.parts
    if any(part.startswith("archive-v") for part in parts):
        return False
    if any(pair in _TOOLS for pair in pairwise(parts)):
        return True
    try:
        return distribution(PACKAGE).read_text("direct_url.json") is not None
    except PackageNotFoundError:
        return True
