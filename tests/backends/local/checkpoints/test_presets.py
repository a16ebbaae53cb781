import re
from pathlib import Path

import pytest

from dinox_mcp.backends.local.checkpoints import presets
from dinox_mcp.backends.local.checkpoints.presets import DESCRIBING, PRESETS, DeviceKind, ModelSource, Role, resolve
from dinox_mcp.errors import SettingsError
from dinox_mcp.settings import Settings

DOCUMENT = Path(__file__).parents[4] / "docs" / "local.md"


@pytest.mark.parametrize(
    ("name", "device", "repo"),
    [
        (None, "cpu", "google/owlv2-base-patch16-ensemble"),
        (None, "mps", "google/owlv2-base-patch16-ensemble"),
        (None, "cuda", "iSEE-Laboratory/llmdet_base"),
        ("", "cpu", "google/owlv2-base-patch16-ensemble"),
        ("fast", "cuda", "google/owlvit-base-patch32"),
        ("accurate", "cpu", "iSEE-Laboratory/llmdet_tiny"),
        ("accurate", "cuda", "iSEE-Laboratory/llmdet_base"),
        ("sam3", "cpu", "facebook/sam3"),
    ],
)
def test_a_preset_is_a_repository(name: str | None, device: DeviceKind, repo: str) -> None:
    revision = next(preset.revision for preset in PRESETS.values() if preset.repo == repo)
    assert resolve(name, device) == ModelSource(repo=repo, revision=revision)


@pytest.mark.parametrize(
    ("name", "source", "called"),
    [
        ("org/model", ModelSource(repo="org/model"), "org/model"),
        ("org/model@v1.2", ModelSource(repo="org/model", revision="v1.2"), "org/model@v1.2"),
        ("org/model@refs/pr/3", ModelSource(repo="org/model", revision="refs/pr/3"), "org/model@refs/pr"),
        ("a-b/c_d.e@" + "f" * 40, ModelSource(repo="a-b/c_d.e", revision="f" * 40), "a-b/c_d.e@fffffff"),
    ],
)
def test_a_repository_may_be_pinned(name: str, source: ModelSource, called: str) -> None:
    assert resolve(name, "cpu") == source
    assert source.name == called


def test_a_folder_that_exists_is_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "org" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = ModelSource(folder=tmp_path / "org" / "model")
    assert resolve(str(tmp_path / "org" / "model"), "cpu") == expected
    assert resolve("org/model", "cpu") == expected
    assert resolve("~/org/model", "cpu") == expected
    assert expected.name == "model"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "blanced",
            "DINOX_MCP_MODEL: 'blanced' is not a model; did you mean balanced\\?; choose one of balanced, fast,",
        ),
        ("/not/here", "'/not/here' is not a model; choose one of .* or a folder that exists"),
        ("org/model@", "owner/name@revision"),
        ("org/model@../../../x", "owner/name@revision"),
        ("org/model@refs/../../../x", "owner/name@revision"),
        ("org/model@/etc/x", "owner/name@revision"),
        ("../model", "is not a model"),
        ("a/b/c", "is not a model"),
    ],
)
def test_what_is_no_model_says_what_is_one(name: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        resolve(name, "cpu")


def test_only_gated_models_have_another_licence() -> None:
    assert {name for name, preset in PRESETS.items() if preset.licence != "Apache-2.0"} == {"sam3"}
    assert {name for name, preset in PRESETS.items() if preset.gated} == {"sam3"}


def test_the_document_reports_of_every_preset_what_the_program_knows() -> None:
    rows = {row[1]: row[0] for row in re.finditer(r"^\| `([\w.-]+)` \|.*$", DOCUMENT.read_text("utf-8"), re.MULTILINE)}
    for name, preset in (PRESETS | DESCRIBING).items():
        for fact in (preset.repo, preset.licence, f"{preset.megabytes} MB", preset.accuracy, preset.cost):
            assert fact in rows[name]


@pytest.mark.parametrize(
    ("role", "device", "repo"),
    [
        ("masks", "cpu", "facebook/sam2.1-hiera-tiny"),
        ("masks", "mps", "facebook/sam2.1-hiera-tiny"),
        ("masks", "cuda", "facebook/sam2.1-hiera-base-plus"),
        ("pose", "cuda", "usyd-community/vitpose-base-simple"),
        ("caption", "cpu", "florence-community/Florence-2-base"),
    ],
)
def test_each_role_has_a_default(role: Role, device: DeviceKind, repo: str) -> None:
    assert resolve(None, device, role) == ModelSource(repo=repo, role=role)
    assert resolve(repo, device, role) == resolve(None, device, role)


@pytest.mark.parametrize(
    ("name", "role", "message"),
    [
        (
            "fast",
            "masks",
            "DINOX_MCP_MASKS_MODEL: 'fast' is not a model for it but one for DINOX_MCP_MODEL; choose one of sam",
        ),
        (
            "vitpose-base",
            "objects",
            "DINOX_MCP_MODEL: 'vitpose-base' is not a model for it but one for DINOX_MCP_POSE_MODEL",
        ),
        ("florence-base", "caption", "DINOX_MCP_CAPTION_MODEL: .*; did you mean florence2-base\\?"),
    ],
)
def test_a_preset_of_another_role_is_refused(name: str, role: Role, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        resolve(name, "cpu", role)


def test_a_name_without_a_role_may_be_any_preset() -> None:
    assert resolve("sam2.1-large", "cpu", None) == ModelSource(repo="facebook/sam2.1-hiera-large", role="masks")
    assert resolve("fast", "cpu", None).role == "objects"
    assert resolve("org/model", "cpu", None).role is None


def test_what_describes_is_free_of_charge_and_of_gates() -> None:
    assert {preset.licence for preset in DESCRIBING.values()} == {"Apache-2.0", "MIT"}
    assert not any(preset.gated for preset in DESCRIBING.values())


def test_onnx_runtime_runs_the_model_of_the_cpu_also_beside_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "_has_gpu", lambda: True)
    assert presets.default_model(Settings.load()) == "accurate"
    assert presets.default_model(Settings.load(runtime="onnx")) == "balanced"
