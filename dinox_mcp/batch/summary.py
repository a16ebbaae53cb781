"""The result of a search: which images hold what, the best first, with counts; and those images on one sheet."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import PurePath
from statistics import median_low
from typing import TYPE_CHECKING

from dinox_mcp.batch.journal import Journal, Record
from dinox_mcp.errors import DinoxError
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.detection import DetectedObject, Value

if TYPE_CHECKING:
    from PIL import Image

MAX_FAILURES = 50
"""Images without an answer that a result lists; their number covers all."""
MAX_NOTES = 10
SHEET_IMAGES = 9
"""Images on a sheet: more would be too small to be checked."""
_CELL = 512
"""Pixels of the long side of an image on the sheet."""


class FoundImage(Value):
    """An image that holds objects; `best` is the highest score of each label, `text` what was read first.

    `objects` are numbered from the one that scores highest, in pixels of the image; only the first images of a result
    have them.
    """

    image: str
    width: int
    height: int
    counts: dict[str, int]
    best: dict[str, float]
    text: str = ""
    copy_of_another: bool = False
    objects: tuple[DetectedObject, ...] = ()


class FailedImage(Value):
    """An image without an answer, and the reason."""

    image: str
    error: str
    code: str

    @property
    def line(self) -> str:
        """The reason with the name of the image, which most reasons have."""
        return self.error if PurePath(self.image).name in self.error else f"{self.image}: {self.error}"


class SearchResult(Value):
    """The result of a search through many images, as far as it is complete.

    Attributes:
        job: names the search in later calls, which continue it.
        prompts: the labels that were searched for; empty if everything was.
        total: the images of the job.
        done: those that are answered, or cannot be.
        found: those that hold objects.
        counts: the objects of each label in all images; 0 for each prompt that found nothing.
        images: the images that hold objects, the best first: the one whose labels have the highest scores together.
        failed: the images without an answer.
        failures: the first of them, with the reasons.
        copies: images that have the bytes of another one, whose objects count again.
        detected: the images that this call detected in.
        calls: calls to a service that may cost something: at most so many for the images that are left.
        unconfirmed: nothing was begun yet, as there are more such calls than `confirm_above`.
        backend: the backends that answer, joined by " + ".
        model: the models that answered, joined by " + ".
        stopped: why the search stopped before its end; empty if it did not.
        notes: what the caller must know.
    """

    job: str
    prompts: tuple[str, ...]
    total: int
    done: int
    found: int
    counts: dict[str, int]
    images: tuple[FoundImage, ...]
    failed: int = 0
    failures: tuple[FailedImage, ...] = ()
    copies: int = 0
    detected: int = 0
    calls: int = 0
    unconfirmed: bool = False
    backend: str = ""
    model: str = ""
    stopped: str = ""
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every image is answered, or cannot be."""
        return self.done >= self.total


def summarize(job: str, journal: Journal, labels: Sequence[str], top: int, boxes: int) -> SearchResult:
    """Summarize a journal. Blocks, as it reads the objects of the first images.

    Args:
        job: the id of the job.
        journal: what is known.
        labels: the labels of the request.
        top: how many images with objects to list.
        boxes: how many of them have their objects.
    """
    records = list(journal.records.values())
    there = sorted((record for record in records if record.counts), key=_rank)
    failed = [record for record in records if record.error]
    counts: Counter[str] = Counter()
    for record in there:
        counts.update(record.counts)
    named = set(labels) - set(unknown_everywhere(records))
    return SearchResult(
        job=job,
        prompts=tuple(labels),
        total=max(journal.total, len(records)),
        done=len(records),
        found=len(there),
        counts=dict(counts.most_common()) | {label: 0 for label in labels if label in named and label not in counts},
        images=tuple(_found(record, journal if place < boxes else None) for place, record in enumerate(there[:top])),
        failed=len(failed),
        failures=tuple(
            FailedImage(image=readable(one.source), error=one.error, code=one.code) for one in failed[:MAX_FAILURES]
        ),
        copies=sum(1 for record in records if record.copy),
        model=" + ".join(dict.fromkeys(part for one in records if one.model for part in one.model.split(" + "))),
        notes=tuple(_notes(records)),
    )


