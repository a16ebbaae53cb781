"""Annotation files of COCO, LVIS and FSC-147 are read, and what is wrong with one is named in a line."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dinox_mcp.errors import InputError
from dinox_mcp.evaluation.datasets import CLASSES, Kind, load
from dinox_mcp.evaluation.labelled import Category, Iou
from dinox_mcp.types import masks
from dinox_mcp.types.detection import Mask
from dinox_mcp.types.keypoints import BODY
from tests.fakes import png

Json = dict[str, Any]


def coco() -> Json:
    """Two images; a dog and a crowd of dogs in the second, a baseball bat in the first."""
    return {
        "images": [{"id": 7, "file_name": "a.png", "width": 100, "height": 80}, {"id": 3, "file_name": "sub/b.png"}],
        "categories": [{"id": 20, "name": "baseball_bat"}, {"id": 10, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 10, "bbox": [1, 2, 3, 4], "area": 9.5, "segmentation": [[1, 2]]},
            {"id": 2, "image_id": 3, "category_id": 10, "bbox": [5, 6, 7, 8], "iscrowd": 1},
            {"id": 3, "image_id": 7, "category_id": 20, "bbox": [0, 0, 10, 20]},
        ],
    }


def lvis() -> Json:
    data = coco()
    for image, name in zip(data["images"], ("a", "b"), strict=True):
        del image["file_name"]
        image |= {"coco_url": f"http://images.cocodataset.org/val2017/{name}.png"}
        image |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    data["images"][0] |= {"neg_category_ids": [10], "not_exhaustive_category_ids": [20]}
    for category in data["categories"]:
        category |= {"frequency": "r", "synonyms": ["bat"]}
    return data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "sub/b.png", "val2017/b.png"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png())
    return tmp_path


def write(folder: Path, data: object, name: str = "annotations.json") -> Path:
    path = folder / name
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_coco_is_read_by_positions_of_images_and_categories(folder: Path) -> None:
    dataset = load("coco", write(folder, coco()), folder / "images")
    assert [(one.number, one.path.name, one.size, one.present) for one in dataset.images] == [
        (3, "b.png", None, (1,)),
        (7, "a.png", (100, 80), (0,)),
    ], "by their ids, as pycocotools compares them"
    assert dataset.categories == (Category("baseball_bat"), Category("dog"))
    assert dataset.numbers == (20, 10)
    truth = dataset.truth
    assert truth.image.tolist() == [0, 0, 1]
    assert truth.category.tolist() == [1, 1, 0]
    assert truth.bbox[0].tolist() == [1, 2, 3, 4]
    assert truth.area.tolist() == [9.5, 56, 200], "of the mask if it is given, or else of the box"
    assert truth.crowd.tolist() == [False, True, False]


def test_only_the_first_images_are_kept(folder: Path) -> None:
    dataset = load("coco", write(folder, coco()), folder / "images", limit=1)
    assert [one.path.name for one in dataset.images] == ["a.png"]
    assert dataset.truth.image.tolist() == [0]


def test_lvis_has_absent_and_partly_labelled_categories(folder: Path) -> None:
    dataset = load("lvis", write(folder, lvis()), folder / "images")
    assert dataset.truth.absent.tolist() == [[1, 1]]
    assert dataset.truth.partial.tolist() == [[1, 0]]
    assert dataset.categories[0] == Category("baseball_bat", ("bat",), "r")
    here = [one.path.relative_to(folder / "images").as_posix() for one in dataset.images]
    assert here == ["val2017/b.png", "a.png"], "in the folder itself, or in that of the address"


@pytest.mark.parametrize("name", ["_annotations.coco.json", "instances.json"])
def test_a_folder_has_its_annotations_beside_the_images(folder: Path, name: str) -> None:
    write(folder / "images", coco(), name)
    assert load("coco", folder / "images", None).file.name == name


def test_counts_of_coco_leave_out_crowds(folder: Path) -> None:
    assert load("count", write(folder, coco()), folder / "images").counts == {(1, 0): 1}


def test_counts_of_fsc_have_their_classes_beside_them(folder: Path) -> None:
    write(folder, "a.png\tsea shells\nsub/b.png\tcandy pieces\n", CLASSES)
    points = {"a.png": {"H": 80, "W": 100, "points": [[1, 2], [3, 4]]}, "sub/b.png": {"points": []}}
    dataset = load("count", write(folder, points), folder / "images")
    assert dataset.categories == (Category("sea shells"), Category("candy pieces"))
    assert dataset.counts == {(0, 0): 2, (1, 1): 0}


def test_counts_of_ones_own_name_what_is_counted(folder: Path) -> None:
    dataset = load("count", write(folder, {"a.png": {"apple": 3, "pear": 0}}), folder / "images")
    assert dataset.counts == {(0, 0): 3, (0, 1): 0}
    assert dataset.images[0].present == (0, 1)


def changed(where: str, value: object) -> Callable[[], Json]:
    """Make COCO's annotations with another value at a path such as `images.0.id`."""

    def make() -> Json:
        data: Any = coco()
        *way, last = (int(step) if step.isdigit() else step for step in where.split("."))
        target = data
        for step in way:
            target = target[step]
        target[last] = value
        return data  # type: ignore[no-any-return]

    return make


