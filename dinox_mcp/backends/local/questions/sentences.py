"""Sentences: one that describes a thing, or a caption with phrases in it. For models that read sentences."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, cast

from dinox_mcp.backends.local.families.base import Found, ImageState, SentenceReader
from dinox_mcp.backends.local.model import Loaded
from dinox_mcp.backends.local.questions import labels
from dinox_mcp.backends.local.questions.turn import Answer, Turn
from dinox_mcp.backends.local.wording import quoted

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


async def ground(turn: Turn, caption: str, phrases: Sequence[str], embeddings: labels.Embeddings) -> Answer:
    """Find phrases in the context of their caption; those that are not in it are asked for on their own."""
    grounding = await turn.ask(partial(_ground, caption=caption, phrases=phrases, min_score=turn.min_score))
    alone = [place for place in range(len(phrases)) if place not in grounding.phrases]
    if not alone:
        return Answer(grounding.model, phrases, grounding.found, grounding.notes)
    others = await labels.find(turn, [phrases[place] for place in alone], embeddings, grounding.state)
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
