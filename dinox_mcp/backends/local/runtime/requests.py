"""The kinds of request that models answer: labels, a sentence, phrases of a caption, and examples."""

import base64
import binascii
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from dinox_mcp.backends.base import Call, Progress
from dinox_mcp.backends.local.models.base import (
    DetectionModel,
    ExampleQuery,
    ExampleRows,
    Features,
    Loaded,
    RawDetection,
)
from dinox_mcp.backends.local.naming import locate, quoted
from dinox_mcp.backends.local.runtime.worker import Worker
from dinox_mcp.errors import InputError, UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.boxes import area, clip
from dinox_mcp.types.detection import Embedding, Example

if TYPE_CHECKING:
    from dinox_mcp.backends.local.models.base import Rows

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One call to one model about an image: its context, and the lowest score and the outputs of use."""

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
        run = partial(self.worker.run, client=self.context.client, progress=self.context.progress)
        return await run(work, image=image, features=features, quick=quick)


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


class _Begun(NamedTuple):
    """What the first request to a model returns: what it found, and which labels are left, in chunks by their index.

    Not the model, which may have to leave memory in between.
    """

    model: str
    notes: list[str]
    features: Features
    found: list[RawDetection]
    left: list[list[int]]


async def find(call: ModelCall, labels: Sequence[str], features: Features | None = None) -> Response:
    """Find labels, in chunks where the model cannot read all at once; other requests run in between."""

    def find_chunk(loaded: Loaded, features: Features, chunk: Sequence[int]) -> list[RawDetection]:
        texts = [labels[index] for index in chunk]
        model: DetectionModel = loaded.model
        rows = call.worker.embed_labels(loaded, texts)
        return _relabelled(model.find(features, texts, rows, call.min_score, masks=call.masks), chunk)

    def begin(loaded: Loaded, features: Features) -> _Begun:
        chunks = loaded.model.chunks(labels)
        notes = [*loaded.notes]
        if cut := [labels[index] for index in loaded.model.overlong(labels)]:
            notes.append(f"the model reads only the beginning of {quoted(cut)}; shorter labels are read to the end")
        return _Begun(loaded.name, notes, features, find_chunk(loaded, features, chunks[0]), chunks[1:])

    first = await call.run(begin, features=features, quick=len(labels) <= _QUICK)
    total = 1 + len(first.left)
    for number, chunk in enumerate(first.left, start=1):
        await call.context.progress(0.6 + 0.4 * number / total, f"part {number + 1} of {total}")
        first.found.extend(await call.run(partial(find_chunk, chunk=chunk), features=first.features))
    if total > 1:
        first.notes.append(f"the labels were searched in {total} parts, as the model reads so many at a time")
    return Response(first.model, labels, first.found, first.notes)


WITHOUT_CAPTION = "the model reads each phrase on its own, without the caption"
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


async def ground(call: ModelCall, caption: str, phrases: Sequence[str]) -> Response:
    """Find phrases in the context of their caption, and those that are not in it on their own."""
    begun = await call.run(partial(_ground, caption=caption, phrases=phrases, min_score=call.min_score))
    (others,) = begun.left
    if not others:
        return Response(begun.model, phrases, begun.found, begun.notes)
    response = await find(call, [phrases[index] for index in others], begun.features)
    found = [*begun.found, *_relabelled(response.found, others)]
    return Response(begun.model, phrases, found, [*begun.notes, *response.notes])


def _ground(loaded: Loaded, features: Features, caption: str, phrases: Sequence[str], min_score: float) -> _Begun:
    model: DetectionModel = loaded.model
    if not model.fits(caption):
        notes = ["the caption is longer than the model reads, so its phrases were searched without it"]
        return _Begun(loaded.name, notes, features, [], [list(range(len(phrases)))])
    spans = locate(caption, phrases)
    known = [index for index, span in enumerate(spans) if span]
    notes = [*loaded.notes] if len(known) == len(phrases) else []
    if missing := [phrase for phrase, span in zip(phrases, spans, strict=True) if not span]:
        are = "is" if len(missing) == 1 else "are"
        notes.append(f"{quoted(missing)} {are} not in the caption; searched without it")
    found = model.ground(features, caption, [span for span in spans if span], min_score) if known else []
    others = [index for index, span in enumerate(spans) if not span]
    return _Begun(loaded.name, notes, features, _relabelled(found, known), [others])


def _relabelled(found: Sequence[RawDetection], labels: Sequence[int]) -> list[RawDetection]:
    """Make the labels of detections, which are indices into some of the caller's labels, indices into all."""
    return [replace(one, label=labels[one.label]) for one in found]


_POOR_FIT = 0.5
"""Below this overlap the model's own box of an example is hardly the caller's."""
_NO_FIT = 0.1
"""Below this it is another object, which is not kept for later."""


