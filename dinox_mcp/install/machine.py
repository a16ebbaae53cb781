"""The machine that a host is set up on: what its paths depend on, so that each can be tried on any."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Platform = Literal["linux", "darwin", "win32"]


@dataclass(frozen=True, slots=True)
class Machine:
    """A platform, its user's folders, and the programs on it; `which` gives a program's path, as shutil's does."""

    platform: Platform
    home: Path
    environ: Mapping[str, str]
    project: Path
    which: Callable[[str], str | None]
    python: Path

    @classmethod
    def here(cls) -> "Machine":
        """Describe this machine."""
        platform: Platform = "win32" if sys.platform == "win32" else "darwin" if sys.platform == "darwin" else "linux"
        return cls(platform, Path.home(), os.environ, Path.cwd(), shutil.which, Path(sys.executable))

    def folder(self, variable: str, *default: str) -> Path:
        """Give the folder that an environment variable names, else one in the user's home."""
        named = self.environ.get(variable, "")
        return Path(named) if named else self.home.joinpath(*default)

    def quoted(self, words: Sequence[str]) -> str:
        """Write a command line so that this platform's shell reads it as these words."""
        return subprocess.list2cmdline(words) if self.platform == "win32" else shlex.join(words)

    @property
    def config(self) -> Path:
        """Where XDG programs keep settings: `~/.config`."""
        return self.folder("XDG_CONFIG_HOME", ".config")

    @property
    def applications(self) -> Path:
        """Where applications keep settings: `~/.config`, `~/Library/Application Support`, `%APPDATA%`."""
        if self.platform == "darwin":
            return self.home / "Library" / "Application Support"
        return self.folder("APPDATA", "AppData", "Roaming") if self.platform == "win32" else self.config
