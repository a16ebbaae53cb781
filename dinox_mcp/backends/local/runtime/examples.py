"""Examples: boxes and points in this image or in others, and saved prompts made of them."""

import base64
import binascii
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

from dinox_mcp.backends.local.models.base import ExampleQuery, ExampleRows, Features, Loaded
from dinox_mcp.backends.local.runtime.requests import ModelCall, Response
from dinox_mcp.errors import InputError, UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.types import boxes
from dinox_mcp.types.detection import Embedding, Example

if TYPE_CHECKING:
    import torch

    Rows = dict[int, torch.Tensor]

_POOR_FIT = 0.5
"""Below this overlap the model's own box of an example is hardly the caller's."""
_NO_FIT = 0.1
"""Below this it is another object, which is not kept for later."""


class _Reading:
    """The examples of one call, and what the model has read of them so far: rows by the index of the example."""

    def __init__(self, examples: Sequence[Example], call: ModelCall) -> None:
        self.rows: Rows = {}
        self.fits: dict[int, float] = {}
        self.saved: list[int] = []
        self.indices: dict[str, list[int]] = defaultdict(list)
        self._examples: dict[int, Example] = {}
        self._pictures = {**call.context.pictures, call.image.digest: call.image}
        for index, example in enumerate(examples):
            if example.embedding is not None:
                self.saved.append(index)
                self._examples[index] = example
            else:
                digest = example.image or call.image.digest
                self.indices[digest].append(index)
                self._examples[index] = _inside(example, self.picture(digest), index)

    def picture(self, digest: str) -> Picture:
        """Return the image that examples are in."""
        if digest not in self._pictures:
            raise InputError(f"the image of an example is not among those given (its digest is {digest[:12]}…)")
        return self._pictures[digest]

    def read(self, loaded: Loaded, features: Features, digest: str) -> None:
        """Embed the examples in one image. Runs in the model's thread."""
        indices = self.indices[digest]
        read: ExampleRows = loaded.model.read_examples(features, [self._examples[index] for index in indices])
        for index, row, fit in zip(indices, read.rows, read.fits, strict=True):
            self.rows[index] = row[None]
            self.fits[index] = fit

    def misfits(self, least: float) -> list[str]:
        """Explain the examples whose box no box of the model overlaps as much."""
        return [
            f"the model sees nothing with quite the box of example {index + 1} (its best overlaps it by {fit:.0%}); "
            "draw the box closely around one object"
            for index, fit in sorted(self.fits.items())
            if fit < least
        ]

    def restore(self, loaded: Loaded) -> None:
        """Read the saved prompts. Runs in the model's thread."""
        for index in self.saved:
            self.rows[index] = _decode(cast("Embedding", self._examples[index].embedding), loaded)

    def stacked(self) -> tuple["torch.Tensor", list[Example]]:
        """Return all rows, and the example of each."""
        import torch

        order = sorted(self.rows)
        owners = [self._examples[index] for index in order for _ in self.rows[index]]
        return torch.cat([self.rows[index] for index in order]), owners


async def find(call: ModelCall, examples: Sequence[Example]) -> Response:
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
        reading.restore(loaded)
        if call.image.digest in reading.indices:
            reading.read(loaded, features, call.image.digest)
        rows, owners = reading.stacked()
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
        InputError: one is negative, lies outside its image, or is not an object that the model sees.
        UnsupportedError: a saved prompt among them is of another model.
    """
    if any(example.negative for example in examples):
        raise InputError("a saved prompt keeps what is meant; give negative examples with each request instead")
    reading = _Reading(examples, call)
    await _read(call, reading, list(reading.indices))
    if misfits := reading.misfits(_NO_FIT):
        raise InputError(misfits[0])

    def finish(loaded: Loaded, _features: None) -> Embedding:
        reading.restore(loaded)
        rows, _ = reading.stacked()
        data = base64.b64encode(rows.numpy().astype("<f4").tobytes()).decode()
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
        bbox = boxes.clip(example.bbox, *size)
        if boxes.area(bbox) > 0:
            return example.model_copy(update={"bbox": bbox})
    elif example.point is not None and all(0 <= at <= side for at, side in zip(example.point, size, strict=True)):
        return example
    what = f"bbox {[*example.bbox]}" if example.bbox else f"point {[*(example.point or ())]}"
    raise InputError(
        f"example {index + 1}: the {what} has nothing of its image, which is {size[0]}x{size[1]} pixels; give pixels "
        "of the original image"
    )


def _decode(embedding: Embedding, loaded: Loaded) -> "torch.Tensor":
    import numpy as np
    import torch

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
    return torch.from_numpy(numbers.reshape(-1, size))
