"""Pictures made of a picture and its objects. Slow functions on values: call them in a thread.

Drawing is imported when it is used: with NumPy it takes as long as a tenth of the server's start.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dinox_mcp.drawing.style import Style
from dinox_mcp.errors import InputError, NotFoundError
from dinox_mcp.images.picture import Picture
from dinox_mcp.store.results import Stored
from dinox_mcp.store.uris import Target
from dinox_mcp.types.boxes import Box, area, clip
from dinox_mcp.types.detection import DetectedObject

if TYPE_CHECKING:
    from PIL import Image

JPEG = "image/jpeg"
PNG = "image/png"
FULL_QUALITY = 92
_MARGIN = 0.15
_ROOMY_SIDE = 1280
_MOST_NUMBERS = 20


@dataclass(frozen=True, slots=True)
class View:
    """An encoded picture: its size in pixels, and the `frame` of the original that it shows.

    Where there is a legend beside it, the frame fills only the upper left `picture_size` (width, height) pixels.
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


def check_order(bbox: Sequence[float]) -> None:
    """Refuse a box whose second corner is not right of and below its first, as in [x, y, width, height].

    Raises:
        ValueError: it is not; the message says what is.
    """
    if not is_ordered(bbox):
        raise ValueError(f"{[round(edge, 1) for edge in bbox]} is empty; {right_form(bbox)}")


def is_ordered(bbox: Sequence[float]) -> bool:
    """Tell whether the second corner of a box is right of and below its first."""
    return bbox[2] > bbox[0] and bbox[3] > bbox[1]


def right_form(bbox: Sequence[float]) -> str:
    """Say how a box is written, and what this one is if its last two numbers are its size."""
    form = "pass [x_min, y_min, x_max, y_max] in pixels of the original"
    x1, y1, x2, y2 = (round(edge, 1) for edge in bbox)
    if is_ordered(bbox) or x2 <= 0 or y2 <= 0:
        return form
    return f"{form}; if this is [x, y, width, height], pass {[x1, y1, round(x1 + x2, 1), round(y1 + y2, 1)]}"


def select(
    objects: Sequence[DetectedObject],
    numbers: Collection[int] = (),
    labels: Iterable[str] = (),
    min_score: float = 0.0,
) -> list[DetectedObject]:
    """Choose objects by number, label (any case) and score; no choice means all.

    Raises:
        NotFoundError: there is no object of a number or label.
    """
    numbered = {found.id for found in objects}
    for number in numbers:
        if number not in numbered:
            get_object(objects, number)  # says which there are
    chosen = frozenset(numbers)
    known = {found.label.casefold(): found.label for found in objects}
    wanted = {label.strip().casefold() for label in labels}
    if unknown := sorted(wanted - known.keys()):
        labels = ", ".join(f"{label[:60]!r}" for label in [*known.values()][:20])
        raise NotFoundError(
            f"there is no object labelled {unknown[0][:60]!r}; the labels are {labels or 'none, as nothing was found'}"
        )
    return [
        found
        for found in objects
        if (not chosen or found.id in chosen)
        and (not wanted or found.label.casefold() in wanted)
        and (found.score is None or found.score >= min_score)
    ]


def get_object(objects: Sequence[DetectedObject], number: int) -> DetectedObject:
    """Give an object by its number.

    Raises:
        NotFoundError: there is none.
    """
    for found in objects:
        if found.id == number:
            return found
    numbers = [found.id for found in objects]
    known = f"the numbers are {_ranges(numbers)}" if numbers else "there are no objects"
    raise NotFoundError(f"there is no object {number}; {known}")


def _ranges(numbers: Sequence[int]) -> str:
    """Write numbers shortly: "1 to 4", or as a list where some are missing."""
    if len(numbers) == numbers[-1] - numbers[0] + 1:
        return f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else str(numbers[0])
    shown = ", ".join(map(str, numbers[:_MOST_NUMBERS]))
    return f"{shown}, ..." if len(numbers) > _MOST_NUMBERS else shown


