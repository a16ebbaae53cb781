"""The kinds of request that models answer: labels, a vocabulary, a sentence, phrases of a caption."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from dinox_mcp.backends.base import Call, Progress
from dinox_mcp.backends.local.checkpoints.loader import few
from dinox_mcp.backends.local.models.base import DetectionModel, Features, Loaded, RawDetection
from dinox_mcp.backends.local.runtime.caches import LabelCache
from dinox_mcp.backends.local.runtime.worker import Worker
from dinox_mcp.images.picture import Picture

if TYPE_CHECKING:
    import torch


_LENGTH = 40


def quoted(labels: Iterable[str]) -> str:
    """List the first few of what a caller wrote, in quotes and shortened."""
    return few([repr(label if len(label) <= _LENGTH + 1 else f"{label[:_LENGTH]}…") for label in labels])


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One call to one model.

    Attributes:
        worker: The model.
        image: The image that the call is about.
        context: Its progress and client.
        min_score: The lowest score of use.
        masks: Whether masks are of use.
    """

    worker: Worker
    image: Picture
    context: Call
    min_score: float = 0.0
    masks: bool = False

    async def run(
        self,
        work: Callable[[Loaded, Any], T],
        *,
        image: Picture | None = None,
        features: Features | None = None,
        quick: bool = False,
    ) -> T:
        """Run work with the model and the features of an image, by default of the call's; see `Worker.run`."""
        image = image or (self.image if features is None else None)
        return await self.worker.run(
            work,
            image=image,
            features=features,
            quick=quick,
            client=self.context.client,
            progress=self.context.progress,
        )


@dataclass(frozen=True, slots=True)
class Response:
    """What a model found: `RawDetection.label` is an index into `labels`."""

    model: str
    labels: Sequence[str]
    found: Sequence[RawDetection]
    notes: Sequence[str] = ()


def rising(progress: Progress) -> Progress:
    """Let progress never go back, which clients may not take, whatever several requests to a model report."""
    highest = 0.0

    async def report(fraction: float, message: str) -> None:
        nonlocal highest
        highest = max(highest, fraction)
        await progress(highest, message)

    return report


_QUICK = 50
"""Labels that take milliseconds to embed and to find, where the model reuses text."""


class Embeddings:
    """The label embeddings of all models: in memory while a model is loaded, and in a folder for longer."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._caches: dict[Worker, LabelCache] = {}

    def rows(self, worker: Worker, loaded: Loaded, labels: Sequence[str]) -> "torch.Tensor | None":
        """Return a row for each label, or None if the family does not reuse text. Runs in the worker's thread."""
        if not loaded.model.reuses_text:
            return None
        import torch

        cache = self._caches.get(worker)
        if cache is None:
            cache = self._caches[worker] = LabelCache(self._cache_folder, loaded.fingerprint)

        def report(done: int, total: int) -> None:
            worker.report(0.5, f"reading the labels, {done} of {total}")

        return torch.from_numpy(cache.rows(labels, loaded.model.embed, report))

    def forget(self, worker: Worker) -> None:
        """Drop what is in memory for a model that leaves it."""
        self._caches.pop(worker, None)

    @property
    def _cache_folder(self) -> Path:
        from platformdirs import user_cache_path

        return self._folder or user_cache_path("dinox-mcp") / "labels"


class _First(NamedTuple):
    """What the first request to a model returns: what it found, and what the requests for other chunks need.

    It does not hold the model, which may have to leave memory in between.
    """

    model: str
    notes: list[str]
    features: Features
    chunks: list[list[int]]
    found: list[RawDetection]


async def find(
    call: ModelCall, labels: Sequence[str], embeddings: Embeddings, features: Features | None = None
) -> Response:
    """Find labels, in chunks where the model cannot read all at once; other requests run in between."""

    def find_chunk(loaded: Loaded, features: Features, chunk: Sequence[int]) -> list[RawDetection]:
        texts = [labels[index] for index in chunk]
        model: DetectionModel = loaded.model
        rows = embeddings.rows(call.worker, loaded, texts)
        found = model.find(features, texts, rows, call.min_score, masks=call.masks)
        return [RawDetection(chunk[one.label], one.score, one.bbox, one.mask) for one in found]

    def begin(loaded: Loaded, features: Features) -> _First:
        chunks = loaded.model.chunks(labels)
        notes = [*loaded.notes]
        if cut := [labels[index] for index in loaded.model.overlong(labels)]:
            notes.append(f"the model reads only the beginning of {quoted(cut)}; shorter labels are read to the end")
        return _First(loaded.name, notes, features, chunks, find_chunk(loaded, features, chunks[0]))

    first = await call.run(begin, features=features, quick=len(labels) <= _QUICK)
    found, chunks, notes = first.found, first.chunks, first.notes
    for number, chunk in enumerate(chunks[1:], start=2):
        await call.context.progress(0.6 + 0.4 * (number - 1) / len(chunks), f"part {number} of {len(chunks)}")
        found += await call.run(partial(find_chunk, chunk=chunk), features=first.features)
    if len(chunks) > 1:
        notes.append(f"the labels were searched in {len(chunks)} parts, as the model reads so many at a time")
    return Response(first.model, labels, found, notes)


