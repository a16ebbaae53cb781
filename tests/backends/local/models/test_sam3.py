# ruff: noqa: ANN401 - adapters with what only their family can do
import itertools
import json
import math
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers.image_transforms import corners_to_center_format

from dinox_mcp.backends.local.models.base import ExampleQuery, Interrupted, RawDetection
from dinox_mcp.backends.local.models.sam3 import Sam3, pool
from dinox_mcp.types.detection import Example
from dinox_mcp.types.masks import decode
from tests.backends.local.parity import as_expected, ask, assert_same, cancelled, load_adapter, load_model
from tests.backends.local.pictures import picture

Call = Callable[[Image.Image, str], dict[str, Any]]


@pytest.fixture(scope="module")
def family() -> str:
    return "sam3"


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return hf.AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def call(tokenizer: Any, stock: Callable[[str], Any], adapter: Any) -> Call:
    """Call transformers as its processor does, which needs torchvision and is spelt out here."""
    model = stock("sam3")

    def ask_model(image: Image.Image, label: str) -> dict[str, Any]:
        text = tokenizer([label], padding="max_length", max_length=32, return_tensors="pt")
        with torch.inference_mode():
            outputs = model(pixel_values=torch.from_numpy(adapter.prepare(image).pixels)[None], **text)
        width, height = image.size
        masks = torch.nn.functional.interpolate(
            outputs.pred_masks.sigmoid(), size=(height, width), mode="bilinear", align_corners=False
        )
        return {
            "scores": (outputs.pred_logits.sigmoid() * outputs.presence_logits.sigmoid())[0],
            "labels": torch.zeros(20, dtype=torch.long),
            "boxes": outputs.pred_boxes[0] * torch.tensor([width, height] * 2),
            "masks": (masks[0] > 0.5).numpy(),
        }

    return ask_model


@pytest.mark.parametrize(("size", "label"), [((75, 311), "dog"), ((900, 3), "a red car")])
def test_equals_the_documented_call(call: Call, adapter: Any, size: tuple[int, int], label: str) -> None:
    image = picture(*size)
    found, expected = ask(adapter, image, [label]), call(image, label)
    assert_same(found, expected, pixels=1e-3, score=1e-6)
    for item in found:
        (partner,) = np.flatnonzero(np.abs(expected["scores"].numpy() - item.score) < 1e-7)
        assert item.mask is not None
        assert item.mask.size == image.size[::-1]
        assert (decode(item.mask) != expected["masks"][partner]).mean() < 1e-3


def test_searches_one_label_at_a_time(adapter: Any) -> None:
    labels = ["dog", "red car", "tree"]
    assert adapter.chunks(labels) == [[0], [1], [2]]
    together = ask(adapter, picture(200, 120), labels)
    assert len(together) == 60
    for index, label in enumerate(labels):
        alone = ask(adapter, picture(200, 120), [label])
        assert [(item.score, item.bbox) for item in together if item.label == index] == [
            (item.score, item.bbox) for item in alone
        ]


def test_finds_the_same_in_a_batch_as_alone(adapter: Any) -> None:
    images = [picture(200, 120), picture(90, 160, seed=1)]
    states = adapter.encode([adapter.prepare(image) for image in images])
    for image, state in zip(images, states, strict=True):
        found = adapter.find(state, ["dog"], None, 0.0)
        assert_same(found, as_expected(ask(adapter, image, ["dog"])), pixels=1e-2, score=1e-5)


def test_keeps_what_scores_enough(adapter: Any) -> None:
    everything = ask(adapter, picture(200, 120), ["dog"])
    assert ask(adapter, picture(200, 120), ["dog"], everything[4].score) == everything[:5]


def test_a_state_knows_its_size(adapter: Any) -> None:
    (state,) = adapter.encode([adapter.prepare(picture(200, 120))])
    assert state.nbytes == 4 * 32 * (32 * 32 + 16 * 16 + 8 * 8 + 8 * 8)


