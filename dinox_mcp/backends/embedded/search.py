"""One picture searched for what is wanted: objects, then codes, markers and text."""

from importlib.metadata import version
from typing import TYPE_CHECKING

import cv2
import numpy as np

from dinox_mcp.backends.embedded import codes, text_lines
from dinox_mcp.backends.embedded.findings import Finding, Pixels, Quad, reading_order, share_inside
from dinox_mcp.backends.embedded.markers import MarkerReader
from dinox_mcp.backends.embedded.objects import Found, ObjectSearcher
from dinox_mcp.backends.embedded.phrases import lines_in, spots, written
from dinox_mcp.backends.embedded.pixels import decode, decode_rgb, to_bgr
from dinox_mcp.backends.embedded.prompts import Wanted
from dinox_mcp.backends.embedded.text import Lines, TextReader
from dinox_mcp.backends.embedded.vocabulary import ALL_CODES, ALL_MARKERS, Kind
from dinox_mcp.backends.embedded.worker import Steps
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.boxes import area, around, clip, scale
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from PIL import Image

Labelled = tuple[str, Finding]
Factor = tuple[float, float]
_OTHER_LETTERS = (
    "some lines look like text in letters that cannot be read here: only Latin, Chinese and Japanese are, others are "
    "left out or come back as letters that look like them"
)
_INSIDE_CODE = 0.7
_QUIET_ZONE = 0.1  # of a code's length: it needs so much paper around it to be read


class Searcher:
    """Finds things in pictures; each part loads what it needs when it is first wanted."""

    def __init__(self) -> None:
        self._objects = ObjectSearcher()
        self._text: TextReader | None = None

    def search(
        self, picture: Picture, request: DetectionRequest, wanted: Wanted, steps: Steps, *, thorough: bool
    ) -> Detections:
        """Find what is wanted, in original pixels: objects, the surest first; then codes, markers and text as read.

        Raises:
            ImageError: the picture is damaged.
            BackendError: a model is missing or damaged.
            AbandonedError: nobody waits for the answer any more.
        """
        rgb, factor, notes = _decoded(picture, steps)
        found = Found([])
        if wanted.kinds or wanted.parts:
            tell = _part(steps, 0.0, 0.3 if wanted.reads else 1.0, "looking for objects")
            found = self._objects.search(rgb, wanted, request, tell, thorough=thorough)
        objects = [_scaled(one, factor) for one in found.detections]
        missing: list[str] = []
        if wanted.reads:
            things, words, missing, more = self._read(to_bgr(rgb), wanted, steps)
            patterns = [item.quad * np.array(factor, np.float32) for _, item in things if item.kind is not Kind.TEXT]
            objects = [one for one in objects if not _is_a_pattern(one, patterns)]
            objects += _detections([*things, *words], picture, factor, request)
            notes += [*remarks(objects, (picture.width, picture.height)), *more]
        return Detections(
            model=" + ".join([*found.models, *_readers(wanted)]),
            objects=tuple(objects),
            notes=(*wanted.notes, *notes, *found.notes),
            unsearched=(*wanted.unsearched, *missing),
            unknown=tuple(missing),
        )

    def _read(
        self, bgr: Pixels, wanted: Wanted, steps: Steps
    ) -> tuple[list[Labelled], list[Labelled], list[str], list[str]]:
        """Read codes, markers and text; find words in the text.

        Returns:
            What was read, the words that were found, the prompts whose words were not, and notes.
        """
        kinds = frozenset(wanted.read)
        notes: list[str] = []
        found: list[Finding] = []
        if kinds & (ALL_CODES | ALL_MARKERS):
            gray = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), np.uint8)
            found = reading_order(self._codes_and_markers(gray, kinds, steps))
            notes += dict.fromkeys(code.note for code in found if code.note)
        phrases = {**wanted.quoted, **wanted.others}
        if Kind.TEXT not in kinds and not phrases:
            return _labelled(found, wanted), [], [], notes
        steps.say(0.5, "loading the text models" if self._text is None else "looking for text")
        self._text = self._text or TextReader()
        text = self._text.read(bgr, self._text.find(bgr), _part(steps, 0.7, 1.0, "reading text"))
        notes += _unread(text)
        lines = reading_order(line for line in text.read if not _in_a_code(line, found))
        words = [(prompt, part) for prompt in phrases for line in lines for part in spots(line, phrases[prompt])]
        there = {prompt for prompt, _ in words}
        if Kind.TEXT in kinds:
            found += lines
        return _labelled(found, wanted), words, [prompt for prompt in wanted.others if prompt not in there], notes

    def estimate_poses(self, picture: Picture, objects: "Sequence[Detection]", steps: Steps) -> Detections:
        """Estimate the poses of those objects that are persons.

        Raises:
            ImageError: the picture is damaged.
            BackendError: a model is missing or damaged.
            AbandonedError: nobody waits for the answer any more.
        """
        rgb, factor, notes = _decoded(picture, steps)
        tell = _part(steps, 0.0, 1.0, "estimating poses")
        found = self._objects.poses(rgb, [_scaled(one, (1 / factor[0], 1 / factor[1])) for one in objects], tell)
        points = [_scaled(one, factor).keypoints for one in found.detections]
        told = [one.model_copy(update={"keypoints": those}) for one, those in zip(objects, points, strict=True)]
        return Detections(model=" + ".join(found.models), objects=tuple(told), notes=(*notes, *found.notes))

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
            text = lines_in(bgr, asked, self._text, _part(steps, 0.35, 1.0, "reading text"))
            notes += _unread(text)
            read = [*seen, *(line for line in text.read if not _in_a_code(line, seen))]
            objects = [
                found if found.text is not None else found.model_copy(update={"text": written(box, read)})
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


def remarks(objects: "Sequence[Detection]", size: tuple[int, int]) -> tuple[str, ...]:
    """Say how many of the codes in a picture of this size were found but not read; they have no score and no text."""
    textless = [one for one in objects if one.score is None and one.text is None]
    unread = sum(not _is_cut_off(code, size) for code in textless)
    return (f"codes found but not read: {unread} (too small, blurred or damaged; zoom in)",) if unread else ()


def _unread(text: Lines) -> list[str]:
    """Say which lines were not read."""
    notes = [f"{text.left_out} more lines of text were not read; zoom in for them"] if text.left_out else []
    if text.unknown:
        notes.append(_OTHER_LETTERS)
    return notes


def _part(steps: Steps, start: float, end: float, message: str) -> "Callable[[float], None]":
    """Give a part of the work its share of the whole."""
    return lambda done: steps.say(start + (end - start) * done, message)


def _in_a_code(thing: Finding, found: "Iterable[Finding]") -> bool:
    """Tell what was seen into the pattern of a code from what stands beside it, as digits do below a barcode."""
    return any(share_inside(thing.quad, code.quad) > _INSIDE_CODE for code in found)


def _is_cut_off(code: Detection, size: tuple[int, int]) -> bool:
    """Tell whether a code ends at an edge of the picture: nobody can read that, and its rest may be in another tile."""
    left, top, right, bottom = code.bbox
    width, height = size
    margin = _QUIET_ZONE * max(right - left, bottom - top)
    return min(left, top) < margin or right > width - margin or bottom > height - margin


def _is_a_pattern(one: Detection, patterns: "Sequence[Quad]") -> bool:
    """Tell whether an object was seen into the pattern of a code or marker, which looks like many things."""
    x1, y1, x2, y2 = one.bbox
    outline = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float32)
    return any(share_inside(outline, pattern) > _INSIDE_CODE for pattern in patterns)


