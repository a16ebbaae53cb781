# ruff: noqa: ANN401 - adapters with what only their family can do
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

from dinox_mcp.backends.local.checkpoints import precision
from dinox_mcp.backends.local.checkpoints.graph import FOLDER, fitting
from dinox_mcp.backends.local.models.base import Interrupted
from dinox_mcp.backends.local.models.dfine import DFineGraph
from dinox_mcp.backends.local.models.dfine_torch import DFine
from dinox_mcp.errors import UnsupportedError
from tests.backends.local.exported import script
from tests.backends.local.parity import as_expected, ask, assert_same, cancelled, load_model
from tests.backends.local.pictures import picture
from tests.backends.local.tiny_checkpoints import shaken, trained_like
from tests.backends.local.tiny_graphs import KINDS, architecture, write_checkpoint, write_json

LABELS = ("person", "dog", "car", "SUV", "dining table", "monitor/TV")


@pytest.fixture(scope="module")
def family() -> str:
    return "d_fine"


@pytest.fixture(scope="module", params=("adapter_of", "graph_of"))
def adapter(request: pytest.FixtureRequest, family: str) -> Any:
    return request.getfixturevalue(request.param)(family)


@pytest.mark.parametrize(("size", "threshold"), [((75, 311), 0.0), ((200, 120), 0.5)])
def test_equals_the_documented_call(
    adapter: Any, folder: Path, stock: Callable[[str], Any], size: tuple[int, int], threshold: float
) -> None:
    image, processor = picture(*size), hf.AutoImageProcessor.from_pretrained(folder)
    with torch.inference_mode():
        outputs = stock("d_fine")(pixel_values=torch.from_numpy(adapter.prepare(image).pixels)[None])
        outputs.logits[..., 0] = -100  # the first kind is none, and has no label
    (found,) = processor.post_process_object_detection(outputs, threshold=threshold, target_sizes=[size[::-1]])
    expected = {**found, "labels": found["labels"] - 1}
    assert_same(ask(adapter, image, LABELS, threshold), expected, pixels=0.01, score=1e-5)


def test_prepares_images_as_transformers_does(adapter: Any, folder: Path) -> None:
    image = picture(200, 120)
    expected = hf.RTDetrImageProcessorPil.from_pretrained(folder)(images=image, return_tensors="np")["pixel_values"][0]
    np.testing.assert_allclose(adapter.prepare(image).pixels, expected, atol=1e-6)


def test_finds_the_same_in_a_batch_as_alone(adapter: Any) -> None:
    images = [picture(200, 120), picture(90, 160, seed=1)]
    states = adapter.encode([adapter.prepare(image) for image in images])
    for image, state in zip(images, states, strict=True):
        expected = as_expected(ask(adapter, image, LABELS))
        assert_same(adapter.find(state, LABELS, None, 0.0), expected, pixels=0.01, score=1e-5)


def test_some_labels_score_as_among_all(adapter: Any) -> None:
    (state,) = adapter.encode([adapter.prepare(picture(200, 120))])
    alone = {one.bbox: one.score for one in adapter.find(state, ["SUV"], None, 0.0)}
    assert len(alone) == 30
    among = [one for one in adapter.find(state, LABELS, None, 0.0) if LABELS[one.label] == "SUV"]
    assert {one.bbox: one.score for one in among}.items() <= alone.items()


def test_its_labels_are_those_of_its_configuration(adapter: Any) -> None:
    assert adapter.labels == LABELS
    assert adapter.overlong(LABELS) == []


def test_a_state_knows_its_size(adapter: Any) -> None:
    (state,) = adapter.encode([adapter.prepare(picture(200, 120))])
    assert state.nbytes == 30 * (len(KINDS) + 4) * 4


def test_stops_when_its_call_is_cancelled(adapter: Any) -> None:
    prepared = adapter.prepare(picture(200, 120))
    with cancelled(), pytest.raises(Interrupted):
        adapter.encode([prepared])
    assert ask(adapter, picture(200, 120), LABELS)


def test_half_precision_stays_close(folder: Path, adapter_of: Callable[[str], Any]) -> None:
    short = DFine(load_model(folder), folder, torch.bfloat16)
    half, exact = (ask(one, picture(200, 120), LABELS)[0] for one in (short, adapter_of("d_fine")))
    assert half.score == pytest.approx(exact.score, abs=0.05)


def test_a_shorter_precision_is_checked_by_a_kind_that_it_knows(adapter: Any) -> None:
    assert {one.label for one in precision._find(adapter, picture(200, 120))} == {0}


def test_a_graph_has_one_size_of_input(tmp_path: Path) -> None:
    folder = write_checkpoint("d_fine", tmp_path)
    write_json(folder / "preprocessor_config.json", {"size": {"height": 64, "width": 64}, "do_normalize": False})
    with pytest.raises(UnsupportedError, match=r"images of 128x128 pixels.*64x64; .*DINOX_MCP_RUNTIME=torch"):
        DFineGraph(architecture("d_fine"), folder, threads=1)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kinds"), [("dfine-small", 366), ("dfine-medium", 80)])
def test_the_graphs_of_the_package_equal_transformers(name: str, kinds: int, tmp_path: Path) -> None:
    build, _ = script("graphs").ARCHITECTURES[name]
    config = build().config
    config.num_labels = kinds
    model = trained_like(shaken(hf.DFineForObjectDetection(config)))
    model.save_pretrained(tmp_path)
    hf.RTDetrImageProcessorPil().save_pretrained(tmp_path)
    found_graph = fitting(tmp_path, FOLDER)
    assert found_graph is not None
    assert found_graph.name == name
    graph, image = DFineGraph(found_graph, tmp_path, threads=2), picture(640, 480)
    prepared = graph.prepare(image)
    with torch.inference_mode():
        outputs = model(pixel_values=torch.from_numpy(prepared.pixels)[None])
    (expected,) = hf.RTDetrImageProcessorPil().post_process_object_detection(
        outputs, threshold=0.0, target_sizes=[image.size[::-1]]
    )
    (state,) = graph.encode([prepared])
    assert_same(graph.find(state, graph.labels, None, 0.0), expected, pixels=0.5, score=1e-3)
