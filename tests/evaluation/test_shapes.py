"""Masks and keypoints have the figures that pycocotools gives for the same files."""

import contextlib
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import coco
from pycocotools.cocoeval import COCOeval

from dinox_mcp.errors import SettingsError
from dinox_mcp.evaluation.datasets import load
from dinox_mcp.evaluation.labelled import Found, Iou
from dinox_mcp.evaluation.precision import COCO, COCO_KEYPOINTS, evaluate
from dinox_mcp.evaluation.shapes import array_of, extent, measured
from dinox_mcp.types import masks
from dinox_mcp.types.keypoints import BODY

Json = dict[str, Any]
SIDE, IMAGES = 120, 6
OF_MASKS = ["AP", "AP50", "AP75", "AP small", "AP medium", "AP large", "AR1", "AR10", "AR", "AR small", "AR medium"]
OF_MASKS += ["AR large"]
OF_KEYPOINTS = ["AP", "AP50", "AP75", "AP medium", "AP large", "AR", "AR50", "AR75", "AR medium", "AR large"]
"""The figures of pycocotools, in its order."""


def scene(seed: int) -> tuple[Json, list[Json], list[Json]]:
    """Make people with polygons, runs of a crowd and keypoints, and found masks and poses near them or anywhere."""
    random = np.random.default_rng(seed)
    data: Json = {
        "images": [  # in another order than that of their ids, which decides between equal scores
            {"id": image, "file_name": f"{image}.png", "width": SIDE, "height": SIDE}
            for image in reversed(range(IMAGES))
        ],
        "categories": [{"id": 3, "name": "person", "keypoints": list(BODY)}],
        "annotations": [],
    }
    found_masks: list[Json] = []
    poses: list[Json] = []
    for image in range(IMAGES):
        for _ in range(random.integers(1, 7)):
            x, y, width, height = (*random.uniform(0, 50, 2), *random.uniform(6, 65, 2))
            corners = [x, y, x + width, y + height / 3, x + width / 2, y + height, x + width / 5, y + height / 2]
            crowd = int(random.random() < 0.15)
            points = np.stack([x + width * random.random(17), y + height * random.random(17)], 1)
            seen = random.integers(0, 3, 17) * int(random.random() < 0.8)
            one: Json = {"image_id": image, "category_id": 3, "id": len(data["annotations"]) + 1, "iscrowd": crowd}
            one |= {"bbox": [x, y, width, height], "area": width * height / 2, "segmentation": [corners]}
            if crowd:
                one["segmentation"] = {"size": [SIDE, SIDE], "counts": [100, SIDE * SIDE // 2, SIDE * SIDE // 2 - 100]}
            one["keypoints"] = np.column_stack([points, seen]).ravel().tolist()
            one["num_keypoints"] = int((seen > 0).sum())
            data["annotations"].append(one)
            for _ in range(random.integers(0, 4)):
                known = {"image_id": image, "category_id": 3, "score": round(float(random.random()), 1)}
                drawn = Image.new("1", (SIDE, SIDE))
                ImageDraw.Draw(drawn).polygon((corners + random.normal(0, random.uniform(0.5, 6), 8)).tolist(), fill=1)
                counts = masks.encode(np.asarray(drawn)).counts
                found_masks.append({**known, "segmentation": {"size": [SIDE, SIDE], "counts": counts}})
                moved = points + random.normal(0, random.uniform(0.3, 4), points.shape)
                poses.append({**known, "keypoints": np.column_stack([moved, np.ones(17)]).ravel().tolist()})
    return data, found_masks, poses


def reference(data: Json, found: Sequence[Json], iou: Iou) -> list[float]:
    known = coco.COCO()
    known.dataset = json.loads(json.dumps(data))
    with contextlib.redirect_stdout(io.StringIO()):
        known.createIndex()
        judge = COCOeval(known, known.loadRes(json.loads(json.dumps(found))), iou)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return list(judge.stats)


def boxes_of(found: Sequence[Json]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Give images, categories, boxes and scores."""
    images = np.array([one["image_id"] for one in found], int)
    scores = np.array([one["score"] for one in found])
    return images, np.zeros(len(found), int), np.zeros((len(found), 4)), scores


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "0.png").touch()
    return tmp_path


def write(folder: Path, data: Json) -> Path:
    path = folder / "annotations.json"
    path.write_text(json.dumps(data))
    return path


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools' own
@pytest.mark.parametrize("seed", range(4))
def test_the_figures_of_masks_equal_those_of_pycocotools(folder: Path, seed: int) -> None:
    data, found, _ = scene(seed)
    truth = load("coco", write(folder, data), None, iou="segm").truth
    pairs = [measured(masks.Mask(size=(SIDE, SIDE), counts=one["segmentation"]["counts"])) for one in found]
    area = np.array([area for _, area in pairs], float)
    figures = evaluate(truth, Found(*boxes_of(found), area, array_of(rle for rle, _ in pairs)), COCO).figures_of("segm")
    expected = reference(data, found, "segm")
    assert expected[0] > 0.01, "something is right"
    assert [-1 if figures[name] is None else figures[name] for name in OF_MASKS] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_the_figures_of_keypoints_equal_those_of_pycocotools(folder: Path, seed: int) -> None:
    data, _, found = scene(seed)
    truth = load("coco", write(folder, data), None, iou="keypoints").truth
    points = np.array([one["keypoints"] for one in found]).reshape(-1, 17, 3)
    around = np.array([extent(one) for one in points])
    poses = Found(*boxes_of(found), around[:, 2] * around[:, 3], points)
    figures = evaluate(truth, poses, COCO_KEYPOINTS).figures_of("keypoints")
    expected = reference(data, found, "keypoints")
    assert expected[0] > 0.01, "something is right"
    got = [-1 if figures[name] is None else figures[name] for name in OF_KEYPOINTS]
    assert got == pytest.approx(expected, abs=1e-9)


def test_masks_without_pycocotools_are_refused_with_the_remedy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(SettingsError, match=r"masks are compared by pycocotools.*; run .*dinox-mcp\[evaluate\]"):
        load("coco", write(folder, scene(0)[0]), None, iou="segm")
