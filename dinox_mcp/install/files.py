"""The machine that a host is set up on, and a person's configuration files: read, and replaced as a whole."""

import os
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from errno import EINVAL
from pathlib import Path
from typing import Literal

from dinox_mcp.errors import DinoxError
from dinox_mcp.store.files import open_regular, write_whole

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


_BOM = "\ufeff"
_NEW_MODE = 0o644
_WRITABLE = 0o222
_OTHERS = 0o077
_MOST_BYTES = 200_000_000


@dataclass(frozen=True, slots=True)
class Text:
    """What a file says, with line feeds, and how it says it. `content` is None where there is no file.

    A byte order mark, which many programs that read JSON stumble over, is not written again.
    """

    path: Path
    text: str
    content: bytes | None = None
    bom: bool = False
    crlf: bool = False

    def encode(self, text: str) -> bytes:
        """Write another text down in the same way."""
        text = text.replace("\n", "\r\n") if self.crlf else text
        return text.encode("utf-8", "surrogatepass")


def read(path: Path) -> Text:
    """Read a file, through a link if it is one; none is an empty text.

    Raises:
        DinoxError: it cannot be read, or is no UTF-8.
    """
    path = Path(os.path.realpath(path))
    try:
        content = _bytes(path)
        text = content.decode()
    except FileNotFoundError:
        return Text(path, "")
    except UnicodeDecodeError as error:
        raise DinoxError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8 and try again") from None
    except OSError as error:
        raise DinoxError(f"{path} cannot be read ({error.strerror}); check it and try again") from None
    bom, text = text.startswith(_BOM), text.removeprefix(_BOM)
    crlf = "\r\n" in text and text.count("\n") == text.count("\r\n")
    return Text(path, text.replace("\r\n", "\n") if crlf else text, content, bom, crlf)


def replace(old: Text, text: str, *, secret: bool) -> Path | None:
    """Put a text in the place of another in one step; gives the backup, None where there was no file.

    The file keeps its mode, without the rights of others if it now holds a `secret`.

    Raises:
        DinoxError: it cannot be written, or has changed since it was read.
    """
    path = old.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = _NEW_MODE if old.content is None else stat.S_IMODE(path.stat().st_mode)
        if not mode & _WRITABLE:
            raise DinoxError(f"{path} is read-only; make it writable, or add the entry yourself (--dry-run shows it)")
        mode = mode & ~_OTHERS if secret else mode
        if (_bytes(path) if path.exists() else None) != old.content:
            raise DinoxError(f"{path} has changed meanwhile, perhaps by its host; nothing was written, try again")
        backup = _back_up(path, old.content, mode)
        write_whole(path, old.encode(text), mode)
    except OSError as error:
        raise DinoxError(f"{path} cannot be written ({error.strerror}); check it and its folder") from None
    return backup


def _bytes(path: Path) -> bytes:
    """Read a file, but nothing else: a pipe would keep us waiting, and a device has no end.

    Raises:
        OSError: it cannot be read, is no regular file, or far too large.
    """
    with open_regular(path, follow_links=True) as file:
        if os.fstat(file.fileno()).st_size > _MOST_BYTES:
            raise OSError(EINVAL, f"it is larger than {_MOST_BYTES:,} bytes")
        return file.read()


def _back_up(path: Path, content: bytes | None, mode: int) -> Path | None:
    if content is None:
        return None
    now = datetime.now().astimezone()
    stem = f"{path.name}.{now:%Y%m%d-%H%M%S}"
    number = 0
    while (backup := path.with_name(f"{stem}{f'-{number}' if number else ''}.bak")).exists():
        number += 1
    write_whole(backup, content, mode)
    return backup
