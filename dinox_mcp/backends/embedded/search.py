"""One picture searched for what is wanted: codes, then markers, then text."""

from importlib.metadata import version
from typing import TYPE_CHECKING

import cv2
import numpy as np

from dinox_mcp.backends.embedded import codes, models, regions
from dinox_mcp.backends.embedded.findings import Finding, Pixels, reading_order, share_inside
from dinox_mcp.backends.embedded.markers import MarkerReader
from dinox_mcp.backends.embedded.pixels import decode
from dinox_mcp.backends.embedded.text import TextReader
from dinox_mcp.backends.embedded.vocabulary import ALL_CODES, ALL_MARKERS, Kind, Wanted
from dinox_mcp.backends.embedded.worker import Steps
from dinox_mcp.geometry import area, around, clip, scale, suppress
from dinox_mcp.images.picture import Picture
from dinox_mcp.schema import Detection, DetectionRequest, Detections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_INSIDE_CODE = 0.7


class Searcher:
    """Finds things in pictures; each part loads what it needs when it is first wanted."""

    def __init__(self) -> None:
        self._text: TextReader | None = None

    def search(self, picture: Picture, request: DetectionRequest, wanted: Wanted, steps: Steps) -> Detections:
        """Find what is wanted, in original pixels: codes and markers, then text, each in reading order.

        Raises:
            ImageError: the picture is damaged.
            BackendError: a model is missing or damaged.
            AbandonedError: nobody waits for the answer any more.
        """
        kinds = frozenset(wanted.labels)
        steps.say(0.0, "decoding the picture")
        bgr, notes = decode(picture)
        found: list[Finding] = []
        if kinds & (ALL_CODES | ALL_MARKERS):
            gray = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), np.uint8)
            found = reading_order(self._codes_and_markers(gray, kinds, steps))
            if unread := sum(code.text is None for code in found):
                notes.append(f"codes found but not read: {unread} (too small, blurred or damaged; zoom in)")
        if Kind.TEXT in kinds:
            steps.say(0.5, "loading the text models" if self._text is None else "looking for text")
            self._text = self._text or TextReader()
            lines, left_out = self._text.read(bgr, self._text.find(bgr), _part(steps, 0.7, 1.0, "reading text"))
            notes += _left_out(left_out)
            found += reading_order(line for line in lines if not _in_a_code(line, found))
        return Detections(
            model=_model(kinds),
            objects=tuple(_detections(found, picture, bgr.shape[1], request, wanted)),
            notes=(*wanted.notes, *notes),
            unsearched=tuple(prompt for prompt in request.prompts or () if prompt not in wanted.labels.values()),
        )

    def describe(self, picture: Picture, objects: "Sequence[Detection]", steps: Steps) -> Detections:
        """Read what is written in the objects' boxes: lines of text and what codes say, from top to bottom.

        What has a text already keeps it.

        Raises:
            ImageError: the picture is damaged.
            BackendError: a model is missing or damaged.
            AbandonedError: nobody waits for the answer any more.
        """
        steps.say(0.0, "decoding the picture")
        bgr, notes = decode(picture)
        height, width = bgr.shape[:2]
        factor = width / picture.width
        boxes = [clip(scale(found.bbox, factor, factor), width, height) for found in objects]
        asked = [box for box, found in zip(boxes, objects, strict=True) if found.text is None and area(box) > 0]
        if asked:
            gray = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), np.uint8)
            seen = self._codes_and_markers(gray, ALL_CODES, steps)
            steps.say(0.35, "loading the text models" if self._text is None else "looking for text")
            self._text = self._text or TextReader()
            lines, left_out = regions.lines_in(bgr, asked, self._text, _part(steps, 0.35, 1.0, "reading text"))
            notes += _left_out(left_out)
            read = [*seen, *(line for line in lines if not _in_a_code(line, seen))]
            objects = [
                found if found.text is not None else found.model_copy(update={"text": regions.written(box, read)})
                for box, found in zip(boxes, objects, strict=True)
            ]
        return Detections(model=_model(ALL_CODES | {Kind.TEXT}), objects=tuple(objects), notes=tuple(notes))

    def _codes_and_markers(self, gray: Pixels, kinds: frozenset[Kind], steps: Steps) -> list[Finding]:
        found: list[Finding] = []
        if of_codes := kinds & ALL_CODES:
            found += codes.read(gray, of_codes, _part(steps, 0.1, 0.35, "looking for codes"))
        if markers := kinds & ALL_MARKERS:
            tell = _part(steps, 0.35, 0.5, "looking for markers")
            found += [mark for mark in MarkerReader(markers).read(gray, tell) if not _in_a_code(mark, found)]
        return found


def _left_out(lines: int) -> list[str]:
    return [f"{lines} more lines of text were not read; zoom in for them"] if lines else []


def _part(steps: Steps, start: float, end: float, message: str) -> "Callable[[float], None]":
    """Give a part of the work its share of the whole."""
    return lambda done: steps.say(start + (end - start) * done, message)


def _in_a_code(thing: Finding, found: "Iterable[Finding]") -> bool:
    """Tell what was seen into the pattern of a code from what stands beside it, as digits do below a barcode."""
    return any(share_inside(thing.quad, code.quad) > _INSIDE_CODE for code in found)


def _detections(
    found: "Iterable[Finding]", picture: Picture, width: int, request: DetectionRequest, wanted: Wanted
) -> list[Detection]:
    """Label, map back and filter; the order stays."""
    factor = picture.width / width
    objects = []
    for item in found:
        left, top, right, bottom = clip(
            scale(around(item.quad.tolist()), factor, factor), picture.width, picture.height
        )
        if right > left and bottom > top and (item.score is None or item.score >= request.min_score):
            bbox = (round(left, 1), round(top, 1), round(right, 1), round(bottom, 1))
            score = None if item.score is None else round(item.score, 4)
            label = wanted.labels[item.kind]
            objects.append(Detection(label=label, bbox=bbox, score=score, category=item.category, text=item.text))
    kept = {id(item) for item in suppress(objects, request.iou_threshold)}
    return [item for item in objects if id(item) in kept]


def _model(kinds: frozenset[Kind]) -> str:
    used = [models.FAMILY] if Kind.TEXT in kinds else []
    if kinds - {Kind.TEXT}:
        used.append(f"OpenCV {cv2.__version__}")
    if kinds & ALL_CODES:
        used.append(f"ZXing-C++ {version('zxing-cpp')}")
    return " + ".join(used)
