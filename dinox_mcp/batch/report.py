"""What a run says of itself: its pace on the way, and in the end what it has found."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from dinox_mcp.batch.manifest import Shard
from dinox_mcp.batch.parts import Done
from dinox_mcp.batch.summary import MAX_NOTES
from dinox_mcp.types.detection import Value
from dinox_mcp.types.text import number_of

_MANY = 100


class BatchResult(Value):
    """What a run has found so far.

    Attributes:
        folder: the folder of the run; `parts/*.parquet` in it have a row for each finished image.
        total: the images of the run.
        done: those in finished shards.
        failed: those of them without an answer, which `errors.parquet` lists.
        found: those of them with objects.
        counts: the objects of each label; 0 for each prompt that found nothing.
        detected: the images that this call finished.
        seconds: how long this call took for them.
        backend: the backends that answer, joined by " + ".
        model: the models that answered, joined by " + ".
        stopped: why the run stopped before its end; empty if it did not.
        notes: what the caller must know.
    """

    folder: str
    total: int
    done: int
    failed: int
    found: int
    counts: dict[str, int]
    detected: int = 0
    seconds: float = 0.0
    backend: str = ""
    model: str = ""
    stopped: str = ""
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every image is answered, or cannot be."""
        return self.done >= self.total


def sum_up_run(finished: Sequence[Done], labels: Sequence[str], notes: Sequence[str]) -> BatchResult:
    """Sum up the finished shards of a run.

    Args:
        finished: the shards, in order.
        labels: the labels of the request.
        notes: what the caller must know; what the backend said of images follows.
    """
    counts: Counter[str] = Counter()
    said: Counter[str] = Counter()
    for one in finished:
        counts.update(one.counts)
        said.update(one.notes)
    done = sum(one.images for one in finished)
    return BatchResult(
        folder="",
        total=done,
        done=done,
        failed=sum(one.failed for one in finished),
        found=sum(one.found for one in finished),
        counts=dict(counts.most_common()) | {label: 0 for label in labels if label not in counts},
        model=" + ".join(dict.fromkeys(one.model for one in finished if one.model)),
        notes=(*notes, *_most_frequent(said)),
    )


def per_second(rate: float) -> str:
    """Write a pace with as many digits as say something."""
    return f"{rate:,.0f} images/s" if rate >= _MANY else f"{rate:.3g} images/s"


def unknown_so_far(finished: Sequence[Done]) -> list[str]:
    """List the prompts that the backend did not know in any shard that has an answered image."""
    answered = [one.unknown for one in finished if one.images > one.failed]
    return [prompt for prompt in answered[0] if all(prompt in one for one in answered)] if answered else []


def _most_frequent(said: Counter[str]) -> Iterator[str]:
    """Give the notes on images, each with the number of images, the most frequent first."""
    for note, images in said.most_common(MAX_NOTES):
        yield f"{note} ({number_of(images, 'image')})"
    if (more := len(said) - MAX_NOTES) > 0:
        yield f"{number_of(more, 'other note')} in the column notes of the parts"


class Pace:
    """How fast a run is; `todo` are the images that are to be detected in, by shard."""

    def __init__(self, todo: Mapping[Shard, int]) -> None:
        self._todo = todo
        self._before = sum(shard.images - images for shard, images in todo.items())
        self._began = time.monotonic()
        self._first: dict[int, float] = {}
        self._done = self._known = 0.0
        self._shares: dict[int, float] = {}

    def working(self, shard: Shard, share: float) -> None:
        """Take the share of a shard that is done; the first one is what an earlier call did."""
        images = self._todo[shard]
        before = self._shares.get(shard.number)
        if before is None:
            self._known += share * images
        self._done += (share - (before or 0.0)) * images
        self._shares[shard.number] = share

    @property
    def done(self) -> int:
        """The images that are done, by this call and by earlier ones."""
        return self._before + round(self._done)

    @property
    def images(self) -> int:
        """The images that this call has done."""
        return round(self._done - self._known)

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self._began

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / max(self.seconds, 1e-3)
