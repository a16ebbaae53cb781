"""A folder of several data sets gives a row for each, and their mean."""

import json
from pathlib import Path
from typing import Any

import pytest

from dinox_mcp.backends.base import Call, silent
from dinox_mcp.detector import Detector
from dinox_mcp.errors import InputError
from dinox_mcp.evaluation import collection
from dinox_mcp.evaluation.collection import CollectionReport, evaluate_all, find_datasets
from dinox_mcp.evaluation.datasets import load
from dinox_mcp.evaluation.results import REPORT
from dinox_mcp.evaluation.run import Choices
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections
from tests.fakes import FakeBackend, png

ANNOTATIONS = "_annotations.coco.json"


def add(folder: Path, name: str = ANNOTATIONS, category: str = "dog") -> None:
    """Write a data set of one image with one object."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "image.png").write_bytes(png())
    data: dict[str, Any] = {
        "images": [{"id": 0, "file_name": "image.png"}],
        "categories": [{"id": 1, "name": category}],
        "annotations": [{"image_id": 0, "category_id": 1, "bbox": [10, 10, 30, 30]}],
    }
    (folder / name).write_text(json.dumps(data))


def test_each_data_set_is_found_once_and_never_its_part_for_training(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        add(tmp_path / "Dogs" / "v1" / split)
    add(tmp_path / "Cats" / "test", "annotations_without_background.json")
    add(tmp_path / "Cats" / "train", "annotations_without_background.json")
    add(tmp_path / "Eggs" / "mini_val")
    add(tmp_path / "Pistols" / "export", "test_annotations_without_background.json")
    add(tmp_path / "Pistols" / "export", "val_annotations_without_background.json")
    add(tmp_path / "Mine", "instances.json")
    add(tmp_path / "OnlyTraining" / "train")
    found = find_datasets(tmp_path)
    assert {name: file.relative_to(tmp_path / name).as_posix() for name, file in found.items()} == {
        "Cats": "test/annotations_without_background.json",
        "Dogs/v1": f"valid/{ANNOTATIONS}",
        "Eggs": f"mini_val/{ANNOTATIONS}",
        "Mine": "instances.json",
        "Pistols/export": "val_annotations_without_background.json",
    }


def test_the_file_without_a_grouping_category_is_preferred(tmp_path: Path) -> None:
    add(tmp_path / "Parts" / "valid")
    add(tmp_path / "Parts" / "valid", "_annotations_min1cat.coco.json")
    assert find_datasets(tmp_path)["Parts"].name == "_annotations_min1cat.coco.json"


def test_a_folder_without_data_sets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no data set was found below"):
        find_datasets(tmp_path)
    with pytest.raises(InputError, match="is not a folder; name the one that holds the data sets"):
        find_datasets(tmp_path / "nowhere")


class Finder(FakeBackend):
    """Finds dogs where they are, for a price."""

    def calls(self, _request: DetectionRequest) -> int:
        return 1

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        await super().detect(image, request, call)
        found = [Detection(label="dog", bbox=(10, 10, 40, 40), score=0.5)] if "dog" in (request.prompts or ()) else []
        return Detections(model="fake-1", objects=tuple(found))


async def evaluate(folder: Path, backend: Finder, max_calls: int = 2) -> CollectionReport:
    datasets = {name: load("coco", file, None) for name, file in find_datasets(folder).items()}
    async with Detector(Settings.load(backend="fake"), [backend]) as detector:
        choices = Choices("coco", max_calls=max_calls)
        return await evaluate_all(detector, folder, datasets, choices, folder.parent / "out", silent)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    add(tmp_path / "sets" / "Cats" / "valid", category="cat")
    add(tmp_path / "sets" / "Dogs" / "valid")
    return tmp_path / "sets"


@pytest.mark.anyio
async def test_each_data_set_counts_the_same_in_the_mean(folder: Path) -> None:
    report = await evaluate(folder, Finder())
    assert {one.name: one.report.precision[0].figures["AP"] for one in report.datasets} == {
        "Cats": 0,
        "Dogs": pytest.approx(1),
    }
    assert report.means["AP"] == pytest.approx(0.5)
    assert report.complete
    assert CollectionReport.model_validate_json((folder.parent / "out" / REPORT).read_text()) == report
    ((title, rows),) = collection.tables(report)
    assert title == "Boxes of 2 data sets"
    assert [(row[0], row[-1]) for row in rows[1:]] == [("Cats", "0.0"), ("Dogs", "100.0"), ("mean", "50.0")]


@pytest.mark.anyio
async def test_the_same_again_detects_in_nothing(folder: Path) -> None:
    await evaluate(folder, Finder())
    again = Finder()
    assert (await evaluate(folder, again)).complete
    assert not again.asked


@pytest.mark.anyio
async def test_what_all_data_sets_cost_is_refused_before_the_first_call(folder: Path) -> None:
    backend = Finder()
    with pytest.raises(InputError, match=r"2 data sets take 2 calls .* more than the 1 of a run; pass --max-calls 2"):
        await evaluate(folder, backend, max_calls=1)
    assert not backend.asked


@pytest.mark.anyio
async def test_the_page_has_a_row_for_each(folder: Path) -> None:
    page = collection.page(await evaluate(folder, Finder()))
    assert "<td>Cats</td>" in page
    assert "<b>50.0</b><span>mean AP</span>" in page
    assert "default-src 'none'" in page
