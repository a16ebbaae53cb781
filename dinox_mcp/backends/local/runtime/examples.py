"""Examples: places in this picture or in others, or what was saved of such places."""

import base64
import binascii
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from dinox_mcp.backends.local.models.base import ExampleReader, Found, ImageState, Likeness
from dinox_mcp.backends.local.models.interfaces import Loaded
from dinox_mcp.backends.local.runtime.requests import Answer, Turn
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
"""Below this it is another thing, which is not kept for later."""


class _Reading:
    """The examples of one question, and what the model has read of them so far: rows by the example's place."""

    def __init__(self, examples: Sequence[Example], turn: Turn) -> None:
        self.rows: Rows = {}
        self.fits: dict[int, float] = {}
        self.saved: list[int] = []
        self.places: dict[str, list[int]] = defaultdict(list)
        self._examples: dict[int, Example] = {}
        self._pictures = {**turn.call.pictures, turn.image.digest: turn.image}
        for place, example in enumerate(examples):
            if example.embedding is not None:
                self.saved.append(place)
                self._examples[place] = example
            else:
                digest = example.image or turn.image.digest
                self.places[digest].append(place)
                self._examples[place] = _inside(example, self.picture(digest), place)

    def picture(self, digest: str) -> Picture:
        """Give the picture that examples are in."""
        if digest not in self._pictures:
            raise InputError(f"the picture of an example is not among those given (its digest is {digest[:12]}…)")
        return self._pictures[digest]

    def read(self, loaded: Loaded, state: ImageState, digest: str) -> None:
        """Have the model read the examples in one picture. Runs in its thread."""
        places = self.places[digest]
        looks = cast("ExampleReader", loaded.adapter).read_examples(state, [self._examples[place] for place in places])
        for place, row, fit in zip(places, looks.rows, looks.fits, strict=True):
            self.rows[place] = row[None]
            self.fits[place] = fit

    def misfits(self, least: float) -> list[str]:
        """Name the examples whose box no box of the model overlaps as much."""
        return [
            f"the model sees nothing with quite the box of example {place + 1} (its best overlaps it by {fit:.0%}); "
            "draw the box closely around one whole thing"
            for place, fit in sorted(self.fits.items())
            if fit < least
        ]

    def restore(self, loaded: Loaded) -> None:
        """Restore the examples that were saved. Runs in the model's thread."""
        for place in self.saved:
            self.rows[place] = _decode(cast("Embedding", self._examples[place].embedding), loaded)

    def stacked(self) -> tuple["torch.Tensor", list[Example]]:
        """Give all rows, and the example that each is of."""
        import torch

        order = sorted(self.rows)
        owners = [self._examples[place] for place in order for _ in self.rows[place]]
        return torch.cat([self.rows[place] for place in order]), owners


async def find(turn: Turn, examples: Sequence[Example]) -> Answer:
    """Find what looks like the examples and not like the negative ones.

    A negative example speaks against its own label, or against all if no other example has that label.

    Raises:
        InputError: all examples are negative, or one lies outside its picture.
        UnsupportedError: a saved prompt is of another model.
    """
    labels = tuple(dict.fromkeys(example.label for example in examples if not example.negative))
    if not labels:
        raise InputError("all examples are negative; give at least one of what is meant")
    reading = _Reading(examples, turn)
    await _read(turn, reading, [digest for digest in reading.places if digest != turn.image.digest])

    def finish(loaded: Loaded, state: Any) -> Answer:  # noqa: ANN401 - the model's own
        reading.restore(loaded)
        if turn.image.digest in reading.places:
            reading.read(loaded, state, turn.image.digest)
        rows, owners = reading.stacked()
        wanted = Likeness(
            labels,
            rows,
            tuple(labels.index(owner.label) if owner.label in labels else None for owner in owners),
            tuple(owner.negative for owner in owners),
        )
        found: list[Found] = cast("ExampleReader", loaded.adapter).find_like(
            state, wanted, turn.min_score, masks=turn.masks
        )
        return Answer(loaded.name, labels, found, [*loaded.notes, *reading.misfits(_POOR_FIT)])

    return await turn.ask(finish, quick=True)


async def embed(turn: Turn, examples: Sequence[Example]) -> Embedding:
    """Keep how examples look, to be asked again: one row of float32 each, in base64.

    Raises:
        InputError: one is negative, lies outside its picture, or is no thing that the model sees.
        UnsupportedError: a saved prompt among them is of another model.
    """
    if any(example.negative for example in examples):
        raise InputError("a saved prompt keeps what is meant; give negative examples with each question instead")
    reading = _Reading(examples, turn)
    await _read(turn, reading, list(reading.places))
    if misfits := reading.misfits(_NO_FIT):
        raise InputError(misfits[0])

    def finish(loaded: Loaded, _state: None) -> Embedding:
        reading.restore(loaded)
        rows, _ = reading.stacked()
        data = base64.b64encode(rows.numpy().astype("<f4").tobytes()).decode()
        return Embedding(backend="local", model=loaded.signature, data=data)

    return await turn.host.ask(finish, client=turn.call.client, progress=turn.call.progress)


async def _read(turn: Turn, reading: _Reading, digests: Sequence[str]) -> None:
    """Have the model look at pictures, those that it knows already for milliseconds, and read the examples in them."""
    for digest in digests:
        await turn.ask(partial(reading.read, digest=digest), picture=reading.picture(digest), quick=True)


def _inside(example: Example, picture: Picture, place: int) -> Example:
    """Clip an example to its picture."""
    size = picture.width, picture.height
    if example.bbox is not None:
        bbox = boxes.clip(example.bbox, *size)
        if boxes.area(bbox) > 0:
            return example.model_copy(update={"bbox": bbox})
    elif example.point is not None and all(0 <= at <= side for at, side in zip(example.point, size, strict=True)):
        return example
    what = f"bbox {[*example.bbox]}" if example.bbox else f"point {[*(example.point or ())]}"
    raise InputError(
        f"example {place + 1}: the {what} has nothing of its picture, which is {size[0]}x{size[1]} pixels; give pixels "
        "of the original picture"
    )


def _decode(embedding: Embedding, loaded: Loaded) -> "torch.Tensor":
    import numpy as np
    import torch

    if (embedding.backend, embedding.model) != ("local", loaded.signature):
        raise UnsupportedError(
            f"the saved prompt was made by the model {embedding.model} of the backend {embedding.backend}, and "
            f"{loaded.signature} of the backend local cannot read it; ask that model, or save the prompt with this one"
        )
    size = cast("ExampleReader", loaded.adapter).example_size
    try:
        numbers = np.frombuffer(base64.b64decode(embedding.data, validate=True), dtype="<f4").astype(np.float32)
    except (binascii.Error, ValueError):
        numbers = np.empty(0, dtype=np.float32)
    if not numbers.size or numbers.size % size or not np.isfinite(numbers).all():
        raise InputError("a saved prompt is damaged; save it again with save_prompt")
    return torch.from_numpy(numbers.reshape(-1, size))
