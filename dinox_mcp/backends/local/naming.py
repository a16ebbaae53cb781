"""Names of objects: the vocabulary, one name for each object, names of people, and phrases in a caption."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from dinox_mcp.backends.local.checkpoints.files import few
from dinox_mcp.backends.local.models.base import RawDetection
from dinox_mcp.errors import SettingsError
from dinox_mcp.types.boxes import area, clip, ious, suppress
from dinox_mcp.types.detection import Detection

MAX_NOUNS = 5000
_QUOTED = 40  # characters of a label in a message
SAME = 0.85
"""Boxes of two names that overlap more are one object."""
SAME_KIND = 0.6
"""The same where one name is a kind of the other, as a taxi is of a car."""
SPECIFIC_ENOUGH = 0.5
"""The more specific name is given if its score is at least this part of the best."""


@dataclass(frozen=True)
class Vocabulary:
    """The nouns of prompt-free detection.

    Attributes:
        nouns: What the model searches for.
        names: For each noun the name in results; synonyms share one.
        broader: For each name the broader names.
    """

    nouns: tuple[str, ...]
    names: tuple[str, ...]
    broader: dict[str, frozenset[str]]

    def is_kind_of(self, narrow: str, broad: str) -> bool:
        """Return whether everything called `narrow` could be called `broad`."""
        return broad in self.broader.get(narrow, ())


@cache
def built_in() -> Vocabulary:
    """Read the built-in vocabulary."""
    return parse(files(__package__).joinpath("vocabulary.txt").read_text(encoding="utf-8"), "vocabulary.txt")


def read(path: Path) -> Vocabulary:
    """Read a user's own vocabulary; comments in the built-in `vocabulary.txt` describe the format.

    Raises:
        SettingsError: the file cannot be read, is empty, or is not a vocabulary.
    """
    remedy = "give a UTF-8 text file with one noun on each line, or unset it"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise SettingsError(f"DINOX_MCP_VOCABULARY: {path} cannot be read ({reason}); {remedy}") from None
    try:
        return parse(text, str(path))
    except ValueError as error:
        raise SettingsError(f"DINOX_MCP_VOCABULARY: {error}; {remedy}") from None


def parse(text: str, source: str) -> Vocabulary:
    """Read a vocabulary from text.

    Raises:
        ValueError: there is no noun, one is given twice, or there are too many.
    """
    names: dict[str, str] = {}
    broader: dict[str, frozenset[str]] = {}
    above: list[tuple[int, list[str]]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.partition("#")[0].rstrip().expandtabs(2)
        things = [nouns for part in content.split(",") if (nouns := _nouns(part))]
        if not things:
            continue
        depth = len(content) - len(content.lstrip())
        while above and above[-1][0] >= depth:
            above.pop()
        if above and len(above[-1][1]) > 1:
            raise ValueError(
                f"{source} line {number} is indented below several nouns; give the broader one a line of its own"
            )
        for nouns in things:
            if twice := next((noun for noun in nouns if noun in names), None):
                raise ValueError(f"{source} line {number}: {twice!r} is given twice")
            names.update(dict.fromkeys(nouns, nouns[0]))
            broader[nouns[0]] = frozenset(name for _, [name] in above)
        above.append((depth, [nouns[0] for nouns in things]))
    if not 1 <= len(names) <= MAX_NOUNS:
        raise ValueError(f"{source} has {len(names)} nouns, not 1 to {MAX_NOUNS}")
    return Vocabulary(tuple(names), tuple(names.values()), broader)


def _nouns(part: str) -> list[str]:
    """Read a thing's name and its synonyms."""
    return list(dict.fromkeys(noun for synonym in part.split("=") if (noun := " ".join(synonym.split()))))


def to_detections(
    found: Sequence[RawDetection], labels: Sequence[str], size: tuple[int, int], iou_threshold: float
) -> list[Detection]:
    """Turn what a model found into detections: labelled, inside the image, each object once for a label, best first.

    Args:
        found: What was found.
        labels: What its labels are indices into; a label may be there several times.
        size: Width and height of the image.
        iou_threshold: How much boxes of one label may overlap.
    """
    clipped = [(one, clip(one.bbox, *size)) for one in found]
    objects = [
        Detection(label=labels[one.label], bbox=bbox, score=min(1.0, max(0.0, one.score)), mask=one.mask)
        for one, bbox in clipped
        if area(bbox) > 0
    ]
    return suppress(objects, iou_threshold)


