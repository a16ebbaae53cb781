"""Names of objects: the vocabulary of prompt-free detection, and one name for each object."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from dinox_mcp.backends.local.models.base import RawDetection
from dinox_mcp.errors import SettingsError
from dinox_mcp.types.boxes import area, clip, ious, suppress
from dinox_mcp.types.detection import Detection

MAX_NOUNS = 5000
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
    found: Sequence[RawDetection],
    labels: Sequence[str],
    vocabulary: Vocabulary | None,
    size: tuple[int, int],
    iou_threshold: float,
) -> tuple[list[Detection], list[str]]:
    """Turn what a model found into detections: labelled, inside the image, and each object once.

    Args:
        found: What was found.
        labels: What its labels are indices into; a label may be there several times.
        vocabulary: The vocabulary that was searched for, if it was: each object then gets one name of it.
        size: Width and height of the image.
        iou_threshold: How much boxes of one label may overlap.

    Returns:
        The detections, best first, and notes.
    """
    if vocabulary is None:
        return _labelled(found, labels, size, iou_threshold), []
    objects = _labelled(found, vocabulary.names, size, iou_threshold)
    notes = [f"searched for {len(vocabulary.nouns)} nouns; what is not among them needs a prompt"]
    once = name_once(objects, vocabulary)
    if merged := len(objects) - len(once):
        notes.append(f"{merged} {'box was' if merged == 1 else 'boxes were'} a second name for an object and left out")
    return once, notes


def _labelled(
    found: Sequence[RawDetection], labels: Sequence[str], size: tuple[int, int], iou_threshold: float
) -> list[Detection]:
    clipped = [(one, clip(one.bbox, *size)) for one in found]
    objects = [
        Detection(label=labels[one.label], bbox=bbox, score=min(1.0, max(0.0, one.score)), mask=one.mask)
        for one, bbox in clipped
        if area(bbox) > 0
    ]
    return suppress(objects, iou_threshold)


def name_once(objects: Sequence[Detection], vocabulary: Vocabulary) -> list[Detection]:
    """Give each object one name: the best scored one, or a more specific one that scores nearly as well.

    Both `objects` and the result are best first.
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
    return sorted(named, key=lambda one: -(one.score or 0))
