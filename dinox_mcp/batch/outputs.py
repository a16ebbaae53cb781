"""Files and folders that are written into a run: aside at first, and under their name when they are complete."""

import os
import secrets
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from dinox_mcp.errors import InputError
from dinox_mcp.store.files import move_into_place

_SHOWN = 3


def check_free(run: Path, names: Sequence[str]) -> None:
    """Refuse to replace what is in the folder of a run.

    Raises:
        InputError: one of the names is taken.
    """
    taken = [name for name in names if os.path.lexists(run / name)]
    if taken:
        raise InputError(f"{', '.join(taken)} would be overwritten in {run}; allow it by --overwrite")


def check_own(folder: Path, own: Collection[str]) -> None:
    """Refuse to replace a folder that has other files too, such as the images that a user put beside labels.

    Args:
        folder: the folder, which need not be there.
        own: the names in it that may be replaced.

    Raises:
        InputError: it has some.
    """
    if folder.is_dir():
        others = sorted({one.name for one in folder.iterdir()}.difference(own))
        if others:
            named = ", ".join(others[:_SHOWN]) + (", …" if len(others) > _SHOWN else "")
            raise InputError(f"{folder} has files that are not of this run ({named}); move them elsewhere first")


def clear(path: Path) -> None:
    """Remove what a killed call left of a file or a folder."""
    for one in path.parent.glob(f".{path.name}.*.tmp"):
        shutil.rmtree(one) if one.is_dir() and not one.is_symlink() else one.unlink()


@contextmanager
def written_file(path: Path) -> Iterator[TextIO]:
    """Write a text file aside, and give it its name when it is complete."""
    beside = beside_of(path)
    try:
        with beside.open("x", encoding="utf-8", newline="\n") as file:
            yield file
        move_into_place(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def written_folder(path: Path) -> Iterator[Path]:
    """Fill a folder aside, and give it its name when it is complete."""
    beside, before = beside_of(path), beside_of(path)
    try:
        beside.mkdir()
        yield beside
        with suppress(FileNotFoundError):
            path.rename(before)
        beside.rename(path)
    finally:
        for one in (beside, before):
            shutil.rmtree(one, ignore_errors=True)


def write_numbered(path: Path, text: str) -> bool:
    """Write a file under a name that no other has, and return whether it had to be numbered."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        numbered = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        with suppress(FileExistsError):
            with numbered.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
            return number > 1
        number += 1


def beside_of(path: Path) -> Path:
    """Give a free name in the same folder, which `clear` knows, for what is not complete yet."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