def merge_names(objects: Sequence[Detection], vocabulary: Vocabulary) -> tuple[list[Detection], list[str]]:
    """Give each object one name: the best scored one, or a more specific one that scores nearly as well.

    Both `objects` and the result are best first; a note counts what was left out.
    """
    import numpy as np

    boxes = np.array([one.bbox for one in objects], dtype=np.float64).reshape(-1, 4)
    left = np.ones(len(objects), dtype=bool)
    named = []
    for index, best in enumerate(objects):
        if not left[index]:
            continue
        left[index] = False
        chosen = best
        overlaps = ious(boxes[index], boxes)
        for other in np.flatnonzero(left & (overlaps > SAME_KIND)).tolist():
            rival = objects[other]
            narrower = vocabulary.is_kind_of(rival.label, chosen.label)
            akin = narrower or any(vocabulary.is_kind_of(one.label, rival.label) for one in (best, chosen))
            if rival.label == best.label or not (akin or overlaps[other] > SAME):
                continue
            left[other] = False
            if narrower and (rival.score or 0) >= SPECIFIC_ENOUGH * (best.score or 0):
                chosen = best.model_copy(update={"label": rival.label, "score": rival.score})
        named.append(chosen)
    merged = len(objects) - len(named)
    note = f"{merged} {'box was' if merged == 1 else 'boxes were'} a second name for an object and left out"
    return sorted(named, key=lambda one: -(one.score or 0)), [note] if merged else []


_NOUNS = """\
person man woman child kid boy girl baby toddler infant teenager adult human guy lady gentleman people someone
pedestrian passerby cyclist bicyclist biker motorcyclist rider jockey driver passenger tourist
player athlete runner jogger swimmer surfer skier snowboarder skater skateboarder climber hiker dancer gymnast
wrestler goalkeeper goalie referee umpire batter golfer
worker farmer soldier policeman policewoman officer firefighter fireman doctor nurse surgeon patient chef cook
waiter waitress teacher student pupil singer musician guitarist drummer artist painter photographer actor actress
bride groom father mother dad mom son daughter brother sister grandfather grandmother
fisherman cowboy clown astronaut pilot sailor butcher baker barber mechanic carpenter craftsman businessman
businesswoman salesman spectator customer shopper visitor guest
"""
PEOPLE = frozenset(re.findall(r"\w+", _NOUNS))
"""Nouns in the singular; a label that has words before or after them means a person too ("man in red", "old lady").
Nouns that mean things as often (coach, model, speaker) are left out.
"""
_PLURALS = {"people": "person", "men": "man", "women": "woman", "children": "child", "babies": "baby", "ladies": "lady"}
_DEVICES = frozenset(("record", "cd", "dvd", "mp3", "music", "media", "cassette", "video", "audio", "blu-ray", "vinyl"))
"""Before "player", these make it a device."""
_THINGS = frozenset(("crossing", "clothing", "building", "swing", "ring", "earring", "wing", "string", "setting"))
"""Nouns that end like a verb form."""
_AFTER = frozenset(("in", "on", "at", "with", "of", "by", "from", "near", "behind", "under", "and", "or", "who", "to"))


def is_person(label: str) -> bool:
    """Return whether a label means a person, by its main noun."""
    words = re.findall(r"[\w'-]+", label.casefold().replace("_", " ").partition(",")[0])
    if not words or words[-1] in _THINGS:
        return False
    ends = (index for index, word in enumerate(words) if index and (word in _AFTER or word.endswith("ing")))
    *before, noun = words[: next(ends, len(words))]
    if noun.rstrip("s") == "player" and before and before[-1] in _DEVICES:
        return False
    return any(form in PEOPLE for form in _singulars(noun))


def _singulars(noun: str) -> tuple[str, ...]:
    if noun.endswith("men"):
        return (noun[:-3] + "man",)
    return noun, _PLURALS.get(noun, noun.removesuffix("s")), noun.removesuffix("es")


def quoted(labels: Iterable[str]) -> str:
    """List the first few of what a caller wrote, in quotes and shortened."""
    return few([repr(label if len(label) <= _QUOTED + 1 else f"{label[:_QUOTED]}…") for label in labels])


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
