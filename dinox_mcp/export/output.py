"""Writes an export into a folder: each file complete or not at all, none over another one unasked, none through a link.

A symbolic link in the folder counts as a file that exists. With `overwrite` the link is replaced, not what it leads to.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from dinox_mcp.errors import BusyError, ForbiddenError, InputError
from dinox_mcp.export.labels import CLASSES
from dinox_mcp.export.options import Exported
from dinox_mcp.export.plan import Plan
from dinox_mcp.images.sources import shorten
from dinox_mcp.settings import Settings
from dinox_mcp.store.files import open_regular, write_atomically, write_new

_MAX_CLASSES_BYTES = 1_000_000
_PATIENCE_S = 60.0  # seconds that a call waits for another one that writes into the same folder
_NAMED = 3  # existing files that an error names


def parse_folder(text: str) -> Path:
    """Read the path of a folder, as a caller writes it.

    Raises:
        InputError: it is not a full path on this machine.
    """
    plain = text.strip()
    if not plain.isprintable() or plain[:2] in {"//", "\\\\", "/\\", "\\/"}:
        raise InputError(f"'{shorten(plain)}' is not a folder of this machine; pass its full path")
    try:
        path = Path(plain).expanduser()
    except RuntimeError:
        raise InputError(f"no home is known for '{shorten(plain)}'; pass a full path") from None
    if not path.is_absolute():
        raise InputError(f"'{shorten(plain)}' is not a full path; pass one, as in /home/ada/crops")
    return path


def write(plan: Plan, folder: Path, settings: Settings, *, overwrite: bool = False) -> Exported:
    """Write the files of an export into a folder, which is made if it does not exist. Slow: call it in a thread.

    Raises:
        InputError: a file exists and may not be overwritten, or the folder cannot be written.
        ForbiddenError: the settings do not allow this folder.
        BusyError: another call writes labels into it that share a file with these.
    """
    real = _made(folder, settings)
    # Two calls at once, also of two processes, would give one number to two classes of a folder.
    with _locked(real) if plan.format == "yolo" else nullcontext():
        classes = _known_classes(real) if plan.format == "yolo" else []
        batches = list(plan.batches(classes))
        names = [name for batch in batches for name in batch.names]
        kept = {CLASSES} if classes else set()  # it is extended, and nothing in it is lost
        if not overwrite:
            _check_free(real, [name for name in names if name not in kept])
        written = 0
        for batch in batches:
            for name, data in zip(batch.names, batch.make(), strict=True):
                try:
                    if overwrite or name in kept:
                        write_atomically(real / name, data)
                    else:
                        write_new(real / name, data)
                except OSError as error:
                    raise InputError(
                        f"cannot write {real / name} ({error.strerror}), after {written} of {len(names)} files; choose "
                        "another folder"
                    ) from None
                written += 1
        notes = [f"{CLASSES} was there: its classes keep their numbers"] if classes else []
        return plan.done(real, names, notes)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder for one call of all this user's processes; the lock itself is not in the folder."""
    locks = user_cache_path("dinox-mcp") / "locks"
    lock = FileLock(locks / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]}.lock", timeout=_PATIENCE_S)
    try:
        locks.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise BusyError(f"another call writes labels into {folder}; try again in a while") from None
    except OSError as error:
        raise InputError(f"cannot lock {folder} in {locks} ({error.strerror}); make that folder writable") from None
    try:
        yield
    finally:
        lock.release()


def _made(folder: Path, settings: Settings) -> Path:
    """Make a folder, and return its path without links."""
    try:
        real = folder.absolute().resolve()
        _check_allowed(real, settings)
        real.mkdir(parents=True, exist_ok=True)
        if real.resolve() != real:
            raise InputError(f"a link was put in the way of {folder}; choose another folder")
    except OSError as error:
        raise InputError(f"cannot write into {folder} ({error.strerror}); choose another folder") from None
    return real


def _check_allowed(real: Path, settings: Settings) -> None:
    """Refuse a folder outside those that the settings name, if they name any."""
    if settings.allowed_folders is None:
        return
    allowed = [*settings.allowed_folders, *filter(None, [settings.output_folder])]
    if not any(real.is_relative_to(one.absolute().resolve()) for one in allowed):
        named = ", ".join(map(str, allowed)) or "none"
        raise ForbiddenError(f"{real} is outside the allowed folders ({named}); choose one of them")


def _check_free(folder: Path, names: Sequence[str]) -> None:
    taken = [name for name in names if os.path.lexists(folder / name)]
    if taken:
        more = f" and {len(taken) - _NAMED} more" if len(taken) > _NAMED else ""
        raise InputError(
            f"{', '.join(taken[:_NAMED])}{more} would be overwritten in {folder}; allow it by overwrite=true "
            "(--overwrite), or choose another folder"
        )


def _known_classes(folder: Path) -> list[str]:
    """Read YOLO's classes in a folder, so that the labels of further images fit those that are there."""
    path = folder / CLASSES
    if not os.path.lexists(path):
        return []
    try:
        with open_regular(path) as file:
            data = file.read(_MAX_CLASSES_BYTES + 1)
        if len(data) > _MAX_CLASSES_BYTES:
            raise InputError(f"{path} is too large for a list of classes; choose another folder")
        return [line.strip() for line in data.decode("utf-8-sig").rstrip().split("\n")] if data.strip() else []
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{path} is not a list of classes; choose another folder") from None
