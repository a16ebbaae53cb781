# ruff: noqa: ANN401 - adapters with what only their family can do
"""Grounding DINO without torch, compared with transformers on the same weights and pixels."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from threading import Event, Timer
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.numpy import load_file, save_file
from transformers.image_transforms import center_to_corners_format

from dinox_mcp.backends.local.checkpoints.graph import fitting
from dinox_mcp.backends.local.models.base import Interrupted, interruptible
from tests.backends.local.parity import LABELS, as_expected, ask, assert_same, cancelled
from tests.backends.local.pictures import picture


@pytest.fixture(scope="module", params=["grounding-dino", "mm-grounding-dino"])
def family(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize(("size", "count"), [((128, 128), 1), ((75, 311), 8), ((640, 427), 5)])
def test_equals_transformers(
    family: str, folder: Path, graph: Any, stock: Callable[[str], Any], size: tuple[int, int], count: int
) -> None:
    image, labels = picture(*size), LABELS[:count]
    text = hf.AutoProcessor.from_pretrained(folder)(text=[list(labels)], return_tensors="pt")
    with torch.inference_mode():
        outputs = stock(family)(pixel_values=torch.from_numpy(graph.prepare(image).pixels)[None], **text)
    stops = [0] + [index for index, token in enumerate(text["input_ids"][0].tolist()) if token == 1012]
    tokens = outputs.logits[0].sigmoid()
    best, owners = torch.stack([tokens[:, a + 1 : b].mean(-1) for a, b in pairwise(stops)], -1).max(-1)
    boxes = center_to_corners_format(outputs.pred_boxes[0]) * torch.tensor(size * 2)
    assert_same(ask(graph, image, labels), {"scores": best, "labels": owners, "boxes": boxes}, pixels=0.5, score=1e-3)


def test_descriptions_and_captions_equal_those_in_torch(adapter: Any, graph: Any) -> None:
    image = picture(200, 120)
    (ours,), (stock,) = (one.encode([one.prepare(image)]) for one in (graph, adapter))
    sentence = "the person in the red car. left of a dog?"
    described = as_expected(adapter.find_described(stock, sentence, 0.0))
    assert_same(graph.find_described(ours, sentence, 0.0), described, pixels=0.5, score=1e-3)
    caption, phrases = "A Red car. A person with a dog", [(0, 9), (11, 19), (25, 30)]
    grounded = as_expected(adapter.ground(stock, caption, phrases, 0.0))
    assert_same(graph.ground(ours, caption, phrases, 0.0), grounded, pixels=0.5, score=1e-3)


def test_a_full_window_is_read(adapter: Any, graph: Any) -> None:
    labels = [f"red dog {index}" for index in range(60)]
    labels = [labels[index] for index in graph.chunks(labels)[0]]
    assert len(graph._text.sentence(labels)[0]) > 240
    expected = as_expected(ask(adapter, picture(200, 120), labels))
    assert_same(ask(graph, picture(200, 120), labels), expected, pixels=0.5, score=1e-3)


def test_images_of_a_batch_are_found_in_as_alone(graph: Any) -> None:
    images = [picture(200, 120), picture(200, 120, seed=1)]
    for image, features in zip(images, graph.encode([graph.prepare(image) for image in images]), strict=True):
        assert graph.find(features, LABELS[:2], None, 0.0) == ask(graph, image, LABELS[:2])
        assert features.nbytes == sum(one.nbytes for one in features.arrays)


def test_the_thinnest_image_is_encoded(graph: Any) -> None:
    assert len(ask(graph, picture(4000, 2), ["dog"])) == 50


def test_heads_that_are_stored_under_their_other_name_are_read(
    family: str, folder: Path, graphs_of: Callable[[str], Path], graph: Any, tmp_path: Path
) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    moved = {f"model.decoder.{name}" if name.startswith("bbox_embed.") else name: one for name, one in weights.items()}
    assert moved.keys() != weights.keys()
    save_file(moved, tmp_path / "model.safetensors")
    architecture = fitting(tmp_path, graphs_of(family))
    assert architecture is not None
    again = type(graph)(architecture, tmp_path, threads=1)
    assert ask(again, picture(200, 120), LABELS[:2]) == ask(graph, picture(200, 120), LABELS[:2])


def test_a_cancelled_call_stops(graph: Any) -> None:
    prepared = graph.prepare(picture(200, 120))
    (features,) = graph.encode([prepared])
    with cancelled(), pytest.raises(Interrupted):
        graph.encode([prepared])
    event = Event()
    with interruptible(event):
        Timer(0.1, event.set).start()
        with pytest.raises(Interrupted):
            find_for_long(graph, features)


def find_for_long(graph: Any, features: Any) -> None:
    """Search for minutes, if nothing stops it."""
    for _ in range(10_000):
        graph.find(features, LABELS, None, 0.0)


def test_scores_near_zero_and_one_are_no_faults(graph: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    logits, boxes = np.array([[-200.0, 200.0]], np.float32), np.array([[0.5, 0.5, 1, 1]], np.float32)
    monkeypatch.setattr(graph, "_text_graph", lambda **_: [logits, boxes])
    (features,) = graph.encode([graph.prepare(picture(200, 120))])
    tokens, corners = graph._candidates(features, [101, 1012])
    assert tokens.tolist() == [[0, 1]]
    assert corners.tolist() == [[0, 0, 1, 1]]