def _labelled(found: "Iterable[Finding]", wanted: Wanted) -> list[Labelled]:
    return [(wanted.read[item.kind], item) for item in found]


def _detections(
    found: "Iterable[Labelled]", picture: Picture, factor: Factor, request: DetectionRequest
) -> list[Detection]:
    """Map back and filter; the order stays."""
    objects = []
    for label, item in found:
        left, top, right, bottom = clip(scale(around(item.quad.tolist()), *factor), picture.width, picture.height)
        if right > left and bottom > top and (item.score is None or item.score >= request.min_score):
            bbox = (round(left, 1), round(top, 1), round(right, 1), round(bottom, 1))
            score = None if item.score is None else round(item.score, 4)
            objects.append(Detection(label=label, bbox=bbox, score=score, category=item.category, text=item.text))
    return objects


def _decoded(picture: Picture, steps: Steps) -> "tuple[Image.Image, Factor, list[str]]":
    """Decode a picture; give the factors that lead back to the original's pixels, and what the caller should know."""
    steps.say(0.0, "decoding the picture")
    rgb, notes = decode_rgb(picture)
    return rgb, (picture.width / rgb.width, picture.height / rgb.height), notes


def _scaled(one: Detection, factor: Factor) -> Detection:
    """Map a detection in a reduced picture back to the original's pixels, by a factor for x and one for y."""
    if factor == (1, 1):
        return one
    points = [point.model_copy(update={"x": point.x * factor[0], "y": point.y * factor[1]}) for point in one.keypoints]
    update = {"bbox": scale(one.bbox, *factor), "keypoints": tuple(points)}
    return one.model_copy(update={**update, "owner": one.owner and scale(one.owner, *factor)})


def _readers(wanted: Wanted) -> list[str]:
    kinds = frozenset(wanted.read) | (frozenset({Kind.TEXT}) if wanted.quoted or wanted.others else frozenset())
    return [_model(kinds)] if kinds else []


def _model(kinds: frozenset[Kind]) -> str:
    used = [text_lines.FAMILY] if Kind.TEXT in kinds else []
    if kinds - {Kind.TEXT}:
        used.append(f"OpenCV {cv2.__version__}")
    if kinds & ALL_CODES:
        used.append(f"ZXing-C++ {version('zxing-cpp')}")
    return " + ".join(used)
