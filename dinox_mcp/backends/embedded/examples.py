"""Finds what looks like examples, and saves examples as embeddings."""

from collections.abc import Mapping
from typing import NamedTuple

import cv2

from dinox_mcp.backends.embedded import matching, templates
from dinox_mcp.backends.embedded.pixels import decode
from dinox_mcp.backends.embedded.readings import Pixels, Quad, overlap
from dinox_mcp.backends.embedded.templates import Pyramid, Template
from dinox_mcp.backends.embedded.worker import Steps
from dinox_mcp.errors import InputError
from dinox_mcp.images.picture import Picture
from dinox_mcp.types import boxes
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections, Example

NOTE = (
    "matches how the example looks, pixel by pixel, not what it is: copies of 0.7 to 1.4 times its size, turned by up "
    "to 15 degrees, are found; score 0 is a correlation of 0.6, 0.25 is 0.7, 1 is 1"
)
_SAME = 0.5  # a match that overlaps a better one more than this is the same thing


class _Found(NamedTuple):
    template: Template
    outline: Quad
    box: Box
    correlation: float


def search(picture: Picture, request: DetectionRequest, pictures: Mapping[str, Picture], steps: Steps) -> Detections:
    """Find what looks like the examples, the best score first, in original pixels.

    The score maps the correlation (the mean of that of colors and that of edges) from 0.6 to 1 to a score from 0 to 1.
    An object belongs to the example with the best score, and is left out if that is a negative one.

    Raises:
        InputError: an example is too small, of one color, or its image is missing.
        ImageError: an image is damaged.
        AbandonedError: the call was cancelled.
    """
    steps.report(0.0, "decoding the image")
    bgr, notes = decode(picture)
    collected = _collect(picture, bgr, request.examples, pictures)
    factor = bgr.shape[1] / picture.width
    pyramid, found, crowded = Pyramid(bgr), [], False
    part = 0.9 / len(collected)
    for number, template in enumerate(collected):
        message = f"searching for example {number + 1} of {len(collected)}"
        report = steps.part(0.1 + number * part, 0.1 + (number + 1) * part, message)
        shown = templates.resized(template, factor)
        matches, too_many = matching.find(pyramid, shown, report)
        crowded |= too_many
        for match in matches:
            outline = match.pose.outline(shown.size) / factor
            found.append(_Found(template, outline, boxes.around(outline.tolist()), match.correlation))
    if crowded:
        notes.append(
            f"much of the image looks a little like an example: only the {matching.MAX_CANDIDATES} best candidates "
            "were compared; draw a box with more details that are special to the example"
        )
    return Detections(
        model=f"OpenCV {cv2.__version__}",
        objects=tuple(_detections(_unique(found), picture, request)),
        notes=(NOTE, *notes),
    )


def save(picture: Picture, examples: tuple[Example, ...], pictures: Mapping[str, Picture], steps: Steps) -> str:
    """Write examples as the data of an embedding.

    Raises:
        InputError: an example is negative, too small, of one color, damaged, or its image is missing.
        ImageError: an image is damaged.
    """
    if any(example.negative for example in examples):
        raise InputError(
            "a saved prompt has no negative examples: save without the negative examples, and pass them when searching"
        )
    steps.report(0.0, "decoding the image")
    return templates.dump(_collect(picture, decode(picture)[0], examples, pictures))


def _collect(
    picture: Picture, bgr: Pixels, examples: tuple[Example, ...], pictures: Mapping[str, Picture]
) -> list[Template]:
    """Cut all examples out of their images, and load the saved ones.

    Raises:
        InputError: an example is too small, of one color, damaged, or its image is missing.
        ImageError: an image is damaged.
    """
    decoded = {"": (picture, bgr)}
    collected: list[Template] = []
    for example in examples:
        if example.embedding is not None:
            collected += templates.load(example.embedding, example)
            continue
        if example.image not in decoded:
            if example.image not in pictures:
                raise InputError(f"the image of the example {example.label!r:.80} is missing; pass it again")
            decoded[example.image] = pictures[example.image], decode(pictures[example.image])[0]
        frame, pixels = decoded[example.image]
        collected.append(templates.cut(pixels, example, frame))
    return collected


def _unique(found: list[_Found]) -> list[_Found]:
    """Keep the best of overlapping matches. One inside the other is allowed for different labels only."""
    kept: list[_Found] = []
    for item in sorted(found, key=lambda item: -item.correlation):
        if not any(_same(item, other) for other in kept):
            kept.append(item)
    return kept


def _same(item: _Found, other: _Found) -> bool:
    if not boxes.intersection(item.box, other.box):
        return False
    if (item.template.label, item.template.negative) == (other.template.label, other.template.negative):
        return overlap(item.outline, other.outline, _SAME)
    return boxes.iou(item.box, other.box) > _SAME


def _detections(found: list[_Found], picture: Picture, request: DetectionRequest) -> list[Detection]:
    objects = []
    for item in found:
        left, top, right, bottom = boxes.clip(item.box, picture.width, picture.height)
        floor = matching.LEAST_CORRELATION
        score = round(min(1.0, (item.correlation - floor) / (1 - floor)), 4)
        if not item.template.negative and score >= request.min_score and right > left and bottom > top:
            bbox = round(left, 1), round(top, 1), round(right, 1), round(bottom, 1)
            objects.append(Detection(label=item.template.label, bbox=bbox, score=score))
    return boxes.suppress(objects, request.iou_threshold)
