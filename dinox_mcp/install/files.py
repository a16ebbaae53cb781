"""The machine that a host runs on, and configuration files: reading, replacing in one step, comparing."""

import difflib
import os
import re
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
from dinox_mcp.store.files import open_regular, write_atomically

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


_BOM = "\ufeff"
_NEW_MODE = 0o644
_WRITABLE = 0o222
_OTHERS = 0o077
_MOST_BYTES = 200_000_000


@dataclass(frozen=True, slots=True)
class Text:
    """The text of a file and how it is encoded.

    Attributes:
        path: The file, behind a link if it is one.
        text: Its text with line feeds, without a byte order mark.
        content: Its bytes, None where there is no file.
        bom: Whether it has a byte order mark. It is not written again, as many programs cannot read JSON after it.
        crlf: Whether all its lines end as on Windows.
    """

    path: Path
    text: str
    content: bytes | None = None
    bom: bool = False
    crlf: bool = False

    def encode(self, text: str) -> bytes:
        """Encode another text in the same way."""
        text = text.replace("\n", "\r\n") if self.crlf else text
        return text.encode("utf-8", "surrogatepass")


def read(path: Path) -> Text:
    """Read a file, or the file behind a link; a file that does not exist has an empty text.

    Raises:
        DinoxError: The file cannot be read, or is not UTF-8.
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


def replace(old: Text, text: str, *, secret: bool, keep_backup: bool = True) -> Path | None:
    """Replace a file's text in one step.

    The file keeps its mode; if it now holds a `secret`, other users lose their rights.

    Returns:
        The backup beside it, None where there was no file.

    Raises:
        DinoxError: The file cannot be written, or has changed since it was read.
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
        backup = _back_up(path, old.content, mode) if keep_backup else None
        write_atomically(path, old.encode(text), mode)
    except OSError as error:
        raise DinoxError(f"{path} cannot be written ({error.strerror}); check it and its folder") from None
    return backup


def _bytes(path: Path) -> bytes:
    """Read a regular file: reading a pipe could wait forever, and a device has no end.

    Raises:
        OSError: The file cannot be read, is not a regular file, or is far too large.
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
    write_atomically(backup, content, mode)
    return backup


# Repetitions are bounded everywhere: a host's file may hold megabytes of history.
_NAME = r"(?:key|token|secret|passw|auth|credential|cookie|(?<![a-z])pat(?![a-z]))[\w.-]{0,32}"
_OPTION = rf"[\w.-]{{0,32}}?{_NAME}"
_TEXT = r"""("(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_SECRET_VALUES = (
    re.compile(rf"""({_NAME}["']?\s*[:=]\s*){_TEXT}""", re.IGNORECASE),
    re.compile(rf"""(["']--?{_OPTION}["']\s*,\s*){_TEXT}""", re.IGNORECASE),  # in a list of arguments
)
_SECRET_PARTS = (
    re.compile(rf"""((?:[?&]|--?){_OPTION}=|\bBearer )[^\s"'&]+""", re.IGNORECASE),
    re.compile(r"""(://[^\s/"':@]{0,64}:)[^\s/"'@]+(?=@)"""),  # in an address with a password
)


def difference(path: Path, before: str, after: str, key: str | None) -> str:
    """Compare two texts of a file line by line; the `key`, and what may be a secret of other servers, is masked."""
    old, new = (_masked(text.replace(key, "********") if key else text) for text in (before, after))
    return "\n".join(difflib.unified_diff(old.splitlines(), new.splitlines(), str(path), f"{path} (new)", lineterm=""))


def is_reference(value: str) -> bool:
    """Return whether a value is a variable that the host replaces by its content."""
    return value.startswith(("${", "{env:"))


def _masked(text: str) -> str:
    for pattern in _SECRET_VALUES:
        text = pattern.sub(_masked_value, text)
    for pattern in _SECRET_PARTS:
        text = pattern.sub(r"\1***", text)
    return text


def _masked_value(match: re.Match[str]) -> str:
    return match[0] if "********" in match[2] or is_reference(match[2][1:]) else f'{match[1]}"***"'
