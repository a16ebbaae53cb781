"""Which runtime, device and precision a model gets."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dinox_mcp.backends import local, processor
from dinox_mcp.backends.local.checkpoints import graph, precision, running
from dinox_mcp.backends.local.checkpoints.checkpoint import Checkpoint
from dinox_mcp.backends.local.checkpoints.graph import CPU
from dinox_mcp.backends.local.checkpoints.presets import PRESETS
from dinox_mcp.backends.local.checkpoints.running import Runner
from dinox_mcp.backends.local.models.owl import OwlGraph
from dinox_mcp.backends.local.models.owl_torch import Owl
from dinox_mcp.settings import Settings
from tests.backends.local.tiny_graphs import GRAPHS, architecture, write_checkpoint

ACCELERATOR = "CoreMLExecutionProvider"


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> dict[torch.dtype, float]:
    """A processor that multiplies in these seconds."""
    seconds = {torch.float32: 2.0, torch.bfloat16: 1.0}
    monkeypatch.setattr(precision, "_seconds", seconds.__getitem__)
    return seconds


@pytest.fixture
def decisions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """The doubt about each way to compute; what is not in it is refused."""
    decisions: dict[str, str | None] = {}
    monkeypatch.setattr(precision, "decide", lambda _load, trial: decisions.get(trial.way, "it was not to be tried"))
    return decisions


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A tiny checkpoint of OWLv2, whose graphs are taken for those of the package; its tokenizer has few words."""
    monkeypatch.setattr(graph, "FOLDER", GRAPHS)
    return write_checkpoint("owlv2", tmp_path / "checkpoint")


def load(folder: Path, role: str = "objects", **options: str) -> tuple[object, str, tuple[str, ...]]:
    model, device, notes = Runner("x", Settings.load(**options), role).load(folder)  # type: ignore[arg-type]
    return model, device.precision, notes


@pytest.mark.parametrize(
    ("options", "has_torch", "role", "runtimes"),
    [
        ({}, True, "objects", ("onnx", "torch")),
        ({}, False, "objects", ("onnx",)),
        ({"runtime": "onnx"}, True, "objects", ("onnx",)),
        ({"runtime": "torch"}, True, "objects", ("torch",)),
        ({"precision": "bfloat16"}, True, "objects", ("torch",)),
        ({"precision": "int8"}, True, "objects", ("onnx", "torch")),
        ({"device": "cuda"}, True, "objects", ("torch",)),
        ({}, True, "masks", ("onnx", "torch")),
        ({}, True, "pose", ("torch",)),
    ],
)
def test_what_may_run_a_model(
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, str],
    has_torch: bool,
    role: str,
    runtimes: tuple[str, ...],
) -> None:
    monkeypatch.setattr(local, "has_torch", lambda: has_torch)
    monkeypatch.setattr(running, "runs_on_cpu", lambda _settings: True)
    assert Runner("x", Settings.load(**options), role).runtimes == runtimes  # type: ignore[arg-type]


@pytest.mark.usefixtures("speed")
def test_bfloat16_is_used_by_itself_where_it_suits(
    checkpoint: Callable[[str], Path], decisions: dict[str, str | None]
) -> None:
    decisions["bfloat16"] = None
    _, used, notes = load(checkpoint("grounding-dino"), device="cpu")
    assert (used, notes) == ("bfloat16", ("computed in bfloat16",))


@pytest.mark.usefixtures("speed")
@pytest.mark.parametrize(
    ("chosen", "notes"), [("auto", ()), ("bfloat16", ("computed in float32, as bfloat16 moves boxes",))]
)
def test_who_chose_bfloat16_hears_why_it_is_not_used(
    checkpoint: Callable[[str], Path], decisions: dict[str, str | None], chosen: str, notes: tuple[str, ...]
) -> None:
    decisions["bfloat16"] = "bfloat16 moves boxes"
    assert load(checkpoint("grounding-dino"), device="cpu", precision=chosen)[1:] == ("float32", notes)


def test_a_processor_without_units_for_bfloat16_tries_nothing(
    checkpoint: Callable[[str], Path], speed: dict[torch.dtype, float], decisions: dict[str, str | None]
) -> None:
    speed[torch.bfloat16], decisions["bfloat16"] = 4.0, None
    note = "computed in float32, as this processor is hardly faster in bfloat16 (0.5 times)"
    assert load(checkpoint("grounding-dino"), device="cpu", precision="bfloat16")[1:] == ("float32", (note,))


@pytest.mark.usefixtures("speed")
def test_a_real_model_is_put_to_the_test(checkpoint: Callable[[str], Path]) -> None:
    model, _, (note,) = load(checkpoint("owlv2"), device="cpu", precision="bfloat16")
    assert model is not None
    assert "bfloat16" in note


@pytest.mark.parametrize(
    ("chosen", "short", "notes"),
    [
        ("bfloat16", 1.0, ("computed in bfloat16",)),
        ("bfloat16", 4.0, ("computed in float32, as this processor is hardly faster in bfloat16 (0.5 times)",)),
        ("auto", 1.0, ()),  # what it describes is compared with nothing, so it stays exact by itself
        ("int8", 1.0, ()),
    ],
)
def test_what_describes_boxes_is_put_to_the_test_of_speed(
    checkpoint: Callable[[str], Path],
    speed: dict[torch.dtype, float],
    chosen: str,
    short: float,
    notes: tuple[str, ...],
) -> None:
    speed[torch.bfloat16] = short
    assert load(checkpoint("sam2"), "masks", device="cpu", precision=chosen)[2] == notes


