"""Average precision equals that of pycocotools on random boxes, and what is counted by hand with LVIS's rules."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from pycocotools import coco
from pycocotools.cocoeval import COCOeval

from dinox_mcp.evaluation.labelled import Found, Truth
from dinox_mcp.evaluation.precision import COCO, LVIS, Precision, Rules, evaluate

Json = dict[str, Any]
NAMES = ["AP", "AP50", "AP75", "AP small", "AP medium", "AP large", "AR1", "AR10"]
NAMES += ["AR", "AR small", "AR medium", "AR large"]
"""The figures of pycocotools, in its order."""


def truth_of(labelled: Sequence[Json], images: int, categories: int, **pairs: Sequence[tuple[int, int]]) -> Truth:
    return Truth(
        *boxes_of(labelled),
        images,
        categories,
        np.array([one["area"] for one in labelled], float),
        np.array([bool(one.get("iscrowd")) for one in labelled], bool),
        np.array(pairs.get("absent", ()), int).reshape(-1, 2),
        np.array(pairs.get("partial", ()), int).reshape(-1, 2),
    )


def found_of(found: Sequence[Json]) -> Found:
    image, category, bbox = boxes_of(found)
    return Found(image, category, bbox, np.array([one["score"] for one in found], float), bbox[:, 2] * bbox[:, 3])


def boxes_of(of: Sequence[Json]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.array([one["image_id"] for one in of], int),
        np.array([one["category_id"] for one in of], int),
        np.array([one["bbox"] for one in of], float).reshape(-1, 4),
    )


def random_scene(seed: int, images: int = 12, categories: int = 5) -> tuple[list[Json], list[Json]]:
    """Make boxes of all sizes and crowds, and found ones with equal scores: moved from these, or anywhere."""
    random = np.random.default_rng(seed)
    labelled: list[Json] = []
    found: list[Json] = []
    for image in range(images):
        for _ in range(random.integers(0, 12)):
            x, y, width, height = (*random.uniform(0, 300, 2), *np.exp(random.uniform(2, 5.5, 2)))
            category = int(random.integers(0, categories - 1))  # the last one is never labelled
            crowd = int(random.random() < 0.1)
            box = {"image_id": image, "category_id": category, "bbox": [x, y, width, height]}
            area = width * height * random.uniform(0.4, 1)
            labelled.append({**box, "id": len(labelled) + 1, "area": area, "iscrowd": crowd})
            for _ in range(random.integers(0, 4)):
                moved = np.array([x, y, width, height]) + random.normal(0, 0.08, 4) * [width, height, width, height]
                found.append({**box, "bbox": moved.tolist(), "score": round(random.random(), 1)})
        for _ in range(random.integers(0, 140)):
            anywhere = [*random.uniform(0, 300, 2).tolist(), *random.uniform(5, 200, 2).tolist()]
            found.append({"image_id": image, "category_id": int(random.integers(0, categories)), "bbox": anywhere})
            found[-1]["score"] = round(random.random(), 2)
    return labelled, found


def reference(labelled: Sequence[Json], found: Sequence[Json], images: int, categories: int) -> list[float]:
    data = coco.COCO()
    data.dataset = {
        "images": [{"id": number} for number in range(images)],
        "categories": [{"id": number} for number in range(categories)],
        "annotations": [dict(one) for one in labelled],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        data.createIndex()
        judge = COCOeval(data, data.loadRes([dict(one) for one in found]), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return list(judge.stats)


@pytest.mark.parametrize("seed", range(6))
def test_the_figures_equal_those_of_pycocotools(seed: int) -> None:
    labelled, found = random_scene(seed)
    figures = evaluate(truth_of(labelled, 12, 5), found_of(found)).figures
    expected = dict(zip(NAMES, reference(labelled, found, 12, 5), strict=True))
    assert {name: -1 if value is None else value for name, value in figures.items()} == pytest.approx(
        expected, abs=1e-12
    )


def test_only_the_best_hundred_boxes_of_an_image_and_category_count() -> None:
    labelled, _ = random_scene(1, images=1)
    one = labelled[0]
    many = [{**one, "bbox": [400.0, 400.0, 9.0, 9.0], "score": 0.9} for _ in range(100)]
    found = [*many, {**one, "score": 0.5}]
    figures = evaluate(truth_of([{**one, "iscrowd": 0}], 1, 5), found_of(found)).figures
    assert figures["AP"] == 0
    assert reference([{**one, "iscrowd": 0}], found, 1, 5)[0] == 0


def test_nothing_labelled_has_no_figure_and_nothing_found_has_zero() -> None:
    labelled, found = random_scene(2)
    assert set(evaluate(truth_of([], 12, 5), found_of(found)).figures.values()) == {None}
    assert evaluate(truth_of(labelled, 12, 5), found_of([])).figures["AP"] == 0


# Two categories, A (frequent) and B (rare), in four images. A is absent from image 2, and labelled only in part in
# image 1; B is absent from image 0. Nothing is known of the rest.
A, B = 0, 1
PLACES = {1: [10, 10, 100, 100], 2: [20, 20, 120, 120], 3: [200, 200, 100, 100], 9: [400, 300, 50, 50]}


def box(image: int, category: int, place: int, score: float | None = None) -> Json:
    x, y, width, height = PLACES[place]
    known = {"image_id": image, "category_id": category, "bbox": [x, y, width, height], "area": width * height}
    return known if score is None else {**known, "score": score}


BY_HAND = truth_of([box(0, A, 1), box(1, A, 2), box(1, B, 3)], 4, 2, absent=[(0, B), (2, A)], partial=[(1, A)])
FOUND_BY_HAND = found_of(
    [
        box(0, A, 1, 0.9),  # right
        box(3, A, 9, 0.95),  # nothing is known of A in this image
        box(2, A, 9, 0.8),  # wrong
        box(1, A, 9, 0.85),  # not all of A are labelled in this image
        box(1, A, 2, 0.7),  # right, after one wrong one
        box(0, B, 9, 0.6),  # wrong
        box(1, B, 3, 0.5),  # right, after one wrong one
    ]
)


@pytest.mark.parametrize(
    ("rules", "of_a", "of_b"),
    [
        (Rules("all", federated=True), (51 + 50 * 2 / 3) / 101, 1 / 2),
        (Rules("one an image", per_image=1, federated=True), 51 / 101, 0),
        (Rules("four a category", per_category=4, federated=True), 51 / 101, 1 / 2),
    ],
    ids=lambda value: value.name if isinstance(value, Rules) else "",
)
def test_the_rules_of_lvis_give_what_is_counted_by_hand(rules: Rules, of_a: float, of_b: float) -> None:
    quality = evaluate(BY_HAND, FOUND_BY_HAND, rules)
    assert quality.of([A])[0] == pytest.approx(of_a, abs=1e-12)
    assert quality.of([B])[0] == pytest.approx(of_b, abs=1e-12)
    assert quality.figures["AP"] == pytest.approx((of_a + of_b) / 2, abs=1e-12)


def test_what_each_category_has_is_counted() -> None:
    quality: Precision = evaluate(BY_HAND, FOUND_BY_HAND, LVIS)
    assert quality.labelled.tolist() == [2, 1]
    assert quality.found.tolist() == [4, 2], "the one of which nothing is known does not count"
    counted: Mapping[str, float | None] = evaluate(BY_HAND, FOUND_BY_HAND, COCO).figures
    assert counted["AP"] is not None
    assert counted["AP"] < (quality.figures["AP"] or 0), "by COCO's rules each unknown one is wrong"