_AS_A_PHRASE = (
    "a detector read the description as one phrase: it weighs the words, and understands relations between things less "
    "well than DINO-XSeek (backend dinox); the best box comes first"
)


async def find_described(call: ModelCall, sentence: str) -> Response:
    """Find what a sentence describes."""

    def find(loaded: Loaded, features: Features) -> Response:
        notes = [*loaded.notes, _AS_A_PHRASE]
        if loaded.model.overlong([sentence]):
            notes.append("the model reads only the beginning of the description; a shorter one is read to the end")
        found = loaded.model.find_described(features, sentence, call.min_score)
        return Response(loaded.name, [sentence], found, notes)

    return await call.run(find)


class _Grounding(NamedTuple):
    """What a model found for the phrases that are in a caption."""

    model: str
    notes: list[str]
    features: Features
    phrases: list[int]
    found: list[RawDetection]


async def ground(call: ModelCall, caption: str, phrases: Sequence[str], embeddings: Embeddings) -> Response:
    """Find phrases in the context of their caption, and those that are not in it on their own."""
    grounding = await call.run(partial(_ground, caption=caption, phrases=phrases, min_score=call.min_score))
    others = [index for index in range(len(phrases)) if index not in grounding.phrases]
    if not others:
        return Response(grounding.model, phrases, grounding.found, grounding.notes)
    response = await find(call, [phrases[index] for index in others], embeddings, grounding.features)
    moved = [RawDetection(others[one.label], one.score, one.bbox, one.mask) for one in response.found]
    return Response(grounding.model, phrases, [*grounding.found, *moved], [*grounding.notes, *response.notes])


def without_caption(response: Response) -> Response:
    """Note that a model has not read the caption of its labels."""
    return replace(response, notes=[*response.notes, "the model reads each phrase on its own, without the caption"])


def _ground(loaded: Loaded, features: Features, caption: str, phrases: Sequence[str], min_score: float) -> _Grounding:
    model: DetectionModel = loaded.model
    if not model.fits(caption):
        notes = ["the caption is longer than the model reads, so its phrases were searched without it"]
        return _Grounding(loaded.name, notes, features, [], [])
    spans = locate(caption, phrases)
    known = [index for index, span in enumerate(spans) if span]
    notes = [*loaded.notes] if len(known) == len(phrases) else []
    if missing := [phrase for phrase, span in zip(phrases, spans, strict=True) if not span]:
        are = "is" if len(missing) == 1 else "are"
        notes.append(f"{quoted(missing)} {are} not in the caption; searched without it")
    found = model.ground(features, caption, [span for span in spans if span], min_score) if known else []
    moved = [RawDetection(known[one.label], one.score, one.bbox) for one in found]
    return _Grounding(loaded.name, notes, features, known, moved)


def locate(caption: str, phrases: Sequence[str]) -> list[tuple[int, int] | None]:
    """Find phrases in a caption, in any case, as (start, end) in `caption.lower()`; None for those not in it.

    They are searched in order: behind the phrase before, then in what no other has taken, then anywhere. The same
    phrase twice has two spans. Words may touch in the caption, as in "man's" for the phrase "man 's".
    """
    text = caption.lower()
    located: list[tuple[int, int] | None] = []
    taken: dict[str, set[tuple[int, int]]] = {}
    behind = 0
    for phrase in phrases:
        words = [re.escape(word) for word in phrase.lower().split()]
        pattern = r"(?<!\w)" + r"\s*".join(words) + r"(?!\w)"
        mine = taken.setdefault(" ".join(words), set())
        spans = [match.span() for match in re.finditer(pattern, text) if match.span() not in mine] if words else []
        free = [span for span in spans if not any(_overlap(span, other) for other in located if other)]
        span = next((span for span in free if span[0] >= behind), None) or next(iter([*free, *spans]), None)
        located.append(span)
        if span:
            mine.add(span)
            behind = span[1]
    return located


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]