def test_stops_when_its_call_is_cancelled(adapter: Any) -> None:
    prepared = adapter.prepare(picture(200, 120))
    (state,) = adapter.encode([prepared])
    with cancelled(), pytest.raises(Interrupted):
        adapter.encode([prepared])
    with cancelled(), pytest.raises(Interrupted):
        adapter.find(state, ["dog"], None, 0.0)


def test_half_precision_stays_close(folder: Path, adapter: Any) -> None:
    half = Sam3(load_model(folder), folder, torch.bfloat16)
    best, exact = ask(half, picture(200, 120), ["dog"])[0], ask(adapter, picture(200, 120), ["dog"])[0]
    assert best.score == pytest.approx(exact.score, abs=0.05)
    best, exact = (_like_examples(some)[0] for some in (half, adapter))
    assert best.score == pytest.approx(exact.score, abs=0.05)


def _like_examples(adapter: Any) -> list[RawDetection]:
    (state,) = adapter.encode([adapter.prepare(picture(200, 120))])
    looks = adapter.read_examples(state, [Example(bbox=box) for box in EXAMPLES])
    found: list[RawDetection] = adapter.find_like(
        state, ExampleQuery(("cup",), looks.rows, (0,) * 3, (False,) * 3), 0.0
    )
    return found


def test_loads_from_a_checkpoint_that_tracks_too(folder: Path, adapter: Any, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    both = {"model_type": "sam3_video", "detector_config": config}
    weights = {f"detector_model.{name}": weight for name, weight in load_file(folder / "model.safetensors").items()}
    save_file(weights | {"tracker_model.x": torch.zeros(1)}, tmp_path / "model.safetensors", {"format": "pt"})
    for name in ("processor_config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(both))
    assert ask(load_adapter(tmp_path), picture(200, 120), ["dog"]) == ask(adapter, picture(200, 120), ["dog"])


EXAMPLES = [(20.0, 30.0, 90.0, 80.0), (150.0, 5.0, 199.5, 40.0), (3.0, 3.0, 30.0, 119.0)]


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the stock model takes of torchvision, which is not installed."""
    ops = SimpleNamespace(roi_align=lambda maps, boxes, size: torch.stack([roi_align(maps, b, size) for b in boxes[0]]))
    sam3 = import_module("transformers.models.sam3.modeling_sam3")
    monkeypatch.setattr(sam3, "torchvision", SimpleNamespace(ops=ops), raising=False)


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize(
    ("size", "label", "negative"),
    [
        ((200, 120), "object", (False,)),
        ((120, 200), "a red car", (True, False, False)),
    ],
)
def test_examples_equal_the_documented_call(
    tokenizer: Any,
    stock: Callable[[str], Any],
    adapter: Any,
    size: tuple[int, int],
    label: str,
    negative: tuple[bool, ...],
) -> None:
    image, (width, height) = picture(*size), size
    frame = torch.tensor([200 / width, 120 / height] * 2)
    boxes = torch.tensor(EXAMPLES[: len(negative)]) / frame
    prepared = adapter.prepare(image)
    (state,) = adapter.encode([prepared])
    looks = adapter.read_examples(state, [Example(bbox=tuple(box)) for box in boxes.tolist()])
    found = adapter.find_like(
        state, ExampleQuery((label,), looks.rows, (0,) * len(negative), negative), 0.0, masks=True
    )
    order = sorted(range(len(negative)), key=negative.__getitem__)
    text = tokenizer(
        ["visual" if label == "object" else label], padding="max_length", max_length=32, return_tensors="pt"
    )
    with torch.inference_mode():
        outputs = stock("sam3")(
            pixel_values=torch.from_numpy(prepared.pixels)[None],
            input_boxes=(corners_to_center_format(boxes / torch.tensor([width, height] * 2)))[order][None],
            input_boxes_labels=torch.tensor([[int(not negative[place]) for place in order]]),
            **text,
        )
    scores = (outputs.pred_logits.sigmoid() * outputs.presence_logits.sigmoid())[0]
    expected = {
        "scores": scores,
        "labels": torch.zeros(20, dtype=torch.long),
        "boxes": outputs.pred_boxes[0] * torch.tensor([width, height] * 2),
    }
    assert_same(found, expected, pixels=2e-2, score=1e-4)
    assert all(item.mask is not None for item in found)


def test_examples_of_several_labels_are_requested_one_by_one(adapter: Any) -> None:
    (state,) = adapter.encode([adapter.prepare(picture(200, 120))])
    looks = adapter.read_examples(state, [Example(bbox=box) for box in EXAMPLES])
    both = adapter.find_like(state, ExampleQuery(("cup", "plate"), looks.rows, (0, 1, None), (False, False, True)), 0.0)
    assert len(both) == 40
    for label, name in enumerate(("cup", "plate")):
        rows = looks.rows[[label, 2]]
        alone = adapter.find_like(state, ExampleQuery((name,), rows, (0, 0), (False, True)), 0.0)
        assert [(item.score, item.bbox) for item in both if item.label == label] == [
            (item.score, item.bbox) for item in alone
        ]


def test_masks_are_made_only_where_they_are_wanted(adapter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (state,) = adapter.encode([adapter.prepare(picture(200, 120))])
    with_masks = adapter.find(state, ["dog"], None, 0.0, masks=True)
    monkeypatch.setattr(adapter._model.mask_decoder, "stock", None)
    without = adapter.find(state, ["dog"], None, 0.0)
    assert [(item.score, item.bbox, item.mask) for item in without] == [
        (item.score, item.bbox, None) for item in with_masks
    ]


@pytest.mark.parametrize(
    "box",
    [(1.0, 2.0, 7.5, 6.25), (0.0, 0.0, 8.0, 8.0), (3.2, 3.1, 3.4, 3.3), (5.9, 0.0, 8.0, 1.0), (0.0, 0.5, 16.0, 12.0)],
)
def test_pools_as_torchvision_defines_it(box: tuple[float, ...]) -> None:
    size = 7
    side = 16 if box[2] > 8 else 8
    features = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    pooled = pool(features, np.array([box], np.float32), size)
    torch.testing.assert_close(pooled[0], roi_align(features, torch.tensor(box), size), atol=1e-5, rtol=1e-5)


def roi_align(maps: torch.Tensor, box: torch.Tensor, size: int) -> torch.Tensor:
    """Follow torchvision's roi_align_kernel.cpp bin by bin, sample by sample (aligned=False, sampling_ratio=-1)."""
    (features,) = maps
    height, width = features.shape[1:]
    x1, y1, x2, y2 = box.tolist()
    tall, wide = max(y2 - y1, 1.0), max(x2 - x1, 1.0)
    down, across = math.ceil(tall / size), math.ceil(wide / size)
    pooled = torch.zeros(features.shape[0], size, size)
    for row, column, step_y, step_x in itertools.product(range(size), range(size), range(down), range(across)):
        y = y1 + (row + (step_y + 0.5) / down) * tall / size
        x = x1 + (column + (step_x + 0.5) / across) * wide / size
        if not (-1 <= y <= height and -1 <= x <= width):
            continue
        y, x = max(y, 0.0), max(x, 0.0)
        low_y, low_x = min(int(y), height - 1), min(int(x), width - 1)
        high_y, high_x = min(low_y + 1, height - 1), min(low_x + 1, width - 1)
        part_y, part_x = (y - low_y if high_y > low_y else 0), (x - low_x if high_x > low_x else 0)
        top = features[:, low_y, low_x] * (1 - part_x) + features[:, low_y, high_x] * part_x
        bottom = features[:, high_y, low_x] * (1 - part_x) + features[:, high_y, high_x] * part_x
        pooled[:, row, column] += (top * (1 - part_y) + bottom * part_y) / (down * across)
    return pooled
