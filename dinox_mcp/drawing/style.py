"""What is drawn, in which colors, and the boxes of objects in pixels of a view."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from dinox_mcp.types import boxes
from dinox_mcp.types.detection import DetectedObject, DetectionResult, Value

Color = tuple[int, int, int]

DOUBT = 0.1
"""How far above the threshold an object still is doubtful."""
BLACK: Color = (16, 16, 16)
WHITE: Color = (255, 255, 255)

PALETTE: tuple[Color, ...] = (
    (253, 156, 186), (254, 103, 135), (229, 75, 87), (253, 162, 147), (253, 112, 59), (213, 100, 5),
    (255, 166, 89), (220, 142, 18), (178, 127, 2), (230, 184, 22), (183, 162, 14), (143, 143, 11),
    (175, 206, 25), (121, 183, 5), (59, 163, 29), (73, 222, 120), (4, 191, 126), (24, 160, 126),
    (2, 219, 193), (20, 185, 178), (14, 156, 162), (28, 213, 237), (27, 179, 215), (3, 150, 198),
    (120, 199, 253), (74, 166, 254), (61, 132, 250), (164, 187, 255), (144, 149, 253), (139, 110, 242),
    (201, 173, 253), (198, 122, 248), (186, 91, 207), (254, 141, 246), (235, 106, 198), (216, 77, 153),
)  # fmt: skip
"""The colors of objects: 36 evenly spaced hues in OKLCH, as vivid as sRGB allows, neighbors of different lightness.

None is dark, so that a dark rim and dark text always stand out. `viewer/shared.py` writes them for the page.
"""
_STEP = 13  # not a divisor of 36, and about a third of it


def color_of_number(number: int) -> Color:
    """Return the color of an object or track; consecutive numbers have very different colors."""
    return PALETTE[_STEP * number % len(PALETTE)]


def ink_on(background: Color) -> Color:
    """Choose black or white, whichever has more contrast on a background."""
    return max(BLACK, WHITE, key=lambda ink: contrast(ink, background))


def contrast(a: Color, b: Color) -> float:
    """Compute the contrast ratio of two colors as WCAG 2 defines it, from 1 to 21."""
    dark, light = sorted((_luminance(a), _luminance(b)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: Color) -> float:
    shares = (value / 255 for value in color)
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4  # noqa: PLR2004 - sRGB
        for share in shares
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


class Style(Value):
    """What is drawn of each object.

    With numbers, but without boxes and labels, each object is a dot with its number beside it, for counting.

    Attributes:
        boxes: Draw the boxes.
        masks: Draw the masks.
        labels: Write label and score.
        numbers: Write the number.
        keypoints: Draw the skeletons of bodies and hands.
        captions: Write caption, category and text.
        color_by: Color objects by label, or by number, as for tracks.
        all_labels: The labels of all objects of the image, if only some of them are drawn.
        doubtful: The numbers of objects whose boxes are dashed.
        opacity: How opaque masks are, from 0 to 1.
    """

    boxes: bool = True
    masks: bool = True
    labels: bool = True
    numbers: bool = True
    keypoints: bool = True
    captions: bool = True
    color_by: Literal["label", "number"] = "label"
    all_labels: tuple[str, ...] = ()
    doubtful: tuple[int, ...] = ()
    opacity: Annotated[float, Field(ge=0, le=1)] = 0.4

    @property
    def dots(self) -> bool:
        """Whether objects are drawn as dots."""
        return self.numbers and not self.boxes and not self.labels

    def colors(self, objects: Sequence[DetectedObject]) -> Callable[[DetectedObject], Color]:
        """Return the function that gives the color of each of these objects.

        Up to 36 labels of an image have different colors. If there is one label only, each object has the color of its
        number. `viewer/src/colors.ts` does the same.
        """
        names = sorted({label.strip().lower() for label in self.all_labels or (found.label for found in objects)})
        if self.color_by == "number" or len(names) <= 1:
            return lambda found: color_of_number(found.id)
        colors = {name: color_of_number(number) for number, name in enumerate(names, start=1)}
        return lambda found: colors.get(found.label.strip().lower(), WHITE)


def doubtful(result: DetectionResult) -> tuple[int, ...]:
    """List the numbers of the objects that score less than `DOUBT` above the threshold by which they were found.

    Objects without a score are never doubtful. Examples have thresholds of their own, which only the backend knows
    unless the caller chose one: without it, none of their objects is.
    """
    request = result.request
    if request.examples and "min_score" not in request.model_fields_set:
        return ()
    own = {label: source.min_score for source in result.sources for label in source.labels}
    return tuple(
        found.id
        for found in result.objects
        if found.score is not None and found.score < own.get(found.label, request.min_score) + DOUBT
    )


PixelBox = tuple[int, int, int, int]
Size = tuple[int, int]


class Shape(NamedTuple):
    """An object with its box in full pixels of the view: half-open, inside the view, and at least one pixel large."""

    found: DetectedObject
    box: PixelBox
    color: Color
    dashed: bool


def make_shapes(objects: Sequence[DetectedObject], size: Size, original_size: Size, style: Style) -> list[Shape]:
    """Map objects of an image of `original_size` to a view of `size`, the largest first: small ones are on top."""
    factor_x, factor_y = size[0] / original_size[0], size[1] / original_size[1]
    color_of = style.colors(objects)
    shapes = [
        Shape(
            found,
            _to_pixels(boxes.scale(found.bbox, factor_x, factor_y), size),
            color_of(found),
            dashed=found.id in style.doubtful,
        )
        for found in objects
    ]
    return sorted(shapes, key=lambda shape: -boxes.area(shape.box))


def _to_pixels(bbox: boxes.Box, size: Size) -> PixelBox:
    x1, y1, x2, y2 = (round(edge) for edge in boxes.clip(bbox, *size))
    x1, y1 = min(x1, size[0] - 1), min(y1, size[1] - 1)
    return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)
