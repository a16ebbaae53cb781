"""Draws what a run has found: an annotated copy of each image with objects, into the folder of the run."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import anyio.to_thread

from dinox_mcp.backends.base import Progress, gather, silent
from dinox_mcp.batch import parts
from dinox_mcp.batch.convert import objects_of
from dinox_mcp.batch.manifest import Manifest, Shard, read_entries, read_manifest
from dinox_mcp.batch.outputs import jpeg_path, relative_name
from dinox_mcp.batch.reader import Reader
from dinox_mcp.batch.requests import Detecting
from dinox_mcp.batch.sources import Entry
from dinox_mcp.detect.options import OWNER
from dinox_mcp.errors import DinoxError, InputError, SettingsError
from dinox_mcp.images.picture import Picture
from dinox_mcp.store.files import write_atomically
from dinox_mcp.store.jobs import held_run
from dinox_mcp.types.detection import DetectedObject
from dinox_mcp.types.text import number_of

FOLDER = "annotated"
"""The folder in a run that annotated images are written to."""
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Annotated:
    """What was drawn: the folder, the new files in it, those that were there, and what could not be drawn."""

    folder: Path
    written: int
    kept: int
    notes: tuple[str, ...] = ()


async def annotate(
    detector: Detecting, run: Path, *, overwrite: bool = False, progress: Progress = silent
) -> Annotated:
    """Write an annotated JPEG of each image with objects of a finished run, some at a time.

    Files that are there stay as they are, so that a call that was stopped is continued by the next.

    Args:
        detector: loads the images and draws.
        run: the folder of the run.
        overwrite: draw again what is there.
        progress: hears of each image.

    Raises:
        InputError: there is no run in the folder.
        BusyError: another call works on the run.
        SettingsError: the files cannot be written.
    """
    manifest = await anyio.to_thread.run_sync(read_manifest, run)
    work = _Annotating(detector, run, manifest, progress, overwrite=overwrite)
    with ExitStack() as held:
        await anyio.to_thread.run_sync(held.enter_context, held_run(run))
        reader = held.enter_context(Reader(detector.settings, manifest.header.get("column")))
        for shard in manifest.shards:
            await work.shard(shard, reader)
    notes = work.failures
    if more := work.failed - len(notes):
        notes.append(f"{number_of(more, 'more image')} not drawn")
    return Annotated(run / FOLDER, work.written, work.kept, tuple(notes))


class _Found(NamedTuple):
    entry: Entry
    sha256: str
    objects: tuple[DetectedObject, ...]
    path: Path


class _Annotating:
    """One call: how many files are written, and why some are not."""

    def __init__(
        self, detector: Detecting, run: Path, manifest: Manifest, progress: Progress, *, overwrite: bool
    ) -> None:
        self._detector, self._run, self._manifest, self._progress = detector, run, manifest, progress
        self._overwrite = overwrite
        self._images = 0
        self.written = self.kept = self.failed = 0
        self.failures: list[str] = []

    async def shard(self, shard: Shard, reader: Reader) -> None:
        """Draw the images of a shard; raises a SettingsError if a file cannot be written."""
        after = self._images + shard.images
        wanted = await anyio.to_thread.run_sync(self._wanted, shard)
        await gather([partial(self._draw, one, reader) for one in wanted], os.cpu_count() or 1)
        self._images = after  # those without objects are not drawn
        await self._report()

    def _wanted(self, shard: Shard) -> list[_Found]:
        """List the images of a shard that are to be drawn."""
        rows = parts.stream_rows(self._run, shard.number, ("sha256", "objects"))
        wanted = []
        for entry, row in zip(read_entries(self._run, shard), rows, strict=True):
            objects = objects_of(row)
            name = relative_name(entry.source, self._manifest.header["source"])
            path = self._run / FOLDER / jpeg_path(name, entry.source)
            if objects and not self._overwrite and os.path.lexists(path):
                self.kept += 1
            elif objects:
                wanted.append(_Found(entry, row["sha256"], objects, path))
        return wanted

    async def _draw(self, found: _Found, reader: Reader) -> None:
        """Draw an image; what is wrong with it is noted."""
        source = found.entry.source
        try:
            data = await anyio.to_thread.run_sync(reader.read, found.entry)
            loading = self._detector.load(source, OWNER) if data is None else self._detector.read(data, source)
            picture = await loading
            if picture.digest != found.sha256:
                raise InputError(f"{source} was changed since it was detected in; it is not drawn")
            drawn = await self._detector.draw(partial(_jpeg, picture, found.objects))
            await anyio.to_thread.run_sync(_write, found.path, drawn)
            self.written += 1
        except SettingsError:
            raise
        except DinoxError as error:
            self.failed += 1
            if len(self.failures) < _SHOWN:
                self.failures.append(str(error))
        self._images += 1
        await self._report()

    async def _report(self) -> None:
        total = max(1, self._manifest.images)
        await self._progress(self._images / total, number_of(self.written, "annotated image"))


def _jpeg(picture: Picture, objects: Sequence[DetectedObject]) -> bytes:
    from dinox_mcp.drawing.style import Style
    from dinox_mcp.drawing.views import annotated_file

    return annotated_file(picture, objects, Style())


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    except OSError as error:
        raise SettingsError(
            f"cannot write {path} ({error.strerror}); check the folder, and whether the disk is full"
        ) from None
