import base64
import io
from typing import Any

import pytest
from PIL import Image

from tests.emulator.contract import ENDPOINTS, faults_of
from tests.emulator.embeddings import embedding_of


def uri(width: int = 60, height: int = 40) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(buffer, "JPEG")
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


RECT = {"type": "rect", "category_id": 1, "rect": [1, 1, 20, 20]}
POINT = {"type": "point", "category_id": 2, "point": [0, 40]}
TEXT: dict[str, Any] = {
    "model": "DINO-X-1.0",
    "image": uri(),
    "prompt": {"type": "text", "text": "wolf.dog"},
    "targets": ["bbox"],
    "bbox_threshold": 0.25,
    "iou_threshold": 0.8,
}
REGIONS = {"model": "DINO-X-1.0", "image": uri(), "regions": [[0, 0, 60, 40]], "targets": ["caption", "roc", "ocr"]}
PLAIN = {name: value for name, value in TEXT.items() if "threshold" not in name}
EMBEDDED = PLAIN | {"model": "T-Rex-2.0", "prompt": {"type": "embedding", "embedding": embedding_of([[1, 2, 3]])}}


def shown(*interactions: dict[str, Any], image: str = TEXT["image"]) -> dict[str, Any]:
    seen = [{"image": image, "interactions": list(interactions)}]
    return PLAIN | {"model": "T-Rex-2.0", "prompt": {"type": "visual_images", "visual_images": seen}}


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("dinox/detection", TEXT),
        ("dinox/detection", TEXT | {"prompt": {"type": "universal", "universal": 1}}),
        ("dinox/detection", TEXT | {"targets": ["bbox", "mask", "pose_keypoints"], "mask_format": "coco_rle"}),
        ("grounding_dino/detection", TEXT | {"model": "GroundingDino-1.5-Edge"}),
        ("dino_xseek/detection", TEXT | {"model": "DINO-XSeek-1.0"}),
        ("dinox/region_vl", REGIONS),
        ("trex/detection", shown(RECT, POINT)),
        ("trex/detection", shown(RECT) | {"targets": ["bbox", "embedding"]}),
        ("dinox/region_vl", REGIONS | {"image": uri(4000, 3000)}),
        ("trex/detection", EMBEDDED),
    ],
)
def test_what_the_contract_says_is_taken(endpoint: str, body: dict[str, Any]) -> None:
    assert faults_of(endpoint, body) == []


@pytest.mark.parametrize(
    ("endpoint", "body", "names"),
    [
        ("dinox/segmentation", TEXT, "no endpoint"),
        ("dinox/detection", TEXT | {"model": "T-Rex-2.0"}, "model"),
        ("grounding_dino/detection", TEXT, "model"),
        ("dinox/detection", TEXT | {"targets": ["bbox", "embedding"]}, "targets"),
        ("dinox/detection", TEXT | {"targets": ["bbox", "bbox"]}, "targets"),
        ("trex/detection", shown(RECT) | {"targets": ["bbox", "mask"], "mask_format": "coco_rle"}, "targets"),
        ("dinox/detection", TEXT | {"targets": ["bbox", "mask"]}, "mask_format"),
        ("dinox/detection", TEXT | {"mask_format": "coco_rle"}, "mask_format"),
        ("dinox/detection", TEXT | {"bbox_threshold": 1.5}, "bbox_threshold"),
        ("dinox/detection", TEXT | {"regions": [[0, 0, 1, 1]]}, "regions"),
        ("dinox/detection", TEXT | {"prompt": {"type": "text", "text": " . "}}, "text"),
        ("dinox/detection", TEXT | {"prompt": {"type": "universal", "text": "dog"}}, "prompt"),
        ("dinox/detection", shown(RECT) | {"model": "DINO-X-1.0"}, "prompt"),
        ("dino_xseek/detection", TEXT | {"model": "DINO-XSeek-1.0", "prompt": {"type": "universal"}}, "prompt"),
        ("trex/detection", TEXT | {"model": "T-Rex-2.0"}, "prompt"),
        ("trex/detection", EMBEDDED | {"bbox_threshold": 0.25}, "bbox_threshold: unknown"),
        ("trex/detection", shown(), "interactions"),
        ("trex/detection", shown(RECT | {"rect": [1, 1, 61, 20]}), "not inside"),
        ("trex/detection", shown(RECT | {"rect": [20, 1, 1, 20]}), "not inside"),
        ("trex/detection", shown(POINT | {"point": [30, 41]}), "not inside"),
        ("trex/detection", shown(RECT | {"category_id": "cup"}), "category_id"),
        ("trex/detection", shown(RECT | {"rect": None}), "malformed"),
        ("trex/detection", shown(RECT, image="https://example.com/a.jpg"), "image"),
        ("trex/detection", EMBEDDED | {"prompt": {"type": "embedding", "embedding": "AAAA"}}, "embedding"),
        ("trex/detection", EMBEDDED | {"image": uri(1400, 20)}, "larger than 1333"),
        ("dinox/detection", TEXT | {"image": uri(1600, 20)}, "larger than 1536"),
        ("dinox/detection", TEXT | {"image": TEXT["image"][:300]}, "image"),
        ("dinox/region_vl", REGIONS | {"regions": []}, "regions"),
        ("dinox/region_vl", REGIONS | {"regions": [[0, 0, 61, 40]]}, "not inside"),
        ("dinox/region_vl", REGIONS | {"regions": [[5, 5, 5, 40]]}, "not inside"),
        ("dinox/region_vl", REGIONS | {"targets": ["bbox"]}, "targets"),
        ("dinox/region_vl", REGIONS | {"prompt": TEXT["prompt"]}, "prompt"),
        ("dinox/region_vl", {name: REGIONS[name] for name in ("model", "image", "targets")}, "malformed"),
    ],
)
def test_what_the_contract_does_not_say_is_named(endpoint: str, body: dict[str, Any], names: str) -> None:
    assert names in " ".join(faults_of(endpoint, body))


def test_every_endpoint_of_the_contract_is_there() -> None:
    assert len(ENDPOINTS) == 5
