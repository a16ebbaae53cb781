"""Labels are read back as the tools that they are for read them."""

import csv
import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from dinox_mcp.export.labels import Labelled, write
from dinox_mcp.export.options import LABEL_FORMATS, LabelFormat
from dinox_mcp.types.detection import DetectedObject, DetectionResult
from tests.export.conftest import BITS, OBJECTS, SIZE, disk, result_of

CAT, TEXT, CAR = OBJECTS
WIDTH, HEIGHT = SIZE


def written(label_format: LabelFormat, *results: DetectionResult) -> dict[str, bytes]:
    """Write results, named a, b, …; give the files by name."""
    images = [Labelled("abc"[place], result) for place, result in enumerate(results)]
    return dict(write(label_format, images))


def only(label_format: LabelFormat, *objects: DetectedObject) -> bytes:
    (data,) = written(label_format, result_of(*objects)).values()
    return data


def parsed(data: bytes) -> ET.Element:
    return ET.fromstring(data)  # noqa: S314 - our own


def iou_with_cat(points: list[list[float]]) -> float:
    fine = np.zeros((HEIGHT * 8, WIDTH * 8), np.uint8)
    cv2.fillPoly(fine, [np.round(np.array(points) * 8).astype(np.int32)], 1)
    shape = fine[4::8, 4::8] > 0
    return float((shape & BITS).sum() / (shape | BITS).sum())


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools' own
def test_coco_is_read_by_pycocotools_and_names_the_file_without_its_folder(tmp_path: Path) -> None:
    files = written("coco", result_of(*OBJECTS), result_of(CAT, source="/other/dog.jpg"))
    assert files.keys() == {"coco.json"}
    (tmp_path / "coco.json").write_bytes(files["coco.json"])
    coco = COCO(str(tmp_path / "coco.json"))
    assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == ["cat 1.png", "dog.jpg"]
    assert (coco.annToMask(coco.anns[1]) == BITS).all()
    assert [one["bbox"] for one in coco.loadAnns(coco.getAnnIds(imgIds=[1]))][1] == [0, 0, 30, 10]
    assert b"/photos" not in files["coco.json"]


def test_yolo_has_boxes_as_shares_with_numbers_of_one_list_of_classes() -> None:
    files = written("yolo", result_of(*OBJECTS), result_of(CAR, source="b.jpg"), result_of(source="c.jpg"))
    assert files["classes.txt"].decode().splitlines() == ["cat", "text", "red car"]
    assert files["c.txt"] == b"", "an image without objects is a negative example"
    number, *shares = map(float, files["b.txt"].split())
    assert number == 2
    x, y, width, height = np.array(shares) * [WIDTH, HEIGHT, WIDTH, HEIGHT]
    edges = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    assert edges == pytest.approx(CAR.bbox, abs=0.01)
    assert all(len(line.split()) == 5 for line in files["a.txt"].decode().splitlines())


def test_yolo_has_polygons_where_every_object_has_a_mask() -> None:
    line = written("yolo", result_of(CAT))["a.txt"].split()
    points = np.array(line[1:], float).reshape(-1, 2)
    assert points.min() >= 0
    assert points.max() <= 1
    assert iou_with_cat((points * [WIDTH, HEIGHT]).tolist()) > 0.97


def test_yolo_continues_the_classes_of_a_folder() -> None:
    label, classes = write("yolo", [Labelled("a", result_of(CAR, TEXT))], ["dog", "red car", "dog"])
    assert classes.data.decode().splitlines() == ["dog", "red car", "dog", "text"]
    assert [line.split()[0] for line in label.data.decode().splitlines()] == ["1", "3"]


def test_voc_counts_whole_pixels_from_one_and_includes_the_last() -> None:
    root = parsed(only("voc", TEXT, CAR))
    assert root.tag == "annotation"
    assert root.findtext("filename") == "cat 1.png"
    assert [root.findtext(f"size/{side}") for side in ("width", "height", "depth")] == ["100", "80", "3"]
    boxes = [
        tuple(int(one.findtext(f"bndbox/{edge}") or "") for edge in ("xmin", "ymin", "xmax", "ymax"))
        for one in root.findall("object")
    ]
    assert boxes == [(1, 1, 30, 10), (61, 21, 90, 70)]
    assert [one.findtext("name") for one in root.findall("object")] == ["text", "red car"]
    assert all(one.findtext("difficult") == "0" for one in root.findall("object"))


def test_cvat_has_labels_boxes_and_masks() -> None:
    files = written("cvat", result_of(*OBJECTS), result_of(CAR, source="b.jpg"))
    root = parsed(files["cvat.xml"])
    assert root.findtext("version") == "1.1"
    assert [one.findtext("name") for one in root.findall("meta/task/labels/label")] == ["cat", "text", "red car"]
    first, second = root.findall("image")
    assert first.attrib == {"id": "0", "name": "cat 1.png", "width": "100", "height": "80"}
    assert second.get("name") == "b.jpg"
    (mask,) = first.findall("mask")
    assert (mask.get("left"), mask.get("top"), mask.get("label")) == ("15", "15", "cat")
    text, car = first.findall("box")
    assert [float(car.get(edge, "")) for edge in ("xtl", "ytl", "xbr", "ybr")] == pytest.approx(CAR.bbox, abs=0.01)
    assert {one.get("name"): one.text for one in text.findall("attribute")} == {"text": "出口"}
    assert {one.get("name"): one.text for one in car.findall("attribute")} == {"score": "0.4"}


