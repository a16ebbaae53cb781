"""The report has figures of rare categories, tables of what there is, and what is published for its data set."""

from pathlib import Path

import numpy as np
import pytest

from dinox_mcp.evaluation.labelled import Category, Dataset, unlabelled
from dinox_mcp.evaluation.precision import Matches, Precision
from dinox_mcp.evaluation.report import (
    Benchmark,
    CountFigures,
    Published,
    PublishedFigures,
    Report,
    Tuned,
    benchmark_of,
    count_figures,
    figures_of,
    published,
    published_rows,
    tables,
)


def quality(*ap: float) -> Precision:
    """Make figures of categories, equal at all sizes and thresholds."""
    curve = np.repeat(ap, 4 * 10).reshape(-1, 4, 10)
    nothing = Matches(np.zeros(0, int), np.zeros(0, int), np.zeros(0, bool))
    return Precision(curve, curve, curve[:, :2], curve[:, 0], np.array([3, 0, 5]), np.array([4, 1, 2]), nothing)


CATEGORIES = [Category("dog", frequency="f"), Category("axe", frequency="r"), Category("bow", frequency="r")]
REPORT = Report(
    annotations="lvis.json",
    total=2,
    answered=2,
    prompts="all",
    prompt_count=3,
    backend="fake",
    model="fake-1",
    min_score=0.01,
    precision=(figures_of("LVIS", quality(0.5, np.nan, 0.125), CATEGORIES),),
)


def test_frequencies_have_figures_of_their_own() -> None:
    figures = REPORT.precision[0].figures
    assert (figures["AP"], figures["AP frequent"], figures["AP rare"]) == (0.3125, 0.5, 0.125)
    assert "AP common" not in figures
    assert REPORT.precision[0].categories[1].ap is None, "nothing is labelled"


def test_tables_have_the_figures_in_percent() -> None:
    (title, rows), (_, categories) = tables(REPORT, every_category=True)
    assert title == "Boxes, LVIS"
    assert rows[1] == ["AP", "31.2", "31.2", "31.2", "31.2", "31.2", "31.2"]
    assert [row[:2] for row in rows[3:]] == [
        ["AR1", "31.2"],
        ["AR10", "31.2"],
        ["AP rare", "12.5"],
        ["AP frequent", "50.0"],
    ]
    assert categories[1:] == [["dog", "3", "4", "50.0", "50.0", "50.0"], ["bow", "5", "2", "12.5", "12.5", "12.5"]]


def test_errors_of_counts_are_those_that_are_counted_by_hand() -> None:
    errors = count_figures("dog", {(0, 0): 3, (0, 1): 0, (1, 0): 10}, {(0, 0): 3, (1, 0): 6, (2, 0): 99})
    assert errors.counts == 3
    assert errors.mae == pytest.approx(4 / 3)
    assert errors.rmse == pytest.approx((16 / 3) ** 0.5)
    assert errors.bias == pytest.approx(-4 / 3)
    assert errors.exact == pytest.approx(2 / 3)


def test_counts_are_a_table_of_all_or_of_each() -> None:
    counts = [CountFigures(name=name, counts=3, mae=1.5, rmse=2, bias=-0.5, exact=0.25) for name in ("all", "dog")]
    report = REPORT.model_copy(update={"precision": (), "counts": tuple(counts)})
    ((_, rows),) = tables(report)
    assert rows[1:] == [["all", "3", "1.50", "2.00", "-0.50", "25.0"]]
    ((_, rows),) = tables(report, every_category=True)
    assert [row[0] for row in rows[1:]] == ["all", "dog"]


def test_keypoints_have_figures_of_their_own() -> None:
    figures = figures_of("COCO", quality(0.5, np.nan, 0.25), CATEGORIES, "keypoints")
    report = REPORT.model_copy(update={"precision": (figures,), "iou": "keypoints"})
    ((title, rows),) = tables(report)
    assert title == "Keypoints, COCO"
    assert rows[0] == ["", "all", "OKS 0.50", "OKS 0.75", "medium", "large"]
    assert rows[2] == ["AR", *["37.5"] * 5]


def test_published_figures_stand_above_those_of_the_run() -> None:
    models = (PublishedFigures(model="Other", figures={"AP": 50.5, "AP rare": 40}, source="a paper"),)
    report = REPORT.model_copy(update={"published": Published(benchmark="LVIS val", models=models)})
    title, rows = list(tables(report))[-1]
    assert title == "Boxes: AP on all of LVIS val"
    assert rows[1:] == [["Other", "50.5", "40.0"], ["this run, on 2 images", "31.2", "12.5"]]


def test_tuned_thresholds_that_gain_nothing_are_called_so() -> None:
    tuned = Tuned(own_min_score=0.35, min_score=0.4, labels={"dog": 0.5}, own=2, one=2.5, by_label=2, fitted=1)
    assert tuned.note.startswith("tuned thresholds gain nothing on images that they were not tuned on (2.00 objects")
    assert not tuned.model_copy(update={"by_label": 1.9}).note
    _, rows = list(tables(REPORT.model_copy(update={"tuned": tuned})))[-1]
    assert [row[1] for row in rows[1:]] == ["2.00", "2.50", "2.00", "1.00"]


NAMES_OF_COCO = [
    "person",
    "fire hydrant",
    "baseball bat",
    "hair drier",
    "toothbrush",
    *(f"kind {n}" for n in range(75)),
]


def dataset(file: str, names: list[str]) -> Dataset:
    truth = unlabelled(0, len(names))
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
    assert published_rows(found, {"AP": None}, "2 data sets")[-1] == ["this run, on 2 data sets", "-"]


def test_nothing_is_published_for_other_data_sets() -> None:
    assert published(None, "bbox") is None
    assert published("coco", "keypoints") is None
    assert published("sginw", "bbox") is None
