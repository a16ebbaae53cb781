"""The kinds of request that models answer: labels, a vocabulary, a sentence, phrases of a caption."""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from dinox_mcp.backends.base import Call, Progress
from dinox_mcp.backends.local.models.base import Found, ImageState, SentenceReader, TextReader
from dinox_mcp.backends.local.models.interfaces import Loaded
from dinox_mcp.backends.local.runtime.caches import LabelStates
from dinox_mcp.backends.local.runtime.worker import Host
from dinox_mcp.images.picture import Picture

if TYPE_CHECKING:
    import torch


_SHOWN = 3
_LENGTH = 40


def few(names: Collection[str]) -> str:
    """List the first few names."""
    listed = ", ".join(list(names)[:_SHOWN])
    return f"{listed} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else listed


def quoted(labels: Iterable[str]) -> str:
    """List the first few of what a caller wrote, in quotes and shortened."""
    return few([repr(label if len(label) <= _LENGTH + 1 else f"{label[:_LENGTH]}…") for label in labels])


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Turn:
    """A question's access to one model: about `image`, for the one who makes the `call`.

    What scores less than `min_score` is of no use, nor are masks unless `masks`.
    """

    host: Host
    image: Picture
    call: Call
    min_score: float = 0.0
    masks: bool = False

    async def ask(
        self,
        work: Callable[[Loaded, Any], T],
        *,
        picture: Picture | None = None,
        state: ImageState | None = None,
        quick: bool = False,
    ) -> T:
        """Do a piece of work in the model's thread, with its view of a picture: by default the question's."""
        picture = picture or (self.image if state is None else None)
        return await self.host.ask(
            work, picture=picture, state=state, quick=quick, client=self.call.client, progress=self.call.progress
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model found: `Found.label` counts into `labels`."""

    model: str
    labels: Sequence[str]
    found: Sequence[Found]
    notes: Sequence[str] = ()


def rising(progress: Progress) -> Progress:
    """Let progress never go back, which clients may not take, whatever the turns with a model report."""
    highest = 0.0

    async def report(fraction: float, message: str) -> None:
        nonlocal highest
        highest = max(highest, fraction)
        await progress(highest, message)

    return report


_QUICK = 50
"""Labels that take milliseconds to embed and to find, where the model reuses text."""


class Embeddings:
    """What models make of labels: in memory while they are loaded, and in a folder for longer."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._states: dict[Host, LabelStates] = {}

    def rows(self, host: Host, loaded: Loaded, labels: Sequence[str]) -> "torch.Tensor | None":
        """Give a row for each label, or None where the model reads labels with the picture. Runs in its thread."""
        if not loaded.adapter.reuses_text:
            return None
        import torch

        states = self._states.get(host)
        if states is None:
            states = self._states[host] = LabelStates(self._cache, loaded.fingerprint)

        def tell(done: int, total: int) -> None:
            host.tell(0.5, f"reading the labels, {done} of {total}")

        return torch.from_numpy(states.rows(labels, cast("TextReader", loaded.adapter).embed, tell))

    def forget(self, host: Host) -> None:
        """Drop what is in memory for a model that leaves it."""
        self._states.pop(host, None)

    @property
    def _cache(self) -> Path:
        from platformdirs import user_cache_path

        return self._folder or user_cache_path("dinox-mcp") / "labels"


class _Start(NamedTuple):
    """What the first turn with the model gives: the first part's findings, and what the other parts need.

    It does not hold the model, which may have to leave memory between two parts.
    """

    model: str
    notes: list[str]
    state: ImageState
    parts: list[list[int]]
    found: list[Found]


async def find(turn: Turn, labels: Sequence[str], embeddings: Embeddings, state: ImageState | None = None) -> Answer:
    """Ask for all labels, part by part where the model cannot read them at once; others come in between."""

    def find_part(loaded: Loaded, state: ImageState, part: Sequence[int]) -> list[Found]:
        asked = [labels[place] for place in part]
        rows = embeddings.rows(turn.host, loaded, asked)
        found = loaded.adapter.find(state, asked, rows, turn.min_score, masks=turn.masks)
        return [Found(part[one.label], one.score, one.bbox, one.mask) for one in found]

    def begin(loaded: Loaded, state: ImageState) -> _Start:
        parts = loaded.adapter.chunks(labels)
        notes = [*loaded.notes]
        if cut := [labels[place] for place in loaded.adapter.overlong(labels)]:
            notes.append(f"the model reads only the beginning of {quoted(cut)}; shorter labels are read whole")
        return _Start(loaded.name, notes, state, parts, find_part(loaded, state, parts[0]))

    start = await turn.ask(begin, state=state, quick=len(labels) <= _QUICK)
    found, parts = start.found, start.parts
    for number, part in enumerate(parts[1:], start=2):
        await turn.call.progress(0.6 + 0.4 * (number - 1) / len(parts), f"part {number} of {len(parts)}")
        found += await turn.ask(partial(find_part, part=part), state=start.state)
    notes = start.notes
    if len(parts) > 1:
        notes.append(f"the labels were asked for in {len(parts)} parts, as the model reads so many at a time")
    return Answer(start.model, labels, found, notes)


_AS_A_PHRASE = (
    "a detector read the description as one phrase: it weighs the words, and understands relations between things less "
    "well than DINO-XSeek (backend dinox); the best box comes first"
)


async def find_described(turn: Turn, sentence: str) -> Answer:
    """Find what a sentence describes."""

    def find(loaded: Loaded, state: Any) -> Answer:  # noqa: ANN401 - the model's own
        notes = [*loaded.notes, _AS_A_PHRASE]
        if loaded.adapter.overlong([sentence]):
            notes.append("the model reads only the beginning of the description; a shorter one is read whole")
        found = cast("SentenceReader", loaded.adapter).find_described(state, sentence, turn.min_score)
        return Answer(loaded.name, [sentence], found, notes)

    return await turn.ask(find)


class _Grounding(NamedTuple):
    """What a caption gave: the phrases that were found in it and what answers to them, and the model's view."""

    model: str
    notes: list[str]
    state: ImageState
    phrases: list[int]
    found: list[Found]


async def ground(turn: Turn, caption: str, phrases: Sequence[str], embeddings: Embeddings) -> Answer:
    """Find phrases in the context of their caption; those that are not in it are asked for on their own."""
    grounding = await turn.ask(partial(_ground, caption=caption, phrases=phrases, min_score=turn.min_score))
    alone = [place for place in range(len(phrases)) if place not in grounding.phrases]
    if not alone:
        return Answer(grounding.model, phrases, grounding.found, grounding.notes)
    others = await find(turn, [phrases[place] for place in alone], embeddings, grounding.state)
    moved = [Found(alone[one.label], one.score, one.bbox, one.mask) for one in others.found]
    return Answer(grounding.model, phrases, [*grounding.found, *moved], [*grounding.notes, *others.notes])


def alone(answer: Answer) -> Answer:
    """Note that a model has not read the caption of its labels."""
    return replace(answer, notes=[*answer.notes, "the model reads each phrase on its own, without the caption"])


def _ground(
    loaded: Loaded,
    state: Any,  # noqa: ANN401 - the model's own
    caption: str,
    phrases: Sequence[str],
    min_score: float,
) -> _Grounding:
    adapter = cast("SentenceReader", loaded.adapter)
    if not adapter.fits(caption):
        notes = ["the caption is longer than the model reads, so its phrases were asked for without it"]
        return _Grounding(loaded.name, notes, state, [], [])
    places = locate(caption, phrases)
    known = [place for place, letters in enumerate(places) if letters]
    notes = [*loaded.notes] if len(known) == len(phrases) else []
    if missing := [phrase for phrase, letters in zip(phrases, places, strict=True) if not letters]:
        are = "is" if len(missing) == 1 else "are"
        notes.append(f"{quoted(missing)} {are} not in the caption; asked for without it")
    found = adapter.ground(state, caption, [letters for letters in places if letters], min_score) if known else []
    return _Grounding(loaded.name, notes, state, known, [Found(known[one.label], one.score, one.bbox) for one in found])


def locate(caption: str, phrases: Sequence[str]) -> list[tuple[int, int] | None]:
    """Find phrases in a caption, whole words in any case, as (start, end) in `caption.lower()`; None if not there.

    They are taken in order: each is looked for behind the one before, then in what no other has taken, then anywhere.
    The same phrase twice is two places. Words may touch in the caption, as in "man's" for the phrase "man 's".
    """
    text = caption.lower()
    places: list[tuple[int, int] | None] = []
    seen: dict[str, set[tuple[int, int]]] = {}
    behind = 0
    for phrase in phrases:
        words = [re.escape(word) for word in phrase.lower().split()]
        pattern = r"(?<!\w)" + r"\s*".join(words) + r"(?!\w)"
        mine = seen.setdefault(" ".join(words), set())
        spans = [match.span() for match in re.finditer(pattern, text) if match.span() not in mine] if words else []
        free = [span for span in spans if not any(_overlap(span, other) for other in places if other)]
        span = next((span for span in free if span[0] >= behind), None) or next(iter([*free, *spans]), None)
        places.append(span)
        if span:
            mine.add(span)
            behind = span[1]
    return places


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]