def annotated(picture: Picture, objects: Sequence[DetectedObject], style: Style, max_side: int, max_bytes: int) -> View:
    """Draw objects on a picture for a reply: JPEG within `max_side` pixels and `max_bytes`; small ones are enlarged.

    What has no room on the picture (`Style.captions`) stands in a legend beside it, within `max_side` too.
    """
    from dinox_mcp.drawing.crops import LEGIBLE_SIDE, enlarge
    from dinox_mcp.drawing.encode import fit_bytes

    twice = min(2 * max(picture.width, picture.height), _ROOMY_SIDE)  # tags of small objects need room beside them
    image = enlarge(picture.rgb(max_side), min(max(LEGIBLE_SIDE, twice), max_side))
    whole, part = _drawn(image, picture, objects, style, max_side)
    data, mime_type, size = fit_bytes(whole, max_bytes, max_side)
    shown = (round(part[0] * size[0] / whole.width), round(part[1] * size[1] / whole.height))
    frame = (0.0, 0.0, float(picture.width), float(picture.height))
    return View(data, mime_type, *size, frame, shown if shown != size else None)


def annotated_file(picture: Picture, objects: Sequence[DetectedObject], style: Style, mime_type: str = JPEG) -> bytes:
    """Draw objects on a picture at its full size, with a legend where it needs one, and encode it as JPEG or PNG."""
    from dinox_mcp.drawing.encode import encode_jpeg, encode_png

    image, _ = _drawn(picture.rgb(), picture, objects, style)
    return encode_png(image) if mime_type == PNG else encode_jpeg(image, FULL_QUALITY)


def zoomed(picture: Picture, bbox: Sequence[float], padding: float, max_side: int, max_bytes: int) -> View:
    """Cut a region out of a picture at full resolution, enlarged when small, shrunk to fit a reply.

    `padding` is the margin on each side as a part of the region's size.

    Raises:
        InputError: the region is empty, or none of it is in the picture.
    """
    from dinox_mcp.drawing.crops import crop
    from dinox_mcp.drawing.encode import fit_bytes

    if not is_ordered(bbox) or area(clip(bbox, picture.width, picture.height)) <= 0:
        raise InputError(
            f"bbox {[round(edge, 1) for edge in bbox]} is empty or outside the {picture.width}x{picture.height} "
            f"picture; {right_form(bbox)}"
        )
    cut = crop(picture.rgb(), bbox, padding)
    data, mime_type, size = fit_bytes(cut.image, max_bytes, max_side)
    return View(data, mime_type, *size, cut.frame)


def crop_file(stored: Stored, number: int) -> bytes:
    """Cut one object out of its picture at full resolution, as JPEG.

    Raises:
        NotFoundError: there is no such object.
    """
    from dinox_mcp.drawing.crops import crop
    from dinox_mcp.drawing.encode import encode_jpeg

    found = get_object(stored.result.objects, number)
    return encode_jpeg(crop(stored.picture.rgb(), found.bbox, _MARGIN).image, FULL_QUALITY)


def mask_file(stored: Stored, number: int) -> bytes:
    """Make the mask of one object a PNG of the picture's size, white on black.

    Raises:
        NotFoundError: there is no such object, or it has no mask.
    """
    from dinox_mcp.drawing.encode import mask_png

    found = get_object(stored.result.objects, number)
    if found.mask is None:
        raise NotFoundError(f'object {number} has no mask; detect again with include=["masks"]')
    return mask_png(found.mask)


def picture_of(stored: Stored, target: Target) -> Picture:
    """Give the picture that a URI names, so that it can be looked at again.

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
            data = annotated_file(stored.picture, stored.result.objects, Style(), PNG)
        case _:
            return stored.picture
    return Picture.from_bytes(data, f"{target.view} of {stored.result.result_id}")


def _drawn(
    image: "Image.Image",
    picture: Picture,
    objects: Sequence[DetectedObject],
    style: Style,
    max_side: int | None = None,
) -> tuple["Image.Image", tuple[int, int]]:
    """Draw objects, and the legend that they need; give the size in pixels of the picture without it as well.

    Where both together exceed `max_side`, the picture shrinks before anything is drawn, so that text stays sharp.
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
