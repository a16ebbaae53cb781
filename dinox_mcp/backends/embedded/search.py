"""Finds the targets of a request in one image: objects, then codes, markers and text."""

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

import cv2
import numpy as np

from dinox_mcp.backends.embedded import codes, text_lines
from dinox_mcp.backends.embedded.markers import MarkerReader
from dinox_mcp.backends.embedded.objects import ObjectResults, ObjectSearcher
from dinox_mcp.backends.embedded.prompts import ALL_CODES, ALL_MARKERS, Kind, Targets
from dinox_mcp.backends.embedded.readings import (
    Pixels,
    Quad,
    Reading,
    decode_rgb,
    outline,
    reading_order,
    rounded,
    share_inside,
    text_in,
    to_bgr,
)
from dinox_mcp.backends.embedded.text import TextReader, find_words
from dinox_mcp.backends.embedded.worker import Steps
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.boxes import area, around, clip, is_ordered, scale
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections

if TYPE_CHECKING:
    from PIL import Image

Labelled = tuple[str, Reading]
Factor = tuple[float, float]
_INSIDE_CODE = 0.7
_QUIET_ZONE = 0.1  # the margin that a code needs to be read, as a share of its length


class Searcher:
    """Finds targets in images; each part is loaded on first use."""

    def __init__(self) -> None:
        self._objects = ObjectSearcher()
        self._text: TextReader | None = None

    def search(
        self, picture: Picture, request: DetectionRequest, targets: Targets, steps: Steps, *, thorough: bool
    ) -> Detections:
        """Find targets, in original pixels: objects, the best score first; then codes, markers and text in order."""
        rgb, factor, notes = _decoded(picture, steps)
        found = ObjectResults([])
        if targets.kinds or targets.parts:
            report = steps.part(0.0, 0.3 if targets.readings else 1.0, "detecting objects")
            found = self._objects.search(rgb, targets, request, report, thorough=thorough)
        objects = [_scaled(one, factor) for one in found.detections]
        missing: list[str] = []
        if targets.readings:
            readings, missing, more = self._read(to_bgr(rgb), targets, steps)
            patterns = [one.quad * np.array(factor, np.float32) for _, one in readings if one.kind is not Kind.TEXT]
            objects = [one for one in objects if not _is_a_pattern(one, patterns)]
            objects += _detections(readings, picture, factor, request)
            notes += [*notes_for(objects, (picture.width, picture.height)), *more]
        return Detections(
            model=" + ".join([*found.models, *_models(targets.readings)]),
            objects=tuple(objects),
            notes=(*targets.notes, *notes, *found.notes),
            unsearched=(*targets.unsearched, *missing),
            unknown=tuple(missing),
        )

    def _read(self, bgr: Pixels, targets: Targets, steps: Steps) -> tuple[list[Labelled], list[str], list[str]]:
        """Read codes, markers and text, and find words in the text.

        Returns:
            What was read, the prompts whose words were not found, and notes.
        """
        found = reading_order(_codes_and_markers(bgr, targets.readings, steps))
        notes = list(dict.fromkeys(code.note for code in found if code.note))
        words: list[Labelled] = []
        if Kind.TEXT in targets.readings:
            text = self._text_reader(steps, 0.5).read(bgr, steps.part(0.7, 1.0, "reading text"))
            notes += text.notes
            lines = reading_order(line for line in text.read if not _in_a_code(line, found))
            phrases = targets.phrases.items()
            words = [
                (prompt, part) for prompt, phrase in phrases for line in lines for part in find_words(line, phrase)
            ]
            found += lines if Kind.TEXT in targets.read else ()
        present = {prompt for prompt, _ in words}
        missing = [prompt for prompt in targets.others if prompt not in present]
        return [*((targets.read[one.kind], one) for one in found), *words], missing, notes

    def estimate_poses(self, picture: Picture, objects: Sequence[Detection], steps: Steps) -> Detections:
        """Estimate the poses of the objects that are persons."""
        rgb, factor, notes = _decoded(picture, steps)
        reduced = [_scaled(one, (1 / factor[0], 1 / factor[1])) for one in objects]
        found = self._objects.poses(rgb, reduced, steps.part(0.0, 1.0, "estimating poses"))
        posed = [
            one.model_copy(update={"keypoints": _scaled(its, factor).keypoints})
            for one, its in zip(objects, found.detections, strict=True)
        ]
        return Detections(model=" + ".join(found.models), objects=tuple(posed), notes=(*notes, *found.notes))

    def describe(self, picture: Picture, objects: Sequence[Detection], steps: Steps) -> Detections:
        """Read the text and codes in the boxes of objects, from top to bottom. Objects with a text keep it."""
        rgb, factor, notes = _decoded(picture, steps)
        boxes = [clip(scale(found.bbox, 1 / factor[0], 1 / factor[1]), *rgb.size) for found in objects]
        unread = [box for box, found in zip(boxes, objects, strict=True) if found.text is None and area(box) > 0]
        if unread:
            bgr = to_bgr(rgb)
            readings = _codes_and_markers(bgr, ALL_CODES, steps)
            text = self._text_reader(steps, 0.35).read_boxes(bgr, unread, steps.part(0.35, 1.0, "reading text"))
            notes += text.notes
            readings += [line for line in text.read if not _in_a_code(line, readings)]
            objects = [
                found if found.text is not None else found.model_copy(update={"text": text_in(box, readings)})
                for box, found in zip(boxes, objects, strict=True)
            ]
        if without := sum(one.text is None for one in objects):
            boxes_without = "the box" if len(objects) == 1 else f"{without} of {len(objects)} boxes"
            notes.append(f"no text was found in {boxes_without}")
        model = " + ".join(_models(ALL_CODES | {Kind.TEXT}))
        return Detections(model=model, objects=tuple(objects), notes=tuple(notes))

    def _text_reader(self, steps: Steps, done: float) -> TextReader:
        """Return the reader of text, which is loaded on first use."""
        steps.report(done, "loading the text models" if self._text is None else "searching for text")
        self._text = self._text or TextReader()
        return self._text