def test_labelme_has_what_its_reader_needs() -> None:
    data = json.loads(only("labelme", *OBJECTS))
    assert {"version", "imageData", "imagePath", "shapes", "flags", "imageHeight", "imageWidth"} <= data.keys()
    assert (data["imagePath"], data["imageWidth"], data["imageHeight"]) == ("cat 1.png", 100, 80)
    needed = {"label", "points", "group_id", "shape_type", "flags", "description", "mask"}
    assert all(needed <= shape.keys() for shape in data["shapes"])
    cat, text, car = data["shapes"]
    assert cat["shape_type"] == "polygon"
    assert iou_with_cat(cat["points"]) > 0.97
    assert (car["shape_type"], car["points"]) == ("rectangle", [[60.4, 20.5], [90, 70]])
    assert text["description"] == "出口"


def test_labelme_groups_the_parts_of_an_object() -> None:
    from dinox_mcp.types import masks

    parts = CAT.model_copy(update={"mask": masks.encode(disk(10, 10, 4) | disk(70, 50, 20))})
    assert [shape["group_id"] for shape in json.loads(only("labelme", parts))["shapes"]] == [1, 1]


def label_studio(*objects: DetectedObject, source: str = "/photos/cat 1.png") -> dict[str, Any]:
    (data,) = written("labelstudio", result_of(*objects, source=source)).values()
    (task,) = json.loads(data)
    assert isinstance(task, dict)
    return task


def test_label_studio_has_predictions_in_per_cent() -> None:
    task = label_studio(*OBJECTS)
    assert task["data"] == {"image": "cat 1.png"}
    (prediction,) = task["predictions"]
    cat, text, car = prediction["result"]
    assert (cat["type"], cat["value"]["polygonlabels"], cat["value"]["closed"]) == ("polygonlabels", ["cat"], True)
    points = np.array(cat["value"]["points"]) * [WIDTH / 100, HEIGHT / 100]
    assert iou_with_cat(points.tolist()) > 0.97
    value = car["value"]
    assert (car["from_name"], car["to_name"], car["type"]) == ("label", "image", "rectanglelabels")
    assert value["rectanglelabels"] == ["red car"]
    assert [value[side] for side in ("x", "y", "width", "height")] == pytest.approx([60.4, 25.625, 29.6, 61.875])
    assert all((one["original_width"], one["original_height"]) == (100, 80) for one in prediction["result"])
    assert len({one["id"] for one in prediction["result"]}) == 3
    assert text["meta"] == {"text": ["出口"]}
    assert car["score"] == 0.4


def test_label_studio_fetches_an_image_of_the_web_from_there() -> None:
    assert label_studio(source="https://example.com/a.jpg")["data"]["image"] == "https://example.com/a.jpg"


def rows(*objects: DetectedObject) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(only("csv", *objects).decode("utf-8-sig"), newline="")))


def test_csv_has_a_row_for_each_object() -> None:
    cat, text, car = rows(*OBJECTS)
    assert (cat["image"], cat["id"], cat["label"], cat["score"]) == ("cat 1.png", "1", "cat", "0.9")
    assert cat["mask_area"] == str(BITS.sum())
    assert (text["text"], text["score"]) == ("出口", "")
    assert [car[edge] for edge in ("x_min", "y_min", "x_max", "y_max")] == ["60.40", "20.50", "90.00", "70.00"]


@pytest.mark.parametrize(
    "text",
    [
        '=HYPERLINK("https://evil.example","x")', "+1+1", "-1+1", "@SUM(A1)", "\t=1+1", "\r=1+1", "\n=1+1", " =1+1",
        "\uff1d1+1", "a;=1+1", "a,=1+1", 'a"=1+1', "a|-2", "'=1+1", "\0=1+1", "\u200b=1+1", "=cmd|' /C calc'!A0",
    ],
)  # fmt: skip
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_no_cell_of_a_csv_is_a_formula_whatever_separates_cells(text: str, separator: str) -> None:
    """The text of a sign is written by a stranger, and a spreadsheet of another language splits at semicolons."""
    data = only("csv", TEXT.model_copy(update={"text": text, "label": text, "caption": text})).decode("utf-8-sig")
    cells = [cell for row in csv.reader(io.StringIO(data, newline=""), delimiter=separator) for cell in row]
    cells += [cell for line in data.splitlines() for cell in line.split(separator)]
    assert not [
        cell for cell in cells if cell.strip().lstrip('"').strip().startswith(tuple("=+-@\uff1d\uff0b\uff0d\uff20"))
    ]


HOSTILE = TEXT.model_copy(
    update={"label": "<b>&\x00\x1b[31m\u202e\n\ud800", "text": "]]>\x08<x/>&amp;\ufffe", "caption": "\ud800"}
)


@pytest.mark.parametrize("label_format", LABEL_FORMATS)
def test_hostile_words_break_no_format(label_format: LabelFormat) -> None:
    for name, data in written(label_format, result_of(HOSTILE, CAR, source="/x/\ud800<>&.jpg")).items():
        text = data.decode("utf-8")
        if name.endswith(".xml"):
            root = parsed(data)
            assert not root.findall(".//x")
        elif name.endswith(".json"):
            json.loads(text)
        elif name == "classes.txt":
            assert len(text.splitlines()) == 2
        assert "\x1b" not in text


@pytest.mark.parametrize("label_format", LABEL_FORMATS)
def test_files_about_one_image_are_named_after_it(label_format: LabelFormat) -> None:
    names = written(label_format, result_of(CAR)).keys() - {"classes.txt"}
    assert all(name.startswith("a") for name in names)
