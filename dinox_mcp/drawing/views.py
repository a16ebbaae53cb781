"""Encoded images made from an image and its objects. The functions are slow: call them in a thread.

Drawing is imported on first use: with NumPy it takes a tenth of the server's start.
"""

import io
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from dinox_mcp.drawing.style import Style, doubtful
from dinox_mcp.errors import InputError, NotFoundError
from dinox_mcp.images.picture import Picture
from dinox_mcp.store.results import Stored
from dinox_mcp.store.uris import Target
from dinox_mcp.types.boxes import Box, area, clip, is_ordered, right_form
from dinox_mcp.types.detection import DetectedObject, certainty, get_object

if TYPE_CHECKING:
    from PIL import Image

JPEG = "image/jpeg"
PNG = "image/png"
FULL_QUALITY = 92
_MARGIN = 0.15
_LEGIBLE_SIDE, _MOST_ENLARGED = 512, 4
_MIN_CROP = 48
_QUALITIES = (85, 70, 55)  # below these, a smaller image looks better than more compression
_SMALLEST_SIDE = 16
_SMALL_SIDE = 1280  # up to it, small images are enlarged, so that tags fit beside small objects


@dataclass(frozen=True, slots=True)
class View:
    """An encoded image: its size in pixels, and the box `frame` of the original that it shows.

    With a legend beside it, the frame fills only the upper left `picture_size` (width, height) pixels.
    """

    data: bytes
    mime_type: str
    width: int
    height: int
    frame: Box
    picture_size: tuple[int, int] | None = None

    @property
    def scale(self) -> float:
        """Pixels of the original for one of the view."""
        return (self.frame[2] - self.frame[0]) / (self.picture_size or (self.width,))[0]


def select(
    objects: Sequence[DetectedObject],
    numbers: Collection[int] = (),
    labels: Iterable[str] = (),
    min_score: float = 0.0,
    max_score: float = 1.0,
) -> list[DetectedObject]:
    """Select objects by number, label (in any case) and score; an empty selection means all.

    An object without a score is certain, as if it scored 1.

    Raises:
        NotFoundError: a number or label is not among the objects.
    """
    numbered = {found.id for found in objects}
    for number in numbers:
        if number not in numbered:
            get_object(objects, number)  # raises with the numbers that there are
    selected = frozenset(numbers)
    known = {found.label.casefold(): found.label for found in objects}
    labelled = {label.strip().casefold() for label in labels}
    if unknown := sorted(labelled - known.keys()):
        labels = ", ".join(f"{label[:60]!r}" for label in [*known.values()][:20])
        raise NotFoundError(
            f"there is no object labelled {unknown[0][:60]!r}; the labels are {labels or 'none, as nothing was found'}"
        )
    return [
        found
        for found in objects
        if (not selected or found.id in selected)
        and (not labelled or found.label.casefold() in labelled)
        and min_score <= certainty(found) <= max_score
    ]


def annotated(picture: Picture, objects: Sequence[DetectedObject], style: Style, max_side: int, max_bytes: int) -> View:
    """Draw objects on an image for a reply, as JPEG. A small image is enlarged; descriptions may need a legend.

    With the legend, the longest side is at most `max_side` pixels.
    """
    twice = min(2 * max(picture.width, picture.height), _SMALL_SIDE)
    image = enlarge(picture.rgb(max_side), min(max(_LEGIBLE_SIDE, twice), max_side))
    drawn, part = _drawn(image, picture, objects, style, max_side)
    data, mime_type, size = fit_bytes(drawn, max_bytes, max_side)
    shown = (round(part[0] * size[0] / drawn.width), round(part[1] * size[1] / drawn.height))
    frame = (0.0, 0.0, float(picture.width), float(picture.height))
    return View(data, mime_type, *size, frame, shown if shown != size else None)


