"""Results as labels of other tools: COCO, YOLO, Pascal VOC, CVAT, LabelMe, Label Studio, and CSV.

Coordinates are those of the upright image, as these tools show it. Masks become polygons where a format has no masks.
"""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

from dinox_mcp.export.names import image_name, is_address
from dinox_mcp.export.options import LabelFormat
from dinox_mcp.export.outlines import Polygon, cvat_runs, polygons
from dinox_mcp.types import masks
from dinox_mcp.types.coco import to_coco
from dinox_mcp.types.detection import DetectedObject, DetectionResult
from dinox_mcp.types.text import one_line, printable

CLASSES = "classes.txt"
"""The names of YOLO's classes, by number from 0; shared by all labels of a folder."""

_LABELME_VERSION = "5.5.0"
_PERCENT = 100


class Labelled(NamedTuple):
    """The objects of an image, and the unique `stem` that files about it are named by."""

    stem: str
    result: DetectionResult


class LabelFile(NamedTuple):
    """A file of labels."""

    name: str
    data: bytes


def write(label_format: LabelFormat, images: Sequence[Labelled], classes: Sequence[str] = ()) -> list[LabelFile]:
    """Write the labels of images in a format.

    Args:
        label_format: the format.
        images: at least one.
        classes: YOLO's classes that a folder has already, whose numbers stay as they are.

    Raises:
        ValueError: a mask is not a COCO RLE of its size.
    """
    if label_format == "yolo":
        return _yolo(images, classes)
    return _WRITERS[label_format](images)


def _coco(images: Sequence[Labelled]) -> list[LabelFile]:
    named = [
        one.result.model_copy(update={"image": one.result.image.model_copy(update={"source": _name(one)})})
        for one in images
    ]
    return [_json(_shared_name(images, "coco.json"), to_coco(*named))]


def _yolo(images: Sequence[Labelled], classes: Sequence[str]) -> list[LabelFile]:
    """Write a line for each object: its class, then center and size or a polygon, as shares of the image's sides."""
    names = list(classes)
    numbers = {label: number for number, label in reversed([*enumerate(names)])}
    objects = [found for image in images for found in image.result.objects]
    segmented = bool(objects) and all(found.mask is not None for found in objects)  # a mixture would be misread
    files = []
    for stem, result in images:
        for label in (printable(found.label) for found in result.objects):
            if label not in numbers:
                numbers[label] = len(names)
                names.append(label)
        size = (result.image.width, result.image.height)
        files.append(_text(f"{stem}.txt", yolo_lines(result.objects, size, numbers, segmented=segmented)))
    return [*files, _text(CLASSES, names)]


def yolo_lines(
    objects: Sequence[DetectedObject], size: tuple[int, int], numbers: Mapping[str, int], *, segmented: bool
) -> list[str]:
    """Write the objects of an image as lines of YOLO.

    Args:
        objects: the objects.
        size: width and height of the image in pixels.
        numbers: the number of each label, as `printable` writes it.
        segmented: write polygons, for which each object has a mask.
    """
    width, height = size
    lines = []
    for found in objects:
        x1, y1, x2, y2 = found.bbox
        if segmented:
            corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]  # of a mask without pixels
            outline = next(iter(_outlines(found)), corners)
            shares = [share for x, y in outline for share in (x / width, y / height)]
        else:
            shares = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
        lines.append(" ".join([str(numbers[printable(found.label)]), *(f"{share:.6f}" for share in shares)]))
    return lines


def _voc(images: Sequence[Labelled]) -> list[LabelFile]:
    """Write boxes as Pascal VOC does: whole pixels, counted from 1, the last one included."""
    files = []
    for one in images:
        image = one.result.image
        root = ET.Element("annotation")
        _add(root, folder="", filename=_name(one))
        _add(ET.SubElement(root, "source"), database="dinox-mcp")
        _add(ET.SubElement(root, "size"), width=image.width, height=image.height, depth=3)
        _add(root, segmented=0)
        for found in one.result.objects:
            x1, y1, x2, y2 = found.bbox
            entry = ET.SubElement(root, "object")
            _add(entry, name=found.label, pose="Unspecified", truncated=0, difficult=0)
            _add(
                ET.SubElement(entry, "bndbox"),
                xmin=min(math.floor(x1) + 1, image.width),
                ymin=min(math.floor(y1) + 1, image.height),
                xmax=max(1, math.ceil(x2)),
                ymax=max(1, math.ceil(y2)),
            )
        files.append(_xml(f"{one.stem}.xml", root))
    return files


