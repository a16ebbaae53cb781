"""What an export may be: its formats, its options, and the report of what was made."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict, get_args

from dinox_mcp.types.text import one_line, printable

LabelFormat = Literal["coco", "yolo", "voc", "cvat", "labelme", "labelstudio", "csv"]
LABEL_FORMATS: tuple[LabelFormat, ...] = get_args(LabelFormat)
Format = Literal["crops", "cutouts", "redacted", "coco", "yolo", "voc", "cvat", "labelme", "labelstudio", "csv"]
FORMATS: tuple[Format, ...] = get_args(Format)
Method = Literal["fill", "blur", "pixelate"]
METHODS: tuple[Method, ...] = get_args(Method)
Shape = Literal["box", "mask"]
SHAPES: tuple[Shape, ...] = get_args(Shape)
_MADE = {"crops": "Crops", "cutouts": "Cut-outs", "redacted": "A copy of the image without the pixels"}
_LABEL = 100  # characters of a label that a report shows
PADDING, REDACTED_PADDING = 0.15, 0.25
"""The margins of crops, and of what is redacted: with less, some redacted faces were guessed from the hair."""
MAX_PADDING = 10


class ExportOptions(TypedDict, total=False):
    """Options of an export.

    Attributes:
        objects: numbers of the objects to export; by default all.
        labels: only objects of these labels.
        method: how a copy is redacted: `fill` with black (the default), `blur` or `pixelate`.
        shape: what is redacted of an object: its `box` (the default) or, where it has one, its `mask`.
        padding: the margin: of crops as a share of the object's sides (0.15 by default), of what is redacted as a share
            of its shorter side (0.25 by default).
        overwrite: existing files are replaced; without it they are an error.
    """

    objects: Sequence[int]
    labels: Sequence[str]
    method: Method
    shape: Shape
    padding: float | None
    overwrite: bool


@dataclass(frozen=True, slots=True)
class Exported:
    """What was exported.

    Attributes:
        format: the format.
        counts: how many objects of each label.
        folder: where the files are; None if they are resources.
        files: the names of the files, or `dinox://` URIs of resources.
        notes: what the caller must know, such as what was not done.
    """

    format: Format
    counts: dict[str, int]
    folder: Path | None
    files: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def lines(self, most: int) -> list[str]:
        """Write the report for people and models, with at most so many files."""
        total = sum(self.counts.values())
        labels = ", ".join(f"{number} {one_line(label):.{_LABEL}}" for label, number in self.counts.items())
        objects = f"{total} object{'' if total == 1 else 's'}{f': {labels}' if labels else ''}"
        where = f"Files in {self.folder}" if self.folder is not None else "Resources"
        more = len(self.files) - most
        lines = [
            f"{_MADE.get(self.format, f'Labels as {self.format}')} of {objects}.",
            f"{where}: {len(self.files)}",
            *(f"- {name}" for name in self.files[:most]),
            *([f"... and {more} more"] if more > 0 else []),
            *(f"Note: {note}." for note in self.notes),
        ]
        return [printable(line) for line in lines]