@pytest.mark.usefixtures("speed")
def test_what_a_model_makes_of_labels_is_kept_apart_by_precision(
    checkpoint: Callable[[str], Path], decisions: dict[str, str | None]
) -> None:
    decisions["bfloat16"] = None
    fingerprints = set()
    for wanted in ("float32", "bfloat16"):
        model = Checkpoint(str(checkpoint("owlvit")), Settings.load(precision=wanted, device="cpu"))
        model.fetch(lambda _fraction, _message: None)
        fingerprints.add(model.load().fingerprint)
    assert len(fingerprints) == 2


@pytest.mark.usefixtures("speed")
@pytest.mark.parametrize(
    ("units", "doubt", "options", "kind"),
    [
        ({"amx_bf16"}, None, {}, Owl),
        ({"amx_bf16"}, "bfloat16 moves boxes", {}, OwlGraph),
        ({"avx512_bf16"}, None, {}, OwlGraph),
        ({"amx_bf16"}, None, {"runtime": "onnx"}, OwlGraph),
        ({"amx_bf16"}, None, {"precision": "int8"}, OwlGraph),
    ],
)
def test_torch_runs_a_model_that_has_a_graph_where_bfloat16_is_faster(
    monkeypatch: pytest.MonkeyPatch,
    checkpoint: Callable[[str], Path],
    decisions: dict[str, str | None],
    units: set[str],
    doubt: str | None,
    options: dict[str, str],
    kind: type,
) -> None:
    monkeypatch.setattr(processor, "units", lambda: frozenset(units))
    monkeypatch.setattr(graph, "FOLDER", GRAPHS)
    decisions["bfloat16"] = doubt
    model, _, _ = load(checkpoint("owlv2"), device="cpu", **options)
    assert isinstance(model, kind)


@pytest.mark.parametrize(
    ("available", "refused", "used"),
    [
        ([CPU], None, CPU),
        ([ACCELERATOR, CPU], None, ACCELERATOR),
        ([ACCELERATOR, CPU], "CoreML moves boxes", CPU),
        (["AzureExecutionProvider", CPU], None, CPU),
    ],
)
def test_a_provider_is_used_where_it_is_present_and_finds_the_same(
    monkeypatch: pytest.MonkeyPatch,
    graphs: Path,
    decisions: dict[str, str | None],
    available: list[str],
    refused: str | None,
    used: str,
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: available)
    monkeypatch.setattr(graph, "providers", lambda provider: chosen.append(provider) or [CPU])
    decisions |= {ACCELERATOR: refused, "int8": None}
    chosen: list[str] = []
    _, _, (note,) = load(graphs, runtime="onnx")
    assert sorted(chosen[-2:]) == sorted([used, CPU])  # the features of images, and labels, which load side by side
    assert note == (
        "computed in int8 by ONNX Runtime" if used == CPU else f"computed in float32 by ONNX Runtime ({used})"
    )


@pytest.mark.parametrize(
    ("pace", "note", "described"),
    [
        (0.0, f"computed in float32 by ONNX Runtime ({ACCELERATOR})", f"float32, by {ACCELERATOR}"),
        (1e9, "computed in float32 by ONNX Runtime, as this", f"{ACCELERATOR} is not used, as this machine is hardly"),
    ],
)
def test_a_provider_is_tried_on_the_test_images(
    monkeypatch: pytest.MonkeyPatch, graphs: Path, pace: float, note: str, described: str
) -> None:
    """The CPU computes what the other device would, which finds the same; how much faster it must be is given."""
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [ACCELERATOR, CPU])
    monkeypatch.setattr(graph, "providers", lambda _provider: [CPU])
    monkeypatch.setattr(precision, "FASTER", pace)
    runner = Runner("x", Settings.load(runtime="onnx"))
    _, _, (noted,) = runner.load(graphs)
    assert noted.startswith(note)
    assert described in runner.will_run(graphs, None)[1]


@pytest.mark.parametrize(("chosen", "note"), [("auto", ""), ("int8", ", as this model has no int8")])
def test_a_graph_without_int8_is_not_tried_in_it(
    monkeypatch: pytest.MonkeyPatch, graphs: Path, chosen: str, note: str
) -> None:
    fitting = replace(architecture("owlv2"), int8=())
    monkeypatch.setattr(graph, "fitting", lambda _folder: fitting)
    runner = Runner("x", Settings.load(runtime="onnx", precision=chosen))
    assert runner.load(graphs)[2] == (f"computed in float32 by ONNX Runtime{note}",)
    assert runner.will_run(graphs, None)[1] == "float32"


def test_int8_takes_the_graph_of_a_model_that_is_faster_in_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "has_torch", lambda: True)
    repo = PRESETS["accurate"].repo
    for chosen, runtime in (("auto", "torch"), ("int8", "ONNX Runtime")):
        assert Runner("x", Settings.load(device="cpu", precision=chosen)).will_run(None, repo)[2].startswith(runtime)


@pytest.mark.parametrize(
    ("repo", "runtime"),
    [
        ("omlab/omdet-turbo-swin-tiny-hf", "torch"),  # a type without graphs
        ("iSEE-Laboratory/llmdet_base", "torch"),  # a size without
        ("google/owlvit-base-patch32", "ONNX Runtime"),
        ("org/model", "ONNX Runtime"),  # not known before it is here
    ],
)
def test_the_runtime_of_a_model_that_is_not_here_is_that_of_its_type(repo: str, runtime: str) -> None:
    assert Runner("x", Settings.load(device="cpu")).will_run(None, repo)[2].startswith(runtime)


def test_a_model_whose_graphs_have_no_int8_is_known_to_compute_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "has_torch", lambda: False)
    runner = Runner("accurate", Settings.load(device="cpu"))
    assert runner.will_run(None, PRESETS["accurate"].repo)[1] == "float32"
    assert runner.will_run(None, PRESETS["fast"].repo)[1] == "int8 or float32, which the first request decides"
