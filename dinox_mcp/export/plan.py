"""Plans an export: which objects of which results, as files whose names are known before the first one is made."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import NamedTuple

from dinox_mcp.drawing.views import FULL_QUALITY, encode_jpeg, encode_png, select
from dinox_mcp.errors import InputError
from dinox_mcp.export import labels
from dinox_mcp.export.names import image_name, label_part, stems
from dinox_mcp.export.objects import crop, cutout, frame_of, redacted
from dinox_mcp.export.options import (
    FORMATS,
    LABEL_FORMATS,
    MAX_PADDING,
    METHODS,
    PADDING,
    REDACTED_PADDING,
    SHAPES,
    Exported,
    ExportOptions,
    Format,
    Method,
    Shape,
)
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.detection import DetectedObject, DetectionResult, ImageInfo, count_labels

MAX_PIXELS = 2_000_000_000
"""Pixels of all crops or cut-outs of one export."""
_LOSSLESS = {"PNG", "BMP", "GIF", "TIFF"}


class Batch(NamedTuple):
    """Files that are made together, one after the other in the order of their names."""

    names: tuple[str, ...]
    make: Callable[[], Iterable[bytes]]


class Selected(NamedTuple):
    """The selected objects of a result, and the stem of the files about it."""

    result: DetectionResult
    objects: tuple[DetectedObject, ...]
    stem: str


class Plan:
    """An export that is checked, and made when its files are written.

    Attributes:
        format: the format.
        selected: the results with their selected objects.
        objects: all selected objects.
        notes: what the caller must know.
    """

    def __init__(
        self,
        results: Sequence[DetectionResult],
        pictures: Mapping[str, Picture],
        export_format: Format,
        options: ExportOptions,
    ) -> None:
        """Check an export.

        Args:
            results: what is exported.
            pictures: the images by the ids of their results; labels need none.
            export_format: the format.
            options: the options.

        Raises:
            InputError: there is nothing to export, or an option is wrong.
            NotFoundError: there is no object of such a number or label.
        """
        self._pictures = pictures
        self.format = export_format
        self.method: Method = options.get("method", "fill")
        self.shape: Shape = options.get("shape", "box")
        padding = options.get("padding")
        usual = REDACTED_PADDING if export_format == "redacted" else PADDING
        self.padding = usual if padding is None else padding
        self._check_options()
        numbers, names = options.get("objects", ()), options.get("labels", ())
        self.selected = [
            Selected(one, tuple(select(one.objects, numbers, names)), stem)
            for one, stem in zip(results, stems(one.image.source for one in results), strict=True)
        ]
        self.objects = [found for one in self.selected for found in one.objects]
        self._check_objects()
        self.notes = tuple(self._notes())

    def batches(self, classes: Sequence[str] = ()) -> Iterator[Batch]:
        """Give the files, in groups that share what is decoded.

        Args:
            classes: YOLO's classes that the folder has already.
        """
        match self.format:
            case "crops" | "cutouts":
                for one in self.selected:
                    yield Batch(self._object_names(one), partial(self._objects, one))
            case "redacted":
                for one in self.selected:
                    ending = ".png" if self.image(one).format in _LOSSLESS else ".jpg"
                    yield Batch((f"{one.stem}-redacted{ending}",), partial(self._copies, one, ending))
            case _:
                labelled = [
                    labels.Labelled(one.stem, one.result.model_copy(update={"objects": one.objects}))
                    for one in self.selected
                ]
                files = labels.write(self.format, labelled, classes)
                yield Batch(tuple(file.name for file in files), lambda: [file.data for file in files])

    def image(self, one: Selected) -> Picture:
        """Give the image of a result, which crops, cut-outs and redacted copies are made of."""
        return self._pictures[one.result.result_id]

    def done(self, folder: Path | None, files: Sequence[str], notes: Sequence[str] = ()) -> Exported:
        """Report what was made of this plan."""
        return Exported(self.format, count_labels(self.objects), folder, tuple(files), (*self.notes, *notes))

    def _check_options(self) -> None:
        for name, value, known in (
            ("format", self.format, FORMATS),
            ("method", self.method, METHODS),
            ("shape", self.shape, SHAPES),
        ):
            if value not in known:
                raise InputError(f"{name} is {value!r:.40}; choose from {', '.join(known)}")
        if not 0 <= self.padding <= MAX_PADDING:
            raise InputError(f"padding is {self.padding:g}; choose 0 to {MAX_PADDING}, a part of the object's size")

    def _check_objects(self) -> None:
        if self.format in LABEL_FORMATS:
            return  # an image without objects is a negative example
        for one in self.selected:
            if not one.objects:
                of = f" of {image_name(one.result.image.source)}" if len(self.selected) > 1 else ""
                what = (
                    "a redacted copy would show everything" if self.format == "redacted" else "there is nothing to cut"
                )
                raise InputError(
                    f"the result{of} has no objects, so {what}; detect again with other prompts or a lower min_score"
                )
        pixels = sum(_pixels(found, one.result.image, self.padding) for one in self.selected for found in one.objects)
        if self.format != "redacted" and pixels > MAX_PIXELS:
            raise InputError(
                f"the {len(self.objects)} objects have {pixels:,} pixels together, more than {MAX_PIXELS:,}; choose "
                "some by number or label"
            )

    def _notes(self) -> Iterator[str]:
        bare = sum(found.mask is None for found in self.objects)
        by_mask = self.format == "cutouts" or (self.format == "redacted" and self.shape == "mask")
        if bare and by_mask:
            done = "cut out by the box" if self.format == "cutouts" else "redacted by the box"
            yield f'{_objects(bare)} without a mask: {done}; masks come with include=["masks"] where a backend has them'
        if self.format == "yolo" and 0 < bare < len(self.objects):
            yield f"{_objects(bare)} without a mask: all are written as boxes, as YOLO reads no mixture"
        if self.format in LABEL_FORMATS and self.format != "coco" and any(one.keypoints for one in self.objects):
            yield "keypoints are left out: the format coco has them"
        omitted = sum(one.result.omitted for one in self.selected)
        if omitted:
            stay = "they stay visible" if self.format == "redacted" else "they are left out"
            yield f"{omitted} more were found and are not in the result: {stay}; detect again with a higher max_objects"
        if self.format == "redacted":
            yield "what the detection missed is still visible: check the copy before it is shared"
        names = [image_name(one.result.image.source) for one in self.selected]
        renamed = [one for one, name in zip(self.selected, names, strict=True) if one.stem != PurePath(name).stem]
        if renamed and self.format == "yolo":
            yield (
                f"labels are paired with images by name, and {len(renamed)} could not be named after the image, as the "
                f"name was taken ({renamed[0].stem:.60}.txt is one): rename these images like their labels"
            )
        if len(set(names)) < len(names) and self.format in LABEL_FORMATS:
            yield "images of one name in different folders: the labels name the file without its folder"

    def _object_names(self, one: Selected) -> tuple[str, ...]:
        ending = ".png" if self.format == "cutouts" else ".jpg"
        return tuple(f"{one.stem}-{found.id}-{label_part(found.label)}{ending}" for found in one.objects)

    def _objects(self, one: Selected) -> Iterator[bytes]:
        image = self.image(one).rgb()
        for found in one.objects:
            if self.format == "cutouts":
                yield encode_png(cutout(image, found))
            else:
                yield encode_jpeg(crop(image, found, self.padding), FULL_QUALITY)

    def _copies(self, one: Selected, ending: str) -> Iterator[bytes]:
        yield self.redact(one, ending)

    def redact(self, one: Selected, ending: str = ".jpg") -> bytes:
        """Encode a redacted copy of an image, as JPEG or PNG."""
        copy = redacted(self.image(one).rgb(), one.objects, self.method, self.shape, self.padding)
        return encode_png(copy) if ending == ".png" else encode_jpeg(copy, FULL_QUALITY)


def _objects(number: int) -> str:
    return "1 object" if number == 1 else f"{number} objects"


def _pixels(found: DetectedObject, image: ImageInfo, padding: float) -> int:
    left, top, right, bottom = frame_of(found.bbox, (image.width, image.height), padding) or (0, 0, 1, 1)
    return (right - left) * (bottom - top)