class _Reading:
    """The examples of one call, and what the model has read of them so far: rows by the index of the example."""

    def __init__(self, examples: Sequence[Example], call: ModelCall) -> None:
        self.indices: dict[str, list[int]] = defaultdict(list)  # of the examples in each image, by its digest
        self._examples = list(examples)
        self._rows: dict[int, Rows] = {}
        self._fits: dict[int, float] = {}
        self._pictures = {**call.context.pictures, call.image.digest: call.image}
        for index, example in enumerate(examples):
            if example.embedding is None:
                digest = example.image or call.image.digest
                self.indices[digest].append(index)
                self._examples[index] = _inside(example, self.picture(digest), index)

    def picture(self, digest: str) -> Picture:
        """Return the image that examples are in."""
        if digest not in self._pictures:
            raise InputError(
                f"the image of an example is not among those given (digest {digest[:12]}…); give it as well"
            )
        return self._pictures[digest]

    def read(self, loaded: Loaded, features: Features, digest: str) -> None:
        """Embed the examples in one image. Runs in the model's thread."""
        indices = self.indices[digest]
        read: ExampleRows = loaded.model.read_examples(features, [self._examples[index] for index in indices])
        for index, row, fit in zip(indices, read.rows, read.fits, strict=True):
            self._rows[index] = row[None]
            self._fits[index] = fit

    def misfits(self, least: float) -> list[str]:
        """Explain the examples whose box no box of the model overlaps as much."""
        return [
            f"the model finds nothing with quite the box of example {index + 1} (its best overlaps it by {fit:.0%}); "
            "draw the box closely around one object"
            for index, fit in sorted(self._fits.items())
            if fit < least
        ]

    def stacked(self, loaded: Loaded) -> tuple["Rows", list[Example]]:
        """Return all rows, those of saved prompts too, and the example of each. Runs in the model's thread."""
        import numpy as np

        rows, owners = [], []
        for index, example in enumerate(self._examples):
            rows.append(_decode(example.embedding, loaded) if example.embedding else self._rows[index])
            owners += [example] * len(rows[-1])
        return np.concatenate(rows), owners


async def find_like(call: ModelCall, examples: Sequence[Example]) -> Response:
    """Find what resembles the examples and not the negative ones.

    A negative example speaks against its own label, or against all if no other example has that label.

    Raises:
        InputError: all examples are negative, or one lies outside its image.
        UnsupportedError: a saved prompt is of another model.
    """
    labels = tuple(dict.fromkeys(example.label for example in examples if not example.negative))
    if not labels:
        raise InputError("all examples are negative; give at least one of what is meant")
    reading = _Reading(examples, call)
    await _read(call, reading, [digest for digest in reading.indices if digest != call.image.digest])

    def finish(loaded: Loaded, features: Features) -> Response:
        if call.image.digest in reading.indices:
            reading.read(loaded, features, call.image.digest)
        rows, owners = reading.stacked(loaded)
        query = ExampleQuery(
            labels,
            rows,
            tuple(labels.index(owner.label) if owner.label in labels else None for owner in owners),
            tuple(owner.negative for owner in owners),
        )
        found = loaded.model.find_like(features, query, call.min_score, masks=call.masks)
        return Response(loaded.name, labels, found, [*loaded.notes, *reading.misfits(_POOR_FIT)])

    return await call.run(finish, quick=True)


async def embed(call: ModelCall, examples: Sequence[Example]) -> Embedding:
    """Make an embedding of examples, for later requests: one row of float32 each, in base64.

    Raises:
        InputError: one is negative, lies outside its image, or is not an object that the model finds.
        UnsupportedError: a saved prompt among them is of another model.
    """
    if any(example.negative for example in examples):
        raise InputError("a saved prompt keeps what is meant; give negative examples with each request instead")
    reading = _Reading(examples, call)
    await _read(call, reading, list(reading.indices))
    if misfits := reading.misfits(_NO_FIT):
        raise InputError(misfits[0])

    def finish(loaded: Loaded, _features: None) -> Embedding:
        rows, _ = reading.stacked(loaded)
        data = base64.b64encode(rows.astype("<f4").tobytes()).decode()
        return Embedding(backend="local", model=loaded.signature, data=data)

    return await call.worker.run(finish, client=call.context.client, progress=call.context.progress)


async def _read(call: ModelCall, reading: _Reading, digests: Sequence[str]) -> None:
    """Embed the examples in some images; an image whose features are known takes milliseconds."""
    for digest in digests:
        await call.run(partial(reading.read, digest=digest), image=reading.picture(digest), quick=True)


def _inside(example: Example, picture: Picture, index: int) -> Example:
    """Clip an example to its image."""
    size = picture.width, picture.height
    if example.bbox is not None:
        bbox = clip(example.bbox, *size)
        if area(bbox) > 0:
            return example.model_copy(update={"bbox": bbox})
    elif example.point is not None and all(0 <= at <= side for at, side in zip(example.point, size, strict=True)):
        return example
    what = f"bbox {[*example.bbox]}" if example.bbox else f"point {[*(example.point or ())]}"
    raise InputError(
        f"example {index + 1}: the {what} has nothing of its image, which is {size[0]}x{size[1]} pixels; give pixels "
        "of the original image"
    )


def _decode(embedding: Embedding, loaded: Loaded) -> "Rows":
    import numpy as np

    if (embedding.backend, embedding.model) != ("local", loaded.signature):
        raise UnsupportedError(
            f"the saved prompt was made by the model {embedding.model} of the backend {embedding.backend}, and "
            f"{loaded.signature} of the backend local cannot read it; use that model, or save the prompt with this one"
        )
    size = loaded.model.example_size
    try:
        numbers = np.frombuffer(base64.b64decode(embedding.data, validate=True), dtype="<f4").astype(np.float32)
    except (binascii.Error, ValueError):
        numbers = np.empty(0, dtype=np.float32)
    if not numbers.size or numbers.size % size or not np.isfinite(numbers).all():
        raise InputError("a saved prompt is damaged; save it again with save_prompt")
    return numbers.reshape(-1, size)
