"""What a run says of itself: how far it is on the way, and in the end what it has found."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from dinox_mcp.backends.base import Progress
from dinox_mcp.batch.manifest import Shard
from dinox_mcp.batch.parts import Done
from dinox_mcp.batch.summary import MAX_NOTES
from dinox_mcp.types.detection import Value
from dinox_mcp.types.text import number_of

_MANY = 100
_FEW = 5
_SHORTEST_S = 1e-3


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


class Tracker:
    """How far a run is and how fast: engines report to it, and it says so on the way.

    Args:
        todo: how many images of each shard are to be detected in.
        finished: the shards that are finished, by number.
        progress: hears how the run goes.
        stopping: returns True once no further shard is to be begun.

    Attributes:
        parts: the shards that are finished by now, by number.
    """

    def __init__(
        self, todo: Mapping[Shard, int], finished: Mapping[int, Done], progress: Progress, stopping: Callable[[], bool]
    ) -> None:
        self.parts = dict(finished)
        self.stopping = stopping
        self._todo, self._progress = todo, progress
        self._shards = {shard.number: shard for shard in todo}
        self._total = sum(shard.images for shard in todo)
        self._before = self._total - sum(todo.values())
        self._began = time.monotonic()
        self._done = self._known = 0.0
        self._shares: dict[int, float] = {}

    async def working(self, shard: Shard, share: float) -> None:
        """Hear which share of a shard is done; the first one is what an earlier call did."""
        images = self._todo[shard]
        before = self._shares.get(shard.number)
        if before is None:
            self._known += share * images
        self._done += (share - (before or 0.0)) * images
        self._shares[shard.number] = share
        await self._report()

    async def finished(self, done: Done) -> None:
        """Hear that the part of a shard is on the disk."""
        self.parts[done.shard] = done
        await self.working(self._shards[done.shard], 1)

    @property
    def images(self) -> int:
        """The images that this call has done."""
        return round(self._done - self._known)

    @property
    def seconds(self) -> float:
        """How long this call has taken so far."""
        return time.monotonic() - self._began

    async def _report(self) -> None:
        done = self._before + round(self._done)
        message = f"{done:,} of {number_of(self._total, 'image')}"
        if self.images:
            message += f", {per_second(self.images / max(self.seconds, _SHORTEST_S))}"
        if failed := sum(one.failed for one in self.parts.values()):
            message += f", {failed:,} without an answer"
        if unknown := unknown_so_far([*self.parts.values()]):
            message += f", not known: {', '.join(unknown[:_FEW])}"
        await self._progress(done / self._total, message)
