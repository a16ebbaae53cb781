"""Annotation files of COCO, LVIS and FSC-147 are read, and what is wrong with one is named in a line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dinox_mcp.errors import InputError
from dinox_mcp.evaluation.datasets import CLASSES, Kind, load
from dinox_mcp.evaluation.labelled import Category
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
        (7, "a.png", (100, 80), (0,)),
        (3, "b.png", None, (1,)),
    ]
    assert dataset.categories == (Category("baseball_bat"), Category("dog"))
    assert dataset.numbers == (20, 10)
    truth = dataset.truth
    assert truth.boxes.image.tolist() == [1, 1, 0]
    assert truth.boxes.category.tolist() == [1, 1, 0]
    assert truth.boxes.bbox[0].tolist() == [1, 2, 3, 4]
    assert truth.area.tolist() == [9.5, 56, 200], "of the mask if it is given, or else of the box"
    assert truth.crowd.tolist() == [False, True, False]


def test_only_the_first_images_are_kept(folder: Path) -> None:
    dataset = load("coco", write(folder, coco()), folder / "images", limit=1)
    assert [one.path.name for one in dataset.images] == ["a.png"]
    assert dataset.truth.boxes.image.tolist() == [0]


def test_lvis_has_absent_and_partly_labelled_categories(folder: Path) -> None:
    dataset = load("lvis", write(folder, lvis()), folder / "images")
    assert dataset.truth.absent.tolist() == [[0, 1]]
    assert dataset.truth.partial.tolist() == [[0, 0]]
    assert dataset.categories[0] == Category("baseball_bat", ("bat",), "r")
    here = [one.path.relative_to(folder / "images").as_posix() for one in dataset.images]
    assert here == ["a.png", "val2017/b.png"], "in the folder itself, or in that of the address"


@pytest.mark.parametrize("name", ["_annotations.coco.json", "instances.json"])
def test_a_folder_has_its_annotations_beside_the_images(folder: Path, name: str) -> None:
    write(folder / "images", coco(), name)
    assert load("coco", folder / "images", None).file.name == name


def test_counts_of_coco_leave_out_crowds(folder: Path) -> None:
    assert load("count", write(folder, coco()), folder / "images").counts == {(0, 0): 1}


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
        ("lvis", coco, "is not in LVIS's format.*; use evaluate coco"),
        ("count", lambda: {"a.png": {"points": [[1, 2]]}}, f"{CLASSES}' cannot be read"),
        ("count", lambda: {"a.png": {"apple": -1}}, "is wrong: .*; the format is COCO's, FSC-147's, or"),
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


def test_missing_files_and_folders_are_named(folder: Path) -> None:
    file = write(folder, coco())
    for annotations, images, message in [
        (folder / "nowhere.json", None, "nowhere.json' cannot be read"),
        (folder / "images", None, "has no _annotations.coco.json"),
        (file, folder / "nowhere", "nowhere' is not a folder"),
        (file, folder / "images" / "sub", "none of the 2 images is in .*; name their folder with --images"),
    ]:
        with pytest.raises(InputError, match=message):
            load("coco", annotations, images)
