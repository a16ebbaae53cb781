"""The result of a job: which images hold what, the best first, with counts for each and in total."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePath

from dinox_mcp.batch.journal import Journal, Record
from dinox_mcp.types.detection import DetectedObject, Value

MAX_FAILURES = 50
"""Images without an answer that a result lists; their number covers all."""
MAX_NOTES = 10


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


def _notes(records: Iterable[Record]) -> Iterable[str]:
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