def annotated_file(picture: Picture, objects: Sequence[DetectedObject], style: Style, mime_type: str = JPEG) -> bytes:
    """Draw objects on an image at its full size, with a legend if it needs one, and encode it as JPEG or PNG."""
    image, _ = _drawn(picture.rgb(), picture, objects, style)
    return encode_png(image) if mime_type == PNG else encode_jpeg(image, FULL_QUALITY)


def annotated_result(stored: Stored, mime_type: str = JPEG) -> bytes:
    """Draw all objects of a result on its image at full size, the doubtful ones dashed."""
    return annotated_file(stored.picture, stored.result.objects, Style(doubtful=doubtful(stored.result)), mime_type)


def zoomed(picture: Picture, bbox: Sequence[float], padding: float, max_side: int, max_bytes: int) -> View:
    """Cut a region out of an image at full resolution, enlarged if it is small, reduced to fit a reply.

    `padding` is the margin on each side as a share of the region's size.

    Raises:
        InputError: the region is empty or outside the image.
    """
    if not is_ordered(bbox) or area(clip(bbox, picture.width, picture.height)) <= 0:
        raise InputError(
            f"bbox {[round(edge, 1) for edge in bbox]} is empty or outside the {picture.width}x{picture.height} "
            f"image; {right_form(bbox)}"
        )
    image, frame = crop(picture.rgb(), bbox, padding)
    data, mime_type, size = fit_bytes(image, max_bytes, max_side)
    return View(data, mime_type, *size, frame)


def crop_sheet(
    picture: Picture, objects: Sequence[DetectedObject], padding: float, max_side: int, max_bytes: int
) -> View:
    """Cut several objects out of an image, each as by `zoomed`, and put them on one sheet by their numbers."""
    from PIL import ImageOps

    from dinox_mcp.drawing.sheet import PAPER, contact_sheet
    from dinox_mcp.drawing.tags import score

    image = picture.rgb()
    crops = [crop(image, found.bbox, padding)[0] for found in objects]
    shape = min(2.0, max(0.5, median(one.width / one.height for one in crops)))
    cell = round(_LEGIBLE_SIDE * min(1, shape)), round(_LEGIBLE_SIDE / max(1, shape))
    crops = [ImageOps.pad(one, cell, color=PAPER) for one in crops]
    captions = [f"{found.id} {found.label} {score(found)}" for found in objects]
    sheet = contact_sheet(list(zip(crops, captions, strict=True)), max_side)
    data, mime_type, size = fit_bytes(sheet, max_bytes, max_side)
    return View(data, mime_type, *size, (0.0, 0.0, float(picture.width), float(picture.height)))


def crop_file(stored: Stored, number: int) -> bytes:
    """Cut one object out of its image at full resolution, as JPEG.

    Raises:
        NotFoundError: there is no such object.
    """
    found = get_object(stored.result.objects, number)
    image, _ = crop(stored.picture.rgb(), found.bbox, _MARGIN)
    return encode_jpeg(image, FULL_QUALITY)


def mask_file(stored: Stored, number: int) -> bytes:
    """Encode the mask of one object as a PNG of the image's size, white on black.

    Raises:
        NotFoundError: there is no such object, or it has no mask.
    """
    found = get_object(stored.result.objects, number)
    if found.mask is None:
        raise NotFoundError(f'object {number} has no mask; detect again with include=["masks"]')
    from PIL import Image

    from dinox_mcp.types import masks

    buffer = io.BytesIO()
    Image.fromarray(masks.decode(found.mask)).save(buffer, "PNG")  # one bit per pixel
    return buffer.getvalue()


def picture_of(stored: Stored, target: Target) -> Picture:
    """Return the image that a URI names.

    Raises:
        NotFoundError: there is no such object or mask.
    """
    number = target.number or 0
    match target.view:
        case "crop.jpg":
            data = crop_file(stored, number)
        case "mask.png":
            data = mask_file(stored, number)
        case "annotated.jpg" | "annotated.png":
            data = annotated_result(stored, PNG)
        case _:
            return stored.picture
    return Picture.from_bytes(data, f"{target.view} of {stored.result.result_id}")