@pytest.mark.parametrize(
    ("kind", "make", "message"),
    [
        ("coco", lambda: "{", r"is not JSON \(EOF"),
        ("coco", list, "the content of .* is wrong: .*; the format is COCO's"),
        ("coco", lambda: {"images": [], "categories": [], "annotations": []}, "images of .* at least 1 item"),
        ("coco", lambda: {"a": 1}, "images of .* field required"),
        ("coco", changed("annotations.1.bbox", [1, 2, 3]), r"annotations\[1\].bbox\[3\] of .* field required"),
        ("coco", changed("annotations.0.bbox", [1, 2, -3, 4]), r"annotations\[0\].bbox\[2\] of .* not -3"),
        ("coco", changed("annotations.0.bbox", [1, float("nan"), 3, 4]), r"annotations\[0\].bbox\[1\] .*finite"),
        ("coco", changed("annotations.0.image_id", 99), r"annotations\[0\] of .* names the image 99, .*; correct"),
        ("coco", changed("annotations.0.category_id", 99), r"annotations\[0\] of .* names the category 99"),
        ("coco", changed("images.0.id", 3), "images of .* has the id 3 twice"),
        ("coco", changed("images.0.file_name", "../../etc/passwd"), "'../../etc/passwd', which is not in its folder"),
        ("coco", changed("images.0.file_name", ""), "the image 7 of .* has neither file_name nor coco_url"),
        ("coco", changed("images.0.file_name", "x" * 300), "names an image 'xxx.*, which is too long"),
        ("coco", changed("images.0.file_name", "./sub//b.png"), "has the image 'b.png' twice; merge"),
        ("coco", changed("images.0.width", -5), r"images\[0\].width of .* not -5"),
        ("coco", changed("images.0.width", 10**30), r"images\[0\].width of .* less than or equal to 65535"),
        ("coco", changed("annotations.0.bbox", [0, 0, 1e300, 1]), r"annotations\[0\].bbox\[2\] of .* less than"),
        ("lvis", coco, "is not in LVIS's format.*; use evaluate coco"),
        ("count", lambda: {"a.png": {"points": [[1, 2]]}}, f"{CLASSES}' cannot be read .*; it says what is counted"),
        ("count", lambda: {"a.png": {"apple": -1}}, r"a.png.apple of .* not -1; the format is COCO's, FSC-147's, or"),
        ("count", lambda: {"a.png": 3}, "a.png of .* not 3"),
        ("count", lambda: {"a.png": {}}, "no image of .* has a count"),
        ("count", dict, "has no images"),
    ],
)
def test_a_bad_file_is_one_line_with_the_remedy(
    folder: Path, kind: Kind, make: Callable[[], object], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load(kind, write(folder, make()), folder / "images")
    assert caught.value.remedy
    assert len(str(caught.value).splitlines()) == 1


def masked(segmentation: object) -> Json:
    data = coco()
    data["images"][1] |= {"width": 30, "height": 20}
    for one in data["annotations"]:
        one["segmentation"] = [[1, 1, 5, 1, 5, 5]]
    data["annotations"][0]["segmentation"] = segmentation
    return data


def sized(side: int, data: Json) -> Json:
    for image in data["images"]:
        image |= {"width": side, "height": side}
    return data


def posed(points: int = 17, names: Sequence[str] = BODY) -> Json:
    data = coco()
    data["categories"][1]["keypoints"] = list(names)
    data["annotations"][0]["segmentation"] = [[1, 1, 5, 1, 5, 5]]
    data["annotations"][0]["keypoints"] = [number for place in range(points) for number in (place, 2 * place, 2)]
    return data


@pytest.mark.parametrize(
    "segmentation",
    [
        [[2, 2, 12, 2, 12, 10, 2, 10]],
        [[2, 2, 7, 2, 7, 10, 2, 10], [7, 2, 12, 2, 12, 10, 7, 10]],
        {"size": [20, 30], "counts": [42, *[8, 12] * 9, 8, 370]},
        {"size": [20, 30], "counts": masks.encode(np.pad(np.ones((8, 10), bool), ((2, 10), (2, 18)))).counts},
    ],
    ids=["polygon", "parts", "runs", "compressed runs"],
)
def test_a_mask_is_read_from_polygons_and_from_runs(folder: Path, segmentation: object) -> None:
    truth = load("coco", write(folder, masked(segmentation)), folder / "images", iou="segm").truth
    assert truth.shapes is not None
    rle = truth.shapes[0]
    bits = masks.decode(Mask(size=tuple(rle["size"]), counts=rle["counts"].decode()))
    assert bits.sum() == 80
    assert bits[2:10, 2:12].all()
    assert truth.area[0] == 9.5, "the annotation's own"


def test_keypoints_are_read_in_the_order_of_coco_and_only_of_people(folder: Path) -> None:
    dataset = load("coco", write(folder, posed(names=BODY[::-1])), folder / "images", iou="keypoints")
    assert dataset.categories == (Category("dog"),)
    assert dataset.truth.shapes is not None
    assert dataset.truth.shapes[0][0].tolist() == [16, 32, 2]
    assert dataset.truth.left_out.tolist() == [False, True], "the other one has no points"


def test_a_category_that_only_groups_others_is_not_searched_for(folder: Path) -> None:
    data = coco()
    data["categories"] = [{"id": 0, "name": "things", "supercategory": "none"}, *data["categories"]]
    for one in data["categories"][1:]:
        one["supercategory"] = "things"
    dataset = load("coco", write(folder, data), folder / "images")
    assert [one.name for one in dataset.categories] == ["baseball_bat", "dog"]


@pytest.mark.parametrize(
    ("iou", "data", "message"),
    [
        ("segm", posed(), r"annotations\[1\].segmentation of .* field required"),
        ("segm", masked([[1, 2, 3, 4]]), r"annotations\[0\].segmentation\[0\] of .* at least 6 items"),
        ("segm", masked([[1, 2, 3, 4, 5, 6, 7]]), "an odd number of coordinates; correct it"),
        ("segm", masked([[1, 2, 3, 4, 5, 1e9]]), "a polygon far outside of the image of 30x20; correct it"),
        ("segm", masked([[0, 0, 30, 20] * 40_000]), "a polygon with edges of more than 2,000,000 pixels; correct it"),
        ("segm", sized(65_535, masked([])), "a mask in an image of 65535x65535; correct it"),
        ("segm", sized(0, masked([])), "a mask in an image of 0x0; correct it"),
        ("segm", masked({"size": [20, 31], "counts": [620]}), "a mask of 31x20 in an image of 30x20"),
        ("segm", masked({"size": [20, 30], "counts": [601]}), "runs of 601 pixels in an image of 30x20"),
        ("segm", masked({"size": [20, 30], "counts": [-1, 601]}), r"segmentation.counts\[0\] of .* not -1"),
        ("segm", masked({"size": [20, 30], "counts": "nonsense"}), "not a COCO RLE of 30x20 pixels"),
        ("keypoints", coco(), "no category of .* has keypoints; use --iou bbox"),
        ("keypoints", posed(points=5), "has 15 numbers as keypoints; give x, y and visibility of 17 points"),
        ("keypoints", posed(names=["head"]), "the category 'dog' has other keypoints than the 17"),
    ],
)
def test_bad_masks_and_keypoints_are_one_line_with_the_remedy(folder: Path, iou: Iou, data: Json, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load("coco", write(folder, data), folder / "images", iou=iou)
    assert len(str(caught.value).splitlines()) == 1


def test_missing_files_and_folders_are_named(folder: Path) -> None:
    file = write(folder, coco())
    for annotations, images, message in [
        (folder / "nowhere.json", None, "nowhere.json' cannot be read"),
        (folder / "images", None, "has no annotations_without_background.json"),
        (file, folder / "nowhere", "nowhere' is not a folder"),
        (file, folder / "images" / "sub", "none of the 2 images is in .*; name their folder with --images"),
    ]:
        with pytest.raises(InputError, match=message):
            load("coco", annotations, images)
