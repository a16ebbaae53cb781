"""Graphs of this package take the weights of a checkpoint, without torch."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from threading import Event, Timer

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file

from dinox_mcp.backends.local.checkpoints.graph import FOLDER, Architecture, Graph, architectures, fitting
from dinox_mcp.backends.local.models.base import Interrupted, interruptible
from dinox_mcp.errors import BackendError
from tests.backends.local.tiny_graphs import (
    GRAPHS,
    architecture,
    write_checkpoint,
    write_json,
    write_phrases_checkpoint,
)

WEIGHTS = "model.safetensors"
PIXELS = np.random.default_rng(0).standard_normal((1, 3, 96, 96), np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_checkpoint("owlv2", tmp_path / "checkpoint")


@pytest.fixture
def tiny() -> Architecture:
    return architecture("owlv2")


def test_the_package_has_graphs_of_the_presets_that_need_no_torch() -> None:
    assert {one.name: one.model_type for one in architectures(FOLDER)} == {
        "owlv2-base": "owlv2",
        "owlvit-base-32": "owlvit",
        "sam2-tiny": "sam2",
        "grounding-dino-tiny": "grounding-dino",
        "llmdet-tiny": "mm-grounding-dino",
        "dfine-small": "d_fine",
        "dfine-medium": "d_fine",
    }
    assert max(file.stat().st_size for file in FOLDER.iterdir()) < 500_000


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.onnx")), ids=lambda path: path.stem)
def test_each_layer_has_weights_of_its_own(path: Path) -> None:
    graph = onnx.load(path, load_external_data=False).graph
    uses = Counter(name for node in graph.node for name in node.input)
    vectors = [one.name for one in graph.initializer if len(one.dims) == 1 and one.external_data]
    assert vectors
    shared = ("decoder.reference_points_head", "decoder.query_pos_head")  # by all layers
    assert [name for name in vectors if uses[name] > 1 and not any(part in name for part in shared)] == []


@pytest.mark.parametrize("architecture", architectures(FOLDER), ids=lambda one: one.name)
def test_a_graph_takes_the_weights_that_are_described(architecture: Architecture) -> None:
    for part in ("image", "text", "boxes"):
        described = {name: list(dims) for name, dims in getattr(architecture, part).items() if None not in dims}
        path = FOLDER / f"{architecture.name}.{part}.onnx"
        assert path.exists() == bool(described)
        graph = onnx.load(path, load_external_data=False).graph if described else onnx.GraphProto()
        assert {one.name: list(one.dims) for one in graph.initializer if one.external_data} == described


def test_a_weight_is_found_under_its_other_names(tmp_path: Path) -> None:
    folder = write_phrases_checkpoint(tmp_path / "checkpoint")
    known = replace(architecture("mm-grounding-dino"), aliases={"model.level_embed": ["other", "level_embed"]})
    weights = load_file(folder / WEIGHTS)
    weights["level_embed"] = weights.pop("model.level_embed")
    save_file(weights, folder / WEIGHTS)
    assert fitting(folder, GRAPHS) is None
    Graph(known, "text", folder, threads=1)


def test_heads_of_all_layers_may_be_stored_once() -> None:
    (llmdet,) = (one for one in architectures(FOLDER) if one.name == "llmdet-tiny")
    assert llmdet.aliases["bbox_embed.3.layers.0.weight"] == [
        "model.decoder.bbox_embed.3.layers.0.weight",
        "bbox_embed.0.layers.0.weight",
        "model.decoder.bbox_embed.0.layers.0.weight",
    ]


def test_a_checkpoint_fits_by_the_names_and_shapes_of_its_weights(folder: Path, tiny: Architecture) -> None:
    assert fitting(folder, GRAPHS) == tiny
    assert fitting(folder) is None  # the package has no graphs of tiny models


@pytest.mark.parametrize("change", ["another shape", "missing"])
def test_a_checkpoint_with_other_weights_does_not_fit(folder: Path, change: str) -> None:
    weights = load_file(folder / WEIGHTS)
    name = next(iter(weights))
    weights |= {name: weights[name][..., :-1]} if change == "another shape" else {}
    if change == "missing":
        del weights[name]
    save_file(weights, folder / WEIGHTS)
    assert fitting(folder, GRAPHS) is None


def test_weights_that_numpy_cannot_read_are_left_to_torch(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data.replace(b'"dtype":"F32"', b'"dtype":"I32"', 1))
    assert fitting(folder, GRAPHS) is None


@pytest.mark.parametrize(
    ("config", "fits"),
    [
        ({"model_type": "owlv2"}, True),
        ({"model_type": "owlv2", "vision_config": {"num_attention_heads": 2}}, True),
        ({"model_type": "owlv2", "vision_config": {"num_attention_heads": 4}}, False),
        ({"model_type": "owlv2", "text_config": {"hidden_act": "gelu"}}, False),
        ({"model_type": "owlv2", "text_config": "odd"}, False),
        ({"model_type": "owlvit"}, False),
    ],
)
def test_a_checkpoint_that_computes_otherwise_does_not_fit(folder: Path, config: object, fits: bool) -> None:
    write_json(folder / "config.json", config)
    assert (fitting(folder, GRAPHS) is not None) == fits


@pytest.mark.parametrize("kinds", [1, 80, 366])
def test_a_closed_vocabulary_may_have_any_number_of_kinds(kinds: int, tmp_path: Path) -> None:
    folder, detector = write_checkpoint("d_fine", tmp_path), architecture("d_fine")
    heads = {name for name, dims in detector.image.items() if None in dims}
    weights = load_file(folder / WEIGHTS)
    save_file(
        {name: np.resize(one, (kinds, *one.shape[1:])) if name in heads else one for name, one in weights.items()},
        folder / WEIGHTS,
    )
    assert fitting(folder, GRAPHS) == detector
    images = np.zeros((2, 3, 128, 128), np.float32)
    logits, boxes = Graph(detector, "image", folder, threads=1)(pixels=images)
    assert (logits.shape, boxes.shape) == ((2, 30, kinds), (2, 30, 4))


@pytest.mark.parametrize(
    ("key", "value"),
    [("decoder_layers", 3), ("decoder_n_points", [4, 4, 4]), ("backbone_config", {"hidden_act": "gelu"})],
)
def test_a_detector_that_computes_otherwise_does_not_fit(key: str, value: object, tmp_path: Path) -> None:
    folder = write_checkpoint("d_fine", tmp_path)
    assert fitting(folder, GRAPHS) is not None
    write_json(folder / "config.json", {"model_type": "d_fine", key: value})
    assert fitting(folder, GRAPHS) is None


def test_damaged_weights_are_one_line_with_the_remedy(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"\xff" * 100)
    with pytest.raises(BackendError, match=r"model\.safetensors cannot be read .*; get it anew with dinox-mcp pull"):
        fitting(folder, GRAPHS)


def test_a_weight_that_is_missing_is_one_line_with_the_remedy(folder: Path, tiny: Architecture) -> None:
    weights = load_file(folder / WEIGHTS)
    name = next(one for one in tiny.image if one in weights)
    del weights[name]
    save_file(weights, folder / WEIGHTS)
    with pytest.raises(BackendError, match=rf"no weight {re.escape(name)}\); get it anew with dinox-mcp pull"):
        Graph(tiny, "image", folder)


def test_what_a_checkpoint_says_of_itself_is_not_a_weight(folder: Path, tiny: Architecture) -> None:
    save_file(load_file(folder / WEIGHTS), folder / WEIGHTS, metadata={"dtype": "F32"})
    assert fitting(folder, GRAPHS) == tiny


@pytest.mark.parametrize(("family", "side"), [("owlv2", 96), ("d_fine", 128)])
def test_a_graph_in_memory_does_not_need_the_file_any_more(family: str, side: int, tmp_path: Path) -> None:
    folder, pixels = write_checkpoint(family, tmp_path), np.ones((1, 3, side, side), np.float32)
    graph = Graph(architecture(family), "image", folder, threads=1)
    before = graph(pixels=pixels)
    (folder / WEIGHTS).write_bytes(bytes((folder / WEIGHTS).stat().st_size))
    assert all(np.array_equal(one, other) for one, other in zip(before, graph(pixels=pixels), strict=True))


def test_a_damaged_graph_is_one_line_with_the_remedy(folder: Path, tiny: Architecture, tmp_path: Path) -> None:
    (tmp_path / "cut.image.onnx").write_bytes((GRAPHS / "tiny-owlv2.image.onnx").read_bytes()[:1000])
    with pytest.raises(BackendError, match=r"cut\.image\.onnx does not load .*; reinstall dinox-mcp"):
        Graph(replace(tiny, folder=tmp_path, name="cut"), "image", folder)


def test_products_of_bytes_stay_close(folder: Path, tiny: Architecture) -> None:
    exact, *_ = Graph(tiny, "image", folder, threads=1)(pixels=PIXELS)
    short, *_ = Graph(tiny, "image", folder, threads=1, int8=True)(pixels=PIXELS)
    assert not np.array_equal(exact, short)
    assert (exact * short).sum(axis=-1).min() > 0.999


def test_weights_in_half_precision_are_read(folder: Path, tiny: Architecture) -> None:
    exact, *_ = Graph(tiny, "image", folder, threads=1)(pixels=PIXELS)
    save_file({name: one.astype(np.float16) for name, one in load_file(folder / WEIGHTS).items()}, folder / WEIGHTS)
    half, *_ = Graph(tiny, "image", folder, threads=1)(pixels=PIXELS)
    np.testing.assert_allclose(half, exact, atol=1e-2)


def test_a_run_stops_when_its_call_is_cancelled(folder: Path, tiny: Architecture) -> None:
    graph = Graph(tiny, "image", folder, threads=1)
    cancelled = Event()
    many = np.repeat(PIXELS, 2000, axis=0)  # takes seconds, if nothing stops it
    with interruptible(cancelled):
        graph(pixels=PIXELS)
        Timer(0.2, cancelled.set).start()
        with pytest.raises(Interrupted):
            graph(pixels=many)
    graph(pixels=PIXELS)