def crop(image: "Image.Image", bbox: Sequence[float], padding: float) -> tuple["Image.Image", Box]:
    """Cut a box out of an image, and enlarge it if it is small; give the box that the crop shows, too.

    `padding` is the margin on each side as a share of the box's side. The crop is at least 48 pixels of the image wide
    and high, if the image is.
    """
    x1, y1, x2, y2 = clip(bbox, *image.size)
    left, right = _span(x1, x2, padding, image.width)
    top, bottom = _span(y1, y2, padding, image.height)
    return enlarge(image.crop((left, top, right, bottom))), (left, top, right, bottom)


def _span(low: float, high: float, padding: float, limit: int) -> tuple[int, int]:
    """Widen an interval by its margins, and to the least length, within 0 and `limit`; in full pixels."""
    margin = padding * (high - low)
    low, high = max(0.0, low - margin), min(float(limit), high + margin)
    if high - low < _MIN_CROP:
        low = min(max(0.0, (low + high - _MIN_CROP) / 2), max(0.0, limit - _MIN_CROP))
        high = min(low + _MIN_CROP, limit)
    return math.floor(low), math.ceil(high)


def enlarge(image: "Image.Image", side: int = _LEGIBLE_SIDE) -> "Image.Image":
    """Enlarge a small image to `side` pixels on its long side, at most four times; return a large one as it is."""
    from PIL import Image

    factor = min(_MOST_ENLARGED, side / max(image.size))
    if factor <= 1:
        return image
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)


def _drawn(
    image: "Image.Image",
    picture: Picture,
    objects: Sequence[DetectedObject],
    style: Style,
    max_side: int | None = None,
) -> tuple["Image.Image", tuple[int, int]]:
    """Draw objects with the legend that they need; return the size of the image without the legend, too.

    If both together exceed `max_side`, the image is reduced before anything is drawn, so that text stays sharp.
    """
    from dinox_mcp.drawing.annotate import annotate
    from dinox_mcp.drawing.legend import make_legend
    from dinox_mcp.drawing.tags import without_common_categories

    objects = without_common_categories(objects)
    original = (picture.width, picture.height)
    legend = make_legend(image.size, objects, style, original_size=original)
    if legend and max_side and (side := max(legend.size_with(image.size))) > max_side:
        image = image.copy()
        image.thumbnail((max(1, image.width * max_side // side), max(1, image.height * max_side // side)))
        legend = make_legend(image.size, objects, style, original_size=original)
    drawn = annotate(image, objects, original_size=original, style=style)
    return legend.beside(drawn) if legend else drawn, drawn.size


def encode_jpeg(image: "Image.Image", quality: int = 85) -> bytes:
    """Encode as baseline JPEG, the fastest kind to encode and decode."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def encode_png(image: "Image.Image") -> bytes:
    """Encode as PNG, at the fastest level that filters: higher ones barely make photographs smaller."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=2)
    return buffer.getvalue()


def fit_bytes(image: "Image.Image", max_bytes: int, max_side: int | None = None) -> tuple[bytes, str, tuple[int, int]]:
    """Encode an image as JPEG of at most so many bytes: first at lower quality, then at a smaller size.

    Args:
        image: The image, RGB.
        max_bytes: The most bytes; exceeded only if an image of 16 pixels needs more.
        max_side: The longest side in pixels; None for any.

    Returns:
        The bytes, their MIME type, and width and height of the encoded image in pixels.
    """
    if max_side is not None and max(image.size) > max_side:
        image = _shrink(image, max_side / max(image.size))
    for quality in _QUALITIES:
        data = encode_jpeg(image, quality)
        if len(data) <= max_bytes:
            return data, JPEG, image.size
    while len(data) > max_bytes and max(image.size) > _SMALLEST_SIDE:
        image = _shrink(image, min(0.9, 0.95 * math.sqrt(max_bytes / len(data))))
        data = encode_jpeg(image, _QUALITIES[1])
    return data, JPEG, image.size


def _shrink(image: "Image.Image", factor: float) -> "Image.Image":
    from PIL import Image

    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
