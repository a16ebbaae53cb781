"""One picture searched for what looks like examples."""

from collections.abc import Mapping
from typing import NamedTuple

import cv2

from dinox_mcp.backends.embedded import matching, templates
from dinox_mcp.backends.embedded.findings import Pixels, Quad, same_place
from dinox_mcp.backends.embedded.pixels import decode
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
_SAME = 0.5  # a copy that shares so much with a better one is the same thing


class _Found(NamedTuple):
    template: Template
    outline: Quad
    box: Box
    correlation: float


def search(picture: Picture, request: DetectionRequest, pictures: Mapping[str, Picture], steps: Steps) -> Detections:
    """Find what looks like the examples, the likeliest first, in original pixels.

    The score is how far the correlation, the mean of that of colors and that of edges, lies above 0.6, so that 0.25
    stands for 0.7. A place belongs to the example that it looks like most, and is dropped where that is a negative.

    Raises:
        InputError: an example is too small, too plain, or in no picture that is known.
        ImageError: a picture is damaged.
        AbandonedError: nobody waits for the answer any more.
    """
    steps.say(0.0, "decoding the picture")
    bgr, notes = decode(picture)
    looks = _collect(picture, bgr, request.examples, pictures)
    factor = bgr.shape[1] / picture.width
    pyramid, found, crowded = Pyramid(bgr), [], False
    for number, template in enumerate(looks):

        def tell(done: float, number: int = number) -> None:
            message = f"looking for example {number + 1} of {len(looks)}"
            steps.say(0.1 + 0.9 * (number + done) / len(looks), message)

        shown = templates.resized(template, factor)
        matches, too_many = matching.find(pyramid, shown, tell)
        crowded |= too_many
        for match in matches:
            outline = match.pose.outline(shown.size) / factor
            found.append(_Found(template, outline, boxes.around(outline.tolist()), match.correlation))
    if crowded:
        notes.append(
            f"much of the picture looks a little like an example: only the {matching.MOST_SPOTS} likeliest places were "
            "compared; draw the box so that it holds more that is special to it"
        )
    return Detections(
        model=f"OpenCV {cv2.__version__}",
        objects=tuple(_detections(_once(found), picture, request)),
        notes=(NOTE, *notes),
    )


def keep(picture: Picture, examples: tuple[Example, ...], pictures: Mapping[str, Picture], steps: Steps) -> str:
    """Write how examples look as the data of an embedding.

    Raises:
        InputError: an example is a negative, too small, too plain, damaged, or in no picture that is known.
        ImageError: a picture is damaged.
    """
    if any(example.negative for example in examples):
        raise InputError(
            "a saved prompt is what to look for: save without the negative examples, give them when searching"
        )
    steps.say(0.0, "decoding the picture")
    return templates.keep(_collect(picture, decode(picture)[0], examples, pictures))


def _collect(
    picture: Picture, bgr: Pixels, examples: tuple[Example, ...], pictures: Mapping[str, Picture]
) -> list[Template]:
    """Cut all examples out of their pictures, and read the saved ones.

    Raises:
        InputError: an example is too small, too plain, damaged, or in no picture that is known.
        ImageError: a picture is damaged.
    """
    decoded = {"": (picture, bgr)}
    collected: list[Template] = []
    for example in examples:
        if example.embedding is not None:
            collected += templates.restore(example.embedding, example)
            continue
        if example.image not in decoded:
            if example.image not in pictures:
                raise InputError(f"the picture of the example {example.label!r:.80} is missing; pass it again")
            decoded[example.image] = pictures[example.image], decode(pictures[example.image])[0]
        frame, pixels = decoded[example.image]
        collected.append(templates.cut(pixels, example, frame))
    return collected


def _once(found: list[_Found]) -> list[_Found]:
    """Keep the likeliest at each place; things of two labels may lie one in the other, those of one may not."""
    kept: list[_Found] = []
    for item in sorted(found, key=lambda item: -item.correlation):
        if not any(_same(item, other) for other in kept):
            kept.append(item)
    return kept


def _same(item: _Found, other: _Found) -> bool:
    if not boxes.intersection(item.box, other.box):
        return False
    if (item.template.label, item.template.negative) == (other.template.label, other.template.negative):
        return same_place(item.outline, other.outline, _SAME)
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
