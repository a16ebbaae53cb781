"""Writes a finished run in a format of other tools: COCO, YOLO, JSON Lines, or one Parquet file.

The rows of the run are read one after another, so that a run of any size takes the same memory.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dinox_mcp import __version__
from dinox_mcp.batch import parts
from dinox_mcp.batch.manifest import Manifest, read_manifest
from dinox_mcp.batch.outputs import aside, check_free, check_own, file_path, relative_name, write_numbered
from dinox_mcp.errors import InputError
from dinox_mcp.export.labels import CLASSES, yolo_lines
from dinox_mcp.store.jobs import held_run
from dinox_mcp.types.coco import annotation, category, is_posed
from dinox_mcp.types.detection import DetectedObject
from dinox_mcp.types.text import number_of, printable

Form = Literal["coco", "parquet", "jsonl", "yolo"]
OUTPUTS: Mapping[Form, str] = {
    "coco": "coco.json",
    "parquet": "detections.parquet",
    "jsonl": "detections.jsonl",
    "yolo": "yolo",
}
"""The file or the folder in a run that each format is written to."""
FORMS = tuple(OUTPUTS)
Report = Callable[[float, str], None]
_EVERY = 500
_LABELS = "labels"


@dataclass(frozen=True, slots=True)
class Converted:
    """What was written: where, of how many images and objects, and what the caller must know."""

    path: Path
    images: int
    objects: int
    notes: tuple[str, ...] = ()


def convert(run: Path, form: Form, *, overwrite: bool = False, report: Report | None = None) -> Converted:
    """Write a finished run in a format, into its folder. Blocks.

    Args:
        run: the folder of the run.
        form: the format.
        overwrite: replace what an earlier call wrote.
        report: hears which share is done; what it raises ends the work, and nothing is left of it.

    Raises:
        InputError: there is no finished run in the folder, or the file exists, or cannot be written.
        BusyError: another call works on the run.
        UnsupportedError: the extra `batch` is not installed.
    """
    path = run / OUTPUTS[form]
    if not overwrite:
        check_free(run, [path.name])
    elif form == "yolo":
        check_own(path, (_LABELS, CLASSES))
    finished = _Finished(run, _finished_manifest(run), path.name, report or (lambda _share, _message: None))
    try:
        with held_run(run), aside(path) as beside:
            images, objects, notes = _WRITERS[form](finished, beside)
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({error.strerror or error}); check its folder, and whether the disk is full"
        ) from None
    return Converted(path, images, objects, tuple(notes))


@dataclass(slots=True)
class _Finished:
    """A finished run: its rows, and what all of them have in common."""

    run: Path
    manifest: Manifest
    output: str
    report: Report
    passes: int = 1
    _done: int = 0

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Give the rows of all parts in order, or only some of their columns."""
        for shard in self.manifest.shards:
            for row in parts.stream_rows(self.run, shard.number, columns):
                if self._done % _EVERY == 0:
                    share = self._done / max(1, self.passes * self.manifest.images)
                    self.report(share, f"writing {self.output}")
                self._done += 1
                yield row

    def name(self, row: Mapping[str, Any]) -> str:
        return relative_name(row["source"], self.manifest.header["source"])


_Written = tuple[int, int, Sequence[str]]
"""The number of images and of objects that were written, and notes."""


@dataclass(slots=True)
class _Survey:
    """What must be known of all objects before the first one is written.

    Attributes:
        numbers: the labels in the order in which they are found, numbered from 0.
        posed: those of objects with the points of a body.
        objects: the number of all objects; `masks` and `points` are those with a mask and with keypoints.
        notes: what is left out.
    """

    numbers: dict[str, int] = field(default_factory=dict)
    posed: set[str] = field(default_factory=set)
    objects: int = 0
    masks: int = 0
    points: int = 0
    notes: list[str] = field(default_factory=list)


def _surveyed(finished: _Finished, name: Callable[[str], str] = str) -> _Survey:
    survey, unanswered = _Survey(), 0
    for row in finished.rows(("objects", "error")):
        unanswered += row["error"] is not None
        for found in objects_of(row):
            survey.objects += 1
            survey.numbers.setdefault(name(found.label), len(survey.numbers))
            survey.masks += found.mask is not None
            survey.points += bool(found.keypoints)
            if is_posed(found):
                survey.posed.add(found.label)
    if unanswered:
        survey.notes.append(f"{number_of(unanswered, 'image')} without an answer left out")
    return survey


