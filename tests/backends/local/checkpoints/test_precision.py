from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dinox_mcp.backends.local.checkpoints import precision
from dinox_mcp.backends.local.checkpoints.device import Device
from dinox_mcp.backends.local.checkpoints.precision import difference, load_checked
from dinox_mcp.backends.local.checkpoints.source import Checkpoint
from dinox_mcp.backends.local.models.base import Found
from dinox_mcp.settings import Settings

SHORT = Device("cpu", "cpu", "bfloat16")
EXACT = replace(SHORT, precision="float32")
FOUND = [Found(0, 0.9, (10, 10, 50, 50)), Found(1, 0.8, (60, 10, 90, 50)), Found(0, 0.1, (10, 60, 50, 90))]


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> dict[torch.dtype, float]:
    """A processor that multiplies in these seconds."""
    seconds = {torch.float32: 2.0, torch.bfloat16: 1.0}
    monkeypatch.setattr(precision, "_seconds", seconds.__getitem__)
    return seconds


class Loads:
    """Remembers what was loaded; in bfloat16 it is a model that finds this."""

    def __init__(self, short: list[Found], monkeypatch: pytest.MonkeyPatch) -> None:
        self.loaded: list[str] = []
        answers = {"float32": FOUND, "bfloat16": short}
        monkeypatch.setattr(precision, "_look", answers.__getitem__)

    def __call__(self, device: Device) -> str:
        self.loaded.append(device.precision)
        return device.precision


def test_a_processor_without_units_for_it_computes_in_float32(
    speed: dict[torch.dtype, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    speed[torch.bfloat16] = 4.0
    loads = Loads(FOUND, monkeypatch)
    note = "computed in float32, as this processor is hardly faster in bfloat16 (0.5 times)"
    assert load_checked(loads, SHORT) == ("float32", EXACT, (note,))
    assert loads.loaded == ["float32"]


@pytest.mark.usefixtures("speed")
def test_a_model_that_answers_the_same_computes_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    nearly = [replace(one, score=one.score - 0.01) for one in reversed(FOUND)]
    assert load_checked(Loads(nearly, monkeypatch), SHORT) == ("bfloat16", SHORT, ("computed in bfloat16",))


@pytest.mark.usefixtures("speed")
def test_a_model_that_answers_otherwise_is_loaded_again_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = Loads([], monkeypatch)
    adapter, used, (note,) = load_checked(loads, SHORT)
    assert (adapter, used) == ("float32", EXACT)
    assert note.startswith("computed in float32, as bfloat16 moves this model's boxes")
    assert loads.loaded == ["float32", "bfloat16", "float32"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({}, None),
        ({"bbox": (10.5, 10, 50, 47)}, None),
        ({"bbox": (15, 10, 50, 50)}, "moves this model's boxes (by 5 pixels"),
        ({"label": 1}, "(by 50 pixels"),
        ({"score": 0.86}, None),
        ({"score": 0.8}, "changes this model's scores (0.90 to 0.80"),
    ],
)
def test_what_counts_as_the_same(change: dict[str, object], complaint: str | None) -> None:
    changed = [replace(FOUND[0], **change), *FOUND[1:]]  # type: ignore[arg-type]
    assert (difference(FOUND, changed) or "").endswith("on a test pattern)" if complaint else "")
    assert (complaint or "") in (difference(FOUND, changed) or "")


@pytest.mark.usefixtures("speed")
@pytest.mark.parametrize("family", ["owlv2", "grounding-dino", "omdet-turbo", "sam3"])
def test_a_model_of_any_family_is_put_to_the_test(checkpoint: Callable[[str], Path], family: str) -> None:
    model = Checkpoint(str(checkpoint(family)), Settings(precision="bfloat16", device="cpu"))
    model.fetch(lambda _fraction, _message: None)
    (note,) = model.load().notes
    assert "bfloat16" in note


@pytest.mark.parametrize(
    ("short", "note"),
    [
        (1.0, "computed in bfloat16"),
        (4.0, "computed in float32, as this processor is hardly faster in bfloat16 (0.5 times)"),
    ],
)
def test_what_describes_boxes_is_put_to_the_test_of_speed(
    checkpoint: Callable[[str], Path], speed: dict[torch.dtype, float], short: float, note: str
) -> None:
    speed[torch.bfloat16] = short
    model = Checkpoint(str(checkpoint("sam2")), Settings(precision="bfloat16", device="cpu"), role="masks")
    model.fetch(lambda _fraction, _message: None)
    assert model.load().notes == (note,)


@pytest.mark.usefixtures("speed")
def test_what_a_model_makes_of_labels_is_kept_apart_by_precision(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "difference", lambda _expected, _found: None)
    fingerprints = set()
    for wanted in ("float32", "bfloat16"):
        model = Checkpoint(str(checkpoint("owlvit")), Settings.load(precision=wanted, device="cpu"))
        model.fetch(lambda _fraction, _message: None)
        fingerprints.add(model.load().fingerprint)
    assert len(fingerprints) == 2