def unknown_everywhere(records: Iterable[Record]) -> list[str]:
    """List the prompts that the backend did not know in any image that it answered."""
    answered = [record.unknown for record in records if record.model]
    if not answered:
        return []
    return [prompt for prompt in answered[0] if all(prompt in unknown for unknown in answered)]


def readable(source: str) -> str:
    """Write a source so that it can be sent: bytes that are not UTF-8 become U+FFFD."""
    return source.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _rank(record: Record) -> tuple[float, int, str]:
    return -sum(record.best.values()), -sum(record.counts.values()), record.source


def _found(record: Record, journal: Journal | None) -> FoundImage:
    objects = journal.objects(record) if journal else ()
    return FoundImage(
        image=readable(record.source),
        width=record.size[0],
        height=record.size[1],
        counts=dict(record.counts),
        best=dict(record.best),
        text=record.text,
        copy_of_another=record.copy,
        objects=tuple(
            DetectedObject(id=number, **{**dict(one), "owner": None}) for number, one in enumerate(objects, start=1)
        ),
    )


def _notes(records: Iterable[Record]) -> Iterator[str]:
    """Give the notes of all images, each once with the image or the number of images, the most frequent first."""
    sources: dict[str, list[str]] = {}
    for record in records:
        for note in record.notes:
            sources.setdefault(note, []).append(record.source)
    ordered = sorted(sources, key=lambda note: -len(sources[note]))
    for note in ordered[:MAX_NOTES]:
        where = f"{len(sources[note])} images" if len(sources[note]) > 1 else PurePath(readable(sources[note][0])).name
        yield f"{note} ({where})"
    if len(ordered) > MAX_NOTES:
        yield f"{len(ordered) - MAX_NOTES} other notes on single images are left out"


def on_sheet(result: SearchResult) -> list[tuple[int, FoundImage]]:
    """Choose the images for the sheet, each with its number in the result: the first that are not copies of others."""
    numbered = enumerate(result.images, start=1)
    return [(place, found) for place, found in numbered if not found.copy_of_another][:SHEET_IMAGES]


def make_sheet(images: Sequence[tuple[int, FoundImage, Picture]], max_side: int, max_bytes: int) -> bytes | None:
    """Draw images with their objects on a sheet, as JPEG. Slow: call it in a thread.

    Args:
        images: the number of each, what was found in it, and the image itself.
        max_side: the longest side of the sheet in pixels.
        max_bytes: the most bytes.

    Returns:
        The sheet; None if none of the images can be decoded.
    """
    from dinox_mcp.drawing.sheet import contact_sheet
    from dinox_mcp.drawing.views import fit_bytes

    cells = []
    for place, found, picture in images:
        with suppress(DinoxError):  # it was changed since
            counts = ", ".join(f"{number} {label}" for label, number in found.counts.items())
            cells.append((_draw(found, picture), f"{place}: {counts}"))
    if not cells:
        return None
    # The sheet takes the shape of the first, which may be the only upright one.
    shape = median_low(image.width / image.height for image, _ in cells)
    cells[0] = (_framed(cells[0][0], shape), cells[0][1])
    return fit_bytes(contact_sheet(cells, max_side), max_bytes, max_side)[0]


def _draw(found: FoundImage, picture: Picture) -> "Image.Image":
    from dinox_mcp.drawing.annotate import annotate
    from dinox_mcp.drawing.style import Style
    from dinox_mcp.drawing.views import enlarge

    image, size = enlarge(picture.rgb(_CELL), _CELL), (picture.width, picture.height)
    return annotate(image, found.objects, original_size=size, style=Style(numbers=False))


def _framed(image: "Image.Image", shape: float) -> "Image.Image":
    """Put an image in the middle of a background of this shape (width divided by height)."""
    from PIL import ImageOps

    from dinox_mcp.drawing.sheet import PAPER

    size = (_CELL, round(_CELL / shape)) if shape > 1 else (round(_CELL * shape), _CELL)
    return ImageOps.pad(image, size, color=PAPER)
