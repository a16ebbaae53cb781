import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from dinox_mcp.types import masks
from dinox_mcp.types.coco import to_coco
from dinox_mcp.types.detection import DetectedObject, DetectionRequest, DetectionResult, ImageInfo, Keypoint
from dinox_mcp.types.keypoints import BODY, HAND

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


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools' own
def test_every_annotation_makes_a_mask_also_without_one_of_its_own(loaded: COCO) -> None:
    areas = {number: int(loaded.annToMask(one).sum()) for number, one in loaded.anns.items()}
    assert areas[1] == 800
    assert areas[2] == 30 * 10
    assert areas[3] == pytest.approx(30 * 49.5, abs=30)


def test_several_pictures_share_one_list_of_categories_and_no_id(tmp_path: Path) -> None:
    dogs = (OBJECTS[1].model_copy(update={"id": 1, "label": "dog"}), OBJECTS[2].model_copy(update={"id": 2}))
    other = RESULT.model_copy(update={"objects": dogs, "image": ImageInfo(width=50, height=40, source="dog.jpg")})
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(to_coco(RESULT, other)), encoding="utf-8")
    loaded = COCO(str(path))
    assert [image["file_name"] for image in loaded.loadImgs([1, 2])] == ["cat.jpg", "dog.jpg"]
    assert [category["name"] for category in loaded.loadCats(loaded.getCatIds())] == ["cat", "text", "dog"]
    assert sorted(loaded.anns) == [1, 2, 3, 4, 5]
    assert loaded.getAnnIds(imgIds=[2]) == [4, 5]
    assert loaded.anns[5]["category_id"] == loaded.anns[1]["category_id"]


def test_an_annotation_has_what_its_object_has() -> None:
    cat, text, other = to_coco(RESULT)["annotations"]
    assert cat["bbox"] == [10, 20, 40, 20]
    assert (cat["area"], cat["score"], cat["iscrowd"]) == (800, 0.9, 0)
    assert text["text"] == "出口"
    assert "score" not in text
    assert other["area"] == 30 * 49.5
    assert "text" not in other


POSE = tuple(Keypoint(name=name, x=place, y=2 * place, visibility=2) for place, name in enumerate(BODY, start=1))
UNSURE = Keypoint(name="nose", x=1, y=2, score=0.1)
HIDDEN = Keypoint(name="left_eye", x=2, y=4, visibility=1, score=0.8)
POSED = RESULT.model_copy(
    update={
        "objects": (
            DetectedObject(id=1, label="person", bbox=(0, 0, 20, 40), keypoints=(UNSURE, HIDDEN, *POSE[2:])),
            DetectedObject(id=2, label="person", bbox=(0, 0, 20, 40), keypoints=POSE[:5]),
            DetectedObject(
                id=3,
                label="hand",
                bbox=(0, 0, 20, 40),
                keypoints=tuple(Keypoint(name=name, x=1, y=2.5, score=0.9) for name in HAND),
            ),
        )
    }
)


def test_a_whole_body_is_keypoints_as_coco_has_them() -> None:
    data = to_coco(POSED)
    person, hand = data["categories"]
    assert person["keypoints"] == list(BODY)
    assert [BODY[a - 1] for a, b in person["skeleton"] if BODY[b - 1] == "left_ankle"] == ["left_knee"]
    assert hand.keys() == {"id", "name"}
    first = data["annotations"][0]
    assert first["keypoints"][:9] == [0, 0, 0, 2, 4, 1, 3, 6, 2]
    assert (len(first["keypoints"]), first["num_keypoints"]) == (51, 16)


def test_beside_poses_an_object_without_one_has_no_point() -> None:
    second = to_coco(POSED)["annotations"][1]
    assert (second["keypoints"], second["num_keypoints"]) == ([0] * 51, 0)
    assert [point["name"] for point in second["all_keypoints"]] == list(BODY[:5])


def test_other_points_go_by_name() -> None:
    hand = to_coco(POSED)["annotations"][2]
    assert "keypoints" not in hand
    assert hand["all_keypoints"][0] == {"name": "wrist", "x": 1, "y": 2.5, "score": 0.9}
    assert len(hand["all_keypoints"]) == 21


def test_pycocotools_evaluates_poses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(to_coco(POSED)), encoding="utf-8")
    truth = COCO(str(path))
    found = truth.loadRes(
        [{key: truth.anns[1][key] for key in ("image_id", "category_id", "keypoints")} | {"score": 0.9}]
    )
    evaluation = COCOeval(truth, found, "keypoints")
    evaluation.params.catIds = truth.getCatIds(catNms=["person"])
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)
    assert capsys.readouterr()


def test_words_of_a_model_come_along() -> None:
    told = DetectedObject(id=1, label="person", bbox=(0, 0, 9, 9), caption="a man", category="goalkeeper", text="12")
    (annotation,) = to_coco(RESULT.model_copy(update={"objects": (told,)}))["annotations"]
    assert (annotation["caption"], annotation["category"], annotation["text"]) == ("a man", "goalkeeper", "12")
    assert annotation["category_id"] == 1


def test_a_result_without_objects_is_a_dataset_too() -> None:
    empty = to_coco(RESULT.model_copy(update={"objects": (), "counts": {}}))
    assert (empty["categories"], empty["annotations"]) == ([], [])
