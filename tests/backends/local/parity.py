"""How the tests compare an adapter with the calls that transformers documents, on the same weights and pixels.

The adapter runs where `DINOX_TEST_DEVICE` says, transformers always on the CPU:

    DINOX_TEST_DEVICE=cuda python -m pytest tests/backends/local

Both compute in float32, without TensorFloat-32. On a CPU the tests state their own tolerances; other devices add up in
another order, and get at least those of `LEAST`.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import torch
from PIL import Image

from dinox_mcp.backends.local.families import find
from dinox_mcp.backends.local.models.base import RawDetection, interruptible

DEVICE = os.environ.get("DINOX_TEST_DEVICE", "cpu")
LEAST = {"cpu": (0.0, 0.0), "cuda": (0.1, 1e-3), "mps": (0.25, 2e-3)}
"""Tolerances by kind of device: edges in pixels of pictures of a few hundred pixels, and scores."""
LABELS = ("person", "red car", "dog", "a cat", "baseball bat", "tree", "wheel", "glove")


def load_model(folder: Path) -> Any:  # noqa: ANN401 - any model of transformers
    """Load the model alone, as transformers has it."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    return (
        find(config["model_type"], None)
        .load_torch_class()
        .architecture(config)
        .from_pretrained(folder, local_files_only=True)
        .eval()
    )


def load_adapter(folder: Path) -> Any:  # noqa: ANN401 - an adapter, with what only its family can do
    """Load the model onto the device and wrap it."""
    torch.backends.cudnn.allow_tf32 = False
    model = load_model(folder).to(DEVICE)
    return find(model.config.model_type).load_torch_class()(model, folder)


def ask(adapter: Any, image: Image.Image, labels: Sequence[str], min_score: float = 0.0) -> list[RawDetection]:  # noqa: ANN401
    """Ask one question about one picture, in one chunk."""
    (state,) = adapter.encode([adapter.prepare(image)])
    embeddings = adapter.embed(labels) if adapter.reuses_text else None
    found: list[RawDetection] = adapter.find(state, labels, embeddings, min_score, masks=True)
    return found


@contextmanager
def cancelled() -> Iterator[None]:
    """Cancel the running call once it runs."""
    event = Event()
    with interruptible(event):
        event.set()
        yield


def assert_same(found: Sequence[RawDetection], expected: Mapping[str, Any], *, pixels: float, score: float) -> None:
    """Compare with {scores, labels, boxes}: as many, best first, and each with its label, box and score."""
    least_pixels, least_score = LEAST[DEVICE.partition(":")[0]]
    pixels, score = max(pixels, least_pixels), max(score, least_score)
    scores, labels, boxes = (torch.as_tensor(expected[key]).numpy() for key in ("scores", "labels", "boxes"))
    assert len(found) == len(scores)
    assert [item.score for item in found] == sorted((item.score for item in found), reverse=True)
    distance = np.abs(np.array([item.bbox for item in found])[:, None] - boxes[None]).max(-1)
    distance[np.array([item.label for item in found])[:, None] != labels[None]] = np.inf
    partners = distance.argmin(1)
    assert sorted(partners) == list(range(len(scores)))
    assert distance.min(1).max() <= pixels
    assert np.abs(np.array([item.score for item in found]) - scores[partners]).max() <= score


def as_expected(found: Sequence[RawDetection]) -> dict[str, Any]:
    """Turn what an adapter found into what `assert_same` compares with."""
    return {
        "scores": [item.score for item in found],
        "labels": [item.label for item in found],
        "boxes": [item.bbox for item in found],
    }
