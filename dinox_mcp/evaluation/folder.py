"""The files of a run: its journal, which one call at a time writes, and what is made of it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dinox_mcp.batch.journal import Journal, Keeping, difference
from dinox_mcp.errors import InputError, NotFoundError, SettingsError
from dinox_mcp.settings import MiB
from dinox_mcp.store.files import write_atomically
from dinox_mcp.store.jobs import held_run

JOURNAL, REPORT, DETECTIONS = "journal.jsonl", "report.json", "detections.json"
"""Files of a run: what was found, the report, and the boxes as COCO's evaluators read them."""
MAX_BYTES = 8192 * MiB


@contextmanager
def opened(folder: Path, header: Mapping[str, Any], most: int) -> Iterator[Journal]:
    """Open the journal of a run, for one call at a time.

    Raises:
        InputError: the folder has another run.
        BusyError: another call works on this run.
        SettingsError: the folder cannot be written.
    """
    with held_run(folder):
        path = folder / JOURNAL
        if path.exists():
            try:
                begun = Journal.read(path).header
            except NotFoundError:
                raise InputError(f"{path} is damaged or of another version; choose another --out") from None
            if changed := difference(begun, header):
                raise InputError(f"the run in {folder} was begun with {changed}; choose another --out")
        journal = Journal.open(path, header, Keeping(most, MAX_BYTES, remedy="choose another --out"))
        try:
            yield journal
        finally:
            journal.close()


def check_writable(path: Path) -> None:
    """Refuse a file that could not be written, before anything is detected or paid.

    Raises:
        SettingsError: its folder cannot be made or written, or the path is a folder.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error.strerror) from None
    if path.is_dir():
        raise _unwritable(path, "it is a folder")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise _unwritable(path, f"nothing may be written into {path.parent}")


def write(path: Path, text: str) -> None:
    """Write a file.

    Raises:
        SettingsError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    except OSError as error:
        raise _unwritable(path, error.strerror) from None


def _unwritable(path: Path, why: str | None) -> SettingsError:
    return SettingsError(f"{path} cannot be written ({why}); choose another path")