def objects_of(row: Mapping[str, Any]) -> tuple[DetectedObject, ...]:
    """Read the objects of a row, numbered from 1."""
    return tuple(
        DetectedObject.model_validate(_without_none(one) | {"id": number})
        for number, one in enumerate(row["objects"] or (), start=1)
    )


def _coco(finished: _Finished, path: Path) -> _Written:
    finished.passes = 3
    survey = _surveyed(finished)
    models = " + ".join(f"{one['backend']} ({one['model']})" for one in finished.manifest.header["backends"])
    images = written = 0
    with path.open("x", encoding="utf-8", newline="\n") as file:
        info = {"description": f"Found by {models} with dinox-mcp {__version__}"}
        file.write(f'{{"info": {json.dumps(info)},\n"licenses": [],\n"images": [')
        for row in finished.rows(("source", "sha256", "width", "height", "error")):
            if row.pop("error") is None:
                images += 1
                image = {"id": images, "file_name": finished.name(row), **row}
                file.write(("\n" if images == 1 else ",\n") + json.dumps(image))
        file.write('],\n"categories": ')
        numbers = survey.numbers.items()
        json.dump([category(number + 1, label, posed=label in survey.posed) for label, number in numbers], file)
        file.write(',\n"annotations": [')
        image_id = 0
        for row in finished.rows(("objects", "error")):
            image_id += row["error"] is None
            for found in objects_of(row):
                written += 1
                known = {"id": written, "image_id": image_id, "category_id": survey.numbers[found.label] + 1}
                line = json.dumps(known | annotation(found, posed=found.label in survey.posed))
                file.write(("\n" if written == 1 else ",\n") + line)
        file.write("]}\n")
    return images, written, survey.notes


def _yolo(finished: _Finished, path: Path) -> _Written:
    """Write a file of lines for each image, below `labels` as the images are below their source."""
    finished.passes = 2
    survey = _surveyed(finished, printable)
    segmented = survey.masks == survey.objects > 0
    images = renamed = 0
    path.mkdir()
    for row in finished.rows(("source", "width", "height", "objects", "error")):
        if row["error"] is not None:
            continue
        images += 1
        size = (row["width"], row["height"])
        lines = yolo_lines(objects_of(row), size, survey.numbers, segmented=segmented)
        wanted = path / _LABELS / file_path(finished.name(row), ".txt")
        renamed += write_numbered(wanted, "".join(f"{line}\n" for line in lines))
    names = "".join(f"{name}\n" for name in survey.numbers)
    (path / CLASSES).write_text(names, encoding="utf-8", errors="replace", newline="\n")
    notes = survey.notes
    if 0 < survey.masks < survey.objects:
        bare = survey.objects - survey.masks
        notes.append(f"{number_of(bare, 'object')} without a mask: all are written as boxes, as YOLO reads no mixture")
    if survey.points:
        notes.append("keypoints are left out: the format coco has them")
    if renamed:
        notes.append(
            f"{number_of(renamed, 'label file')} numbered, as in a-2.txt, since another image has the name; rename the "
            "images alike"
        )
    return images, survey.objects, notes


def _jsonl(finished: _Finished, path: Path) -> _Written:
    images = objects = 0
    with path.open("x", encoding="utf-8", newline="\n") as file:
        for row in finished.rows():
            images += 1
            objects += len(row["objects"] or ())
            file.write(json.dumps(_without_none(row)) + "\n")
    return images, objects, ()


def _parquet(finished: _Finished, path: Path) -> _Written:
    images = objects = 0
    shards = (shard.number for shard in finished.manifest.shards)
    for more_images, more_objects in parts.join_parts(finished.run, shards, path):
        images, objects = images + more_images, objects + more_objects
        finished.report(images / finished.manifest.images, f"writing {finished.output}")
    return images, objects, ()


_WRITERS: Mapping[Form, Callable[[_Finished, Path], _Written]] = {
    "coco": _coco,
    "parquet": _parquet,
    "jsonl": _jsonl,
    "yolo": _yolo,
}


def _finished_manifest(run: Path) -> Manifest:
    manifest = read_manifest(run)
    for shard in manifest.shards:
        if parts.read_done(run, shard.number, manifest.fingerprint) is None:
            raise InputError(f"the run in {run} is not finished; run the same command again")
    return manifest


def _without_none(value: Any) -> Any:  # noqa: ANN401 - any part of a row
    if isinstance(value, dict):
        return {name: _without_none(one) for name, one in value.items() if one is not None}
    return [_without_none(one) for one in value] if isinstance(value, list) else value
