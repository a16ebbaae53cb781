import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from dinox_mcp import masks
from dinox_mcp.coco import to_coco
from dinox_mcp.schema import DetectedObject, DetectionRequest, DetectionResult, ImageInfo

BITS = np.zeros((80, 100), dtype=np.bool_)
BITS[20:40, 10:50] = True
OBJECTS = (
    DetectedObject(id=1, label="cat", bbox=(10, 20, 50, 40), score=0.9, mask=masks.encode(BITS)),
    DetectedObject(id=2, label="text", bbox=(0, 0, 30, 10), text="出口"),
    DetectedObject(id=3, label="cat", bbox=(60, 20.5, 90, 70), score=0.4),
)
RESULT = DetectionResult(
    result_id="r1",
    backend="dinox",
    model="DINO-X-1.0",
    image=ImageInfo(width=100, height=80, source="cat.jpg"),
    request=DetectionRequest(),
    objects=OBJECTS,
    counts={"cat": 2, "text": 1},
)


@pytest.fixture
def loaded(tmp_path: Path) -> COCO:
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(to_coco(RESULT)), encoding="utf-8")
    return COCO(str(path))


def test_pycocotools_reads_it(loaded: COCO) -> None:
    assert loaded.loadImgs(1)[0] == {"id": 1, "file_name": "cat.jpg", "width": 100, "height": 80}
    (cat,) = loaded.getCatIds(catNms=["cat"])
    assert loaded.getAnnIds(catIds=[cat]) == [1, 3]
    assert loaded.getAnnIds(areaRng=[799, 801]) == [1]


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools' own
def test_masks_come_back(loaded: COCO) -> None:
    assert (loaded.annToMask(loaded.anns[1]) == BITS).all()


def test_an_annotation_has_what_its_object_has() -> None:
    cat, text, other = to_coco(RESULT)["annotations"]
    assert cat["bbox"] == [10, 20, 40, 20]
    assert (cat["area"], cat["score"], cat["iscrowd"]) == (800, 0.9, 0)
    assert text["text"] == "出口"
    assert not {"score", "segmentation"} & text.keys()
    assert other["area"] == 30 * 49.5
    assert "text" not in other


def test_a_result_without_objects_is_a_dataset_too() -> None:
    empty = to_coco(RESULT.model_copy(update={"objects": (), "counts": {}}))
    assert (empty["categories"], empty["annotations"]) == ([], [])