def _cvat(images: Sequence[Labelled]) -> list[LabelFile]:
    """Write "CVAT for images 1.1"; a task that has the attributes `score` and `text` gets them, others ignore them."""
    root = ET.Element("annotations")
    _add(root, version="1.1")
    task = ET.SubElement(ET.SubElement(root, "meta"), "task")
    _add(task, name="dinox-mcp", size=len(images), mode="annotation")
    known = ET.SubElement(task, "labels")
    for name in dict.fromkeys(found.label for one in images for found in one.result.objects):
        label = ET.SubElement(known, "label")
        _add(label, name=name)
        ET.SubElement(label, "attributes")
    for number, one in enumerate(images):
        image = one.result.image
        entry = ET.SubElement(
            root, "image", id=str(number), name=_name(one), width=str(image.width), height=str(image.height)
        )
        for found in one.result.objects:
            common = {"label": printable(found.label), "source": "auto", "occluded": "0", "z_order": "0"}
            if found.mask is not None and masks.area(found.mask):
                shape = ET.SubElement(entry, "mask", common | cvat_runs(found.mask))
            else:
                edges = zip(("xtl", "ytl", "xbr", "ybr"), found.bbox, strict=True)
                shape = ET.SubElement(entry, "box", common | {name: f"{edge:.2f}" for name, edge in edges})
            for name, value in (("score", _score(found)), ("text", found.text)):
                if value:
                    ET.SubElement(shape, "attribute", name=name).text = printable(value)
    return [_xml(_shared_name(images, "cvat.xml"), root)]


def _labelme(images: Sequence[Labelled]) -> list[LabelFile]:
    return [
        _json(
            f"{one.stem}.json",
            {
                "version": _LABELME_VERSION,
                "flags": {},
                "shapes": [shape for found in one.result.objects for shape in _labelme_shapes(found)],
                "imagePath": _name(one),
                "imageData": None,
                "imageHeight": one.result.image.height,
                "imageWidth": one.result.image.width,
            },
        )
        for one in images
    ]


def _labelme_shapes(found: DetectedObject) -> list[dict[str, Any]]:
    """Write an object as a rectangle or as polygons; several polygons of one object share a group."""
    x1, y1, x2, y2 = found.bbox
    outlines = _outlines(found)
    common: dict[str, Any] = {
        "label": found.label,
        "group_id": found.id if len(outlines) > 1 else None,
        "description": found.text or found.caption or "",
        "flags": {},
        "mask": None,
    }
    if found.score is not None:
        common["score"] = found.score
    if not outlines:
        return [common | {"shape_type": "rectangle", "points": [[x1, y1], [x2, y2]]}]
    return [common | {"shape_type": "polygon", "points": [[x, y] for x, y in outline]} for outline in outlines]


def _label_studio(images: Sequence[Labelled]) -> list[LabelFile]:
    """Write a task for each image, its objects as a prediction, which an annotator accepts or corrects."""
    tasks = []
    for one in images:
        source = one.result.image.source
        scores = [found.score for found in one.result.objects if found.score is not None]
        prediction: dict[str, Any] = {
            "model_version": printable(f"{one.result.backend} {one.result.model}"),
            "result": [region for found in one.result.objects for region in _regions(found, one.result)],
        }
        if scores:
            prediction["score"] = sum(scores) / len(scores)
        image = source if is_address(source) else _name(one)
        tasks.append({"data": {"image": image}, "predictions": [prediction]})
    return [_json(_shared_name(images, "label-studio.json"), tasks)]


