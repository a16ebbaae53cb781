"""Published figures are those of the data set that was evaluated, each with its source."""

from pathlib import Path

import numpy as np
import pytest

from dinox_mcp.evaluation.labelled import Boxes, Category, Dataset, Truth
from dinox_mcp.evaluation.published import Benchmark, benchmark_of, published, rows_of

NAMES_OF_COCO = [
    "person",
    "fire hydrant",
    "baseball bat",
    "hair drier",
    "toothbrush",
    *(f"kind {n}" for n in range(75)),
]


def dataset(file: str, names: list[str]) -> Dataset:
    none, pairs = np.zeros(0, int), np.zeros((0, 2), int)
    truth = Truth(0, len(names), Boxes(none, none, np.zeros((0, 4))), np.zeros(0), np.zeros(0, bool), pairs, pairs)
    return Dataset(Path(file), (), tuple(map(Category, names)), tuple(range(len(names))), truth)


@pytest.mark.parametrize(
    ("kind", "file", "names", "expected"),
    [
        ("coco", "mine.json", NAMES_OF_COCO, "coco"),
        ("coco", "instances_val2017.json", ["person"], None),
        ("lvis", "lvis_v1_minival_inserted_image_name.json", ["cat"], "lvis_minival"),
        ("lvis", "lvis_v1_val.json", ["cat"], "lvis_val"),
        ("lvis", "lvis_v1_train.json", ["cat"], None),
        ("count", "mine.json", NAMES_OF_COCO, None),
    ],
)
def test_a_data_set_is_recognized(kind: str, file: str, names: list[str], expected: Benchmark | None) -> None:
    assert benchmark_of(kind, dataset(file, names)) == expected


def test_models_come_with_sources_the_best_first() -> None:
    found = published("lvis_minival", "bbox")
    assert found is not None
    assert found.models[0].model == "DINO-X Pro"
    assert found.models[0].figures == {"AP": 59.7, "AP rare": 63.3}
    assert all("https://" in one.source for one in found.models)
    assert [one.figures["AP"] for one in found.models] == sorted((o.figures["AP"] for o in found.models), reverse=True)


def test_figures_that_are_not_published_are_a_dash() -> None:
    found = published("sginw", "segm")
    assert found is not None
    assert rows_of(found, {"AP": None}, "2 data sets")[-1] == ["this run, on 2 data sets", "-"]


def test_nothing_is_published_for_other_data_sets() -> None:
    assert published(None, "bbox") is None
    assert published("coco", "keypoints") is None
    assert published("sginw", "bbox") is None
