"""What models can do, known by their names alone."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dinox_mcp.backends.base import Capabilities
from dinox_mcp.backends.kind_words import KINDS
from dinox_mcp.backends.local import families
from dinox_mcp.backends.local.backend import LocalBackend
from dinox_mcp.backends.local.checkpoints import presets
from dinox_mcp.backends.local.checkpoints.hub import Hub
from dinox_mcp.backends.local.checkpoints.presets import ModelSource
from dinox_mcp.errors import InputError
from dinox_mcp.settings import Settings
from tests.backends.local.fakehub import FakeHub, serve

LABELS = families.of_type("bert").answers
OWL, GROUNDING, SAM3 = (families.of_type(kind) for kind in ("owlv2", "grounding-dino", "sam3"))
UNKNOWN = Capabilities(answers=LABELS)
D_FINE = families.of_type("d_fine")
COCO = replace(D_FINE, labels=KINDS)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of the machine that the tests run on do not matter."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def fake() -> Iterator[FakeHub]:
    with serve(FakeHub()) as fake:
        yield fake


def of(name: str | None, cache: Path | None = None, **settings: str) -> Capabilities:
    return families.of_name(name, Settings.load(**settings), cache)


def test_families_differ() -> None:
    assert {"text prompts", "prompt-free detection"} == LABELS
    assert OWL.answers - LABELS == {
        "examples",
        "points as examples",
        "negative examples",
        "examples in other images",
        "saved prompts",
    }
    assert GROUNDING.answers - LABELS == {"descriptions"}
    assert SAM3.answers == {"text prompts", "examples", "negative examples"}
    assert (OWL.outputs, GROUNDING.outputs, SAM3.outputs) == (set(), set(), {"masks"})


@pytest.mark.parametrize(
    ("name", "able"),
    [
        ("balanced", OWL),
        ("fast", OWL),
        ("accurate", GROUNDING),
        ("accurate-large", GROUNDING),
        ("sam3", SAM3),
        ("facebook/sam3@abc", SAM3),
        ("google/owlvit-large-patch14", OWL),
        ("IDEA-Research/grounding-dino-base", GROUNDING),
        ("openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg", GROUNDING),
        ("omlab/omdet-turbo-swin-tiny-hf", UNKNOWN),
        ("dfine-small", COCO),
        ("dfine-medium", COCO),
        ("ustc-community/dfine-medium-obj2coco", COCO),
        ("ustc-community/dfine-nano-coco", D_FINE),
        ("org/something", UNKNOWN),
    ],
)
def test_models_that_are_not_here_are_known_by_their_names(name: str, able: Capabilities) -> None:
    assert of(name) == able
    assert of(None, model=name) == able


@pytest.mark.parametrize(
    ("config", "able"),
    [
        ('{"model_type": "owlv2"}', OWL),
        ('{"model_type": "mm-grounding-dino"}', GROUNDING),
        ('{"model_type": "sam3_video"}', SAM3),
        (
            '{"model_type": "d_fine", "id2label": {"0": "None", "1": "Wild Bird"}}',
            replace(D_FINE, labels=("wild bird",)),
        ),
        ('{"model_type": "owlv2", "id2label": {"0": "LABEL_0"}}', OWL),
        ('{"model_type": "bert"}', UNKNOWN),
        ("[]", UNKNOWN),
        ("[", UNKNOWN),
    ],
)
def test_folders_are_known_by_their_configuration(tmp_path: Path, config: str, able: Capabilities) -> None:
    (tmp_path / "config.json").write_text(config)
    assert of(str(tmp_path)) == able


def test_what_was_fetched_is_known_by_its_configuration(fake: FakeHub, tmp_path: Path) -> None:
    files = {"config.json": json.dumps({"model_type": "sam3"}).encode(), "vocab.txt": b"", "model.safetensors": b"0"}
    fake.add("org/owlv2-looking", {**files, "preprocessor_config.json": b"{}"})
    assert of("org/owlv2-looking", tmp_path) == OWL
    folder = Hub(endpoint=fake.url, cache=tmp_path).fetch(ModelSource(repo="org/owlv2-looking"))
    assert of("org/owlv2-looking", tmp_path) == SAM3
    assert of(f"org/owlv2-looking@{folder.name}", tmp_path) == SAM3
    assert of("org/owlv2-looking@v9", tmp_path) == OWL


@pytest.mark.parametrize(
    ("device", "version", "driver", "able"),
    [
        ("cpu", "2.13.0", "/usr/bin/nvidia-smi", OWL),
        ("mps", "2.13.0", None, OWL),
        ("cuda:1", "2.13.0", None, GROUNDING),
        ("auto", "2.13.0", None, OWL),
        ("auto", "2.13.0", "/usr/bin/nvidia-smi", GROUNDING),
        ("auto", "2.13.0+cpu", "/usr/bin/nvidia-smi", OWL),
    ],
)
def test_the_default_is_that_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, device: str, version: str, driver: str | None, able: Capabilities
) -> None:
    monkeypatch.setattr(presets, "version", lambda _name: version)
    monkeypatch.setattr(presets.shutil, "which", lambda _name: driver)
    monkeypatch.setattr(presets, "_DRIVER", Path("/nowhere"))
    assert of(None, device=device) == able


@pytest.mark.parametrize("name", ["blanced", "a--b/c/d", "/nowhere"])
def test_a_name_that_is_no_models_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=rf"^model: '{name}' is not a model.*choose one of balanced, fast"):
        of(name)
    assert of(None, model=name) == UNKNOWN  # the first request names the variable


def test_the_presets_with_a_closed_vocabulary_are_known_before_they_are_here() -> None:
    able = {offer.name: offer.capabilities for offer in LocalBackend(Settings.load(device="cpu")).models()}
    closed = {name: len(one.labels) for name, one in able.items() if one.labels is not None}
    assert closed == {"dfine-small": 80, "dfine-medium": 80, "dfine-small-o365": 365, "dfine-medium-o365": 365}


def test_the_presets_that_can_do_something_are_known() -> None:
    able = {offer.name: offer.capabilities for offer in LocalBackend(Settings.load(device="cpu")).models()}
    assert next(iter(able)) == "balanced"
    assert [name for name in able if "descriptions" in able[name].answers] == [
        "accurate",
        "accurate-base",
        "accurate-large",
    ]
    assert [name for name in able if "saved prompts" in able[name].answers] == ["balanced", "fast"]
    assert [name for name in able if "prompt-free detection" not in able[name].answers] == ["sam3"]


def test_costs_no_imports() -> None:
    code = (
        "import sys; from dinox_mcp.backends.local.backend import LocalBackend;"
        "from dinox_mcp.settings import Settings; backend = LocalBackend(Settings.load());"
        "backend.capabilities(); backend.models(); backend.capabilities('org/model');"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603 - our own code
