"""The machine that a host runs on, and the command that it starts: `uvx …` where uvx started this program."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from dinox_mcp.errors import SettingsError
from dinox_mcp.types.extras import MODULE_OF_EXTRA, PACKAGE, origin, with_extras

Platform = Literal["linux", "darwin", "win32"]


@dataclass(frozen=True, slots=True)
class Machine:
    """A platform, its user's folders, and its programs.

    Attributes:
        project: The working folder, for `--project`.
        which: Returns the path of a program, as `shutil.which` does.
        python: The interpreter that runs this program.
    """

    platform: Platform
    home: Path
    environ: Mapping[str, str]
    project: Path
    which: Callable[[str], str | None]
    python: Path

    @classmethod
    def here(cls) -> "Machine":
        """Return this machine."""
        platform: Platform = "win32" if sys.platform == "win32" else "darwin" if sys.platform == "darwin" else "linux"
        return cls(platform, Path.home(), os.environ, Path.cwd(), shutil.which, Path(sys.executable))

    def folder(self, variable: str, *default: str) -> Path:
        """Return the folder that an environment variable names, else one in the user's home."""
        named = self.environ.get(variable, "")
        return Path(named) if named else self.home.joinpath(*default)

    def quoted(self, command: Sequence[str]) -> str:
        """Quote a command for this platform's shell."""
        return subprocess.list2cmdline(command) if self.platform == "win32" else shlex.join(command)

    @property
    def config(self) -> Path:
        """The folder where XDG programs keep settings: `~/.config`."""
        return self.folder("XDG_CONFIG_HOME", ".config")

    @property
    def applications(self) -> Path:
        """The folder where applications keep settings: `~/.config`, `~/Library/Application Support`, `%APPDATA%`."""
        if self.platform == "darwin":
            return self.home / "Library" / "Application Support"
        return self.folder("APPDATA", "AppData", "Roaming") if self.platform == "win32" else self.config


Launcher = Literal["auto", "uvx", "python"]
PUBLISHED = False
"""Whether PyPI has this package. Until then `uvx dinox-mcp` cannot work, and nothing here writes it.

After changing it, run `make pages`: the README and the examples follow it.
"""
_OURS = re.compile(r"(?:.*[\\/])?dinox[-_]mcp(?:\.exe)?(?:\[[\w,-]*\])?(?:[=<>~!@].*)?")
_WHEEL = re.compile(r"(?:.*[\\/])?dinox_mcp-[^\\/]*\.(?:whl|tar\.gz)")


@dataclass(frozen=True, slots=True)
class Launch:
    """The command that starts the server, with its arguments and environment variables."""

    command: str
    args: tuple[str, ...]
    env: Mapping[str, str]


def choose(
    machine: Machine,
    env: Mapping[str, str],
    *,
    launcher: Launcher = "auto",
    source: str | None = None,
    extras: Sequence[str] = (),
    shared: bool = False,
) -> Launch:
    """Choose the command that starts the server: the one that started this program, so that it is known to work.

    Paths are absolute, because hosts that are started from a desktop do not know the shell's PATH.

    Args:
        machine: The machine that the host runs on.
        env: Environment variables of the server.
        launcher: "uvx" or "python" for one of the two whatever started this program.
        source: The package for uvx: a version, a wheel, a folder. It implies uvx.
        extras: Extras of the package, for uvx.
        shared: Whether others get the file, so that it should not name a path of this machine.

    Raises:
        SettingsError: Uvx is needed and not found, or has nothing to install from.
    """
    uvx = machine.which("uvx")
    wants_uvx = launcher == "uvx" or source is not None
    if wants_uvx and uvx is None:
        raise SettingsError("uvx is not found; install uv (it brings uvx), or leave --from and --launcher uvx out")
    if uvx is not None and (wants_uvx or (launcher == "auto" and (_by_uvx(machine) or (shared and PUBLISHED)))):
        requirement = with_extras(source or _source(machine), extras)
        args = (PACKAGE,) if requirement == PACKAGE else ("--from", requirement, PACKAGE)
        return Launch("uvx" if shared else uvx, args, env)
    program = machine.python.parent / (f"{PACKAGE}.exe" if machine.platform == "win32" else PACKAGE)
    if program.exists():
        return Launch(str(program), (), env)
    return Launch(str(machine.python), ("-m", "dinox_mcp"), env)


def missing_extras(launch: Launch, extras: Sequence[str]) -> list[str]:
    """List the wanted extras that this Python does not have; uvx installs them itself."""
    if launch.args[-1:] == (PACKAGE,):
        return []
    return [name for name in extras if find_spec(MODULE_OF_EXTRA[name]) is None]


def is_ours(entry: object) -> bool:
    """Return whether an entry of any host starts this server."""
    return any(
        _OURS.fullmatch(part) or _WHEEL.fullmatch(part) for part in command_of(entry) if not part.startswith("@")
    )


def command_of(entry: object) -> list[str]:
    """Return the command of an entry with its arguments; empty where it has none."""
    if not isinstance(entry, dict):
        return []
    parts = [entry.get("command"), entry.get("args")]
    flat = [one for part in parts for one in (part if isinstance(part, list) else [part])]
    return [one for one in flat if isinstance(one, str)]


def _by_uvx(machine: Machine) -> bool:
    """Return whether uvx runs this program: it keeps what it runs in a folder of its cache."""
    return any(part.startswith("archive-v") for part in machine.python.parts)


def _source(machine: Machine) -> str:
    """Return what uvx installs this package from; raise SettingsError where it came from nowhere."""
    source = origin()
    if source is None and not PUBLISHED and not _by_uvx(machine):
        raise SettingsError(f"{PACKAGE} is not published yet; name a folder or a wheel for uvx with --from")
    return source or PACKAGE