def _codes_and_markers(bgr: Pixels, kinds: frozenset[Kind], steps: Steps) -> list[Reading]:
    gray = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), np.uint8)
    found: list[Reading] = []
    if of_codes := kinds & ALL_CODES:
        found += codes.read(gray, of_codes, steps.part(0.1, 0.35, "searching for codes"))
    if of_markers := kinds & ALL_MARKERS:
        markers = MarkerReader(of_markers).read(gray, steps.part(0.35, 0.5, "searching for markers"))
        found += [marker for marker in markers if not _in_a_code(marker, found)]
    return found


def notes_for(objects: Sequence[Detection], size: tuple[int, int]) -> tuple[str, ...]:
    """Say how many of the codes in an image of this size were found but not read; they have no score and no text."""
    textless = [one for one in objects if one.score is None and one.text is None]
    unread = sum(not _is_cut_off(code, size) for code in textless)
    return (f"codes found but not read: {unread} (too small, blurred or damaged; zoom in)",) if unread else ()


def _in_a_code(reading: Reading, codes: Iterable[Reading]) -> bool:
    """Return whether something was read into the pattern of a code, unlike the digits below a barcode."""
    return any(share_inside(reading.quad, code.quad) > _INSIDE_CODE for code in codes)


def _is_cut_off(code: Detection, size: tuple[int, int]) -> bool:
    """Return whether a code ends at an edge of the image: it cannot be read, and its rest may be in another tile."""
    left, top, right, bottom = code.bbox
    width, height = size
    margin = _QUIET_ZONE * max(right - left, bottom - top)
    return min(left, top) < margin or right > width - margin or bottom > height - margin


def _is_a_pattern(one: Detection, patterns: Sequence[Quad]) -> bool:
    """Return whether an object was detected in the pattern of a code or marker, which looks like many things."""
    return any(share_inside(outline(one.bbox), pattern) > _INSIDE_CODE for pattern in patterns)


def _detections(
    found: Iterable[Labelled], picture: Picture, factor: Factor, request: DetectionRequest
) -> list[Detection]:
    """Make detections of readings, in original pixels, without those below the least score."""
    objects = []
    for label, item in found:
        bbox = rounded(clip(scale(around(item.quad.tolist()), *factor), picture.width, picture.height))
        score = None if item.score is None else round(item.score, 4)
        if is_ordered(bbox) and (score is None or score >= request.min_score):
            objects.append(Detection(label=label, bbox=bbox, score=score, category=item.category, text=item.text))
    return objects


def _decoded(picture: Picture, steps: Steps) -> "tuple[Image.Image, Factor, list[str]]":
    """Decode an image; return the factors that map to original pixels, and notes, too."""
    steps.report(0.0, "decoding the image")
    rgb, notes = decode_rgb(picture)
    return rgb, (picture.width / rgb.width, picture.height / rgb.height), notes


def _scaled(one: Detection, factor: Factor) -> Detection:
    """Scale a detection, by a factor for x and one for y."""
    if factor == (1, 1):
        return one
    points = [point.model_copy(update={"x": point.x * factor[0], "y": point.y * factor[1]}) for point in one.keypoints]
    update = {"bbox": scale(one.bbox, *factor), "keypoints": tuple(points)}
    return one.model_copy(update={**update, "owner": one.owner and scale(one.owner, *factor)})


def _models(kinds: frozenset[Kind]) -> list[str]:
    used = [text_lines.FAMILY] if Kind.TEXT in kinds else []
    if kinds - {Kind.TEXT}:
        used.append(f"OpenCV {cv2.__version__}")
    if kinds & ALL_CODES:
        used.append(f"ZXing-C++ {version('zxing-cpp')}")
    return used