def _regions(found: DetectedObject, result: DetectionResult) -> list[dict[str, Any]]:
    """Write the regions of an object, in per cent of the image's sides.

    A project needs the tags `<RectangleLabels name="label" …>` and, for masks, `<PolygonLabels name="outline" …>`.
    """
    width, height = result.image.width, result.image.height
    common: dict[str, Any] = {
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
    }
    if found.score is not None:
        common["score"] = found.score
    if words := [text for text in (found.text, found.caption) if text]:
        common["meta"] = {"text": words}
    regions = []
    for number, outline in enumerate(_outlines(found)):
        points = [[_PERCENT * x / width, _PERCENT * y / height] for x, y in outline]
        value = {"points": points, "closed": True, "polygonlabels": [found.label]}
        names = {"id": f"object-{found.id}-{number}", "type": "polygonlabels", "from_name": "outline"}
        regions.append(common | names | {"value": value})
    if regions:
        return regions
    x1, y1, x2, y2 = found.bbox
    rectangle = {
        "x": _PERCENT * x1 / width,
        "y": _PERCENT * y1 / height,
        "width": _PERCENT * (x2 - x1) / width,
        "height": _PERCENT * (y2 - y1) / height,
        "rotation": 0,
        "rectanglelabels": [found.label],
    }
    return [common | {"id": f"object-{found.id}", "type": "rectanglelabels", "from_name": "label", "value": rectangle}]


_COLUMNS = (
    "image", "id", "label", "score", "x_min", "y_min", "x_max", "y_max", "mask_area", "text", "caption", "category",
)  # fmt: skip
# What a spreadsheet takes for a formula: these signs, also in full width, at the start of a cell. A separator of
# another language's CSV, or a quotation mark, may begin a cell within ours.
_FORMULA = re.compile(r"(^|[;,|\"'])( ?)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")


def _csv(images: Sequence[Labelled]) -> list[LabelFile]:
    """Write a row for each object, for spreadsheets: no cell of it is a formula."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(_COLUMNS)
    for one in images:
        for found in one.result.objects:
            area = masks.area(found.mask) if found.mask else ""
            numbers = [_score(found), *(f"{edge:.2f}" for edge in found.bbox), area]
            words = [_cell(text or "") for text in (found.text, found.caption, found.category)]
            writer.writerow([_cell(_name(one)), found.id, _cell(found.label), *numbers, *words])
    name = _shared_name(images, "objects.csv")
    return [LabelFile(name, buffer.getvalue().encode("utf-8-sig", "replace"))]  # without the mark, Excel guesses


def _cell(text: str) -> str:
    """Bring text to one line, with an apostrophe before whatever a spreadsheet would compute."""
    return _FORMULA.sub(r"\1'\2", printable(one_line(text)))


def _outlines(found: DetectedObject) -> list[Polygon]:
    return polygons(found.mask) if found.mask else []


def _score(found: DetectedObject) -> str:
    return "" if found.score is None else f"{found.score:.4g}"


def _name(one: Labelled) -> str:
    return image_name(one.result.image.source)


def _shared_name(images: Sequence[Labelled], name: str) -> str:
    """Name a file about all images; after the image where there is only one."""
    return f"{images[0].stem}-{name}" if len(images) == 1 else name


def _text(name: str, lines: Sequence[str]) -> LabelFile:
    return LabelFile(name, "".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))


def _json(name: str, value: object) -> LabelFile:
    return LabelFile(name, json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8", "replace"))


def _xml(name: str, root: ET.Element) -> LabelFile:
    ET.indent(root)
    return LabelFile(name, ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")


def _add(parent: ET.Element, **values: str | int) -> None:
    """Add elements with text; what XML cannot hold is escaped."""
    for name, value in values.items():
        ET.SubElement(parent, name).text = printable(str(value))


_WRITERS: dict[LabelFormat, Callable[[Sequence[Labelled]], list[LabelFile]]] = {
    "coco": _coco,
    "voc": _voc,
    "cvat": _cvat,
    "labelme": _labelme,
    "labelstudio": _label_studio,
    "csv": _csv,
}
