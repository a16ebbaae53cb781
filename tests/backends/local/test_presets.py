import re
from pathlib import Path

import pytest

from dinox_mcp.backends.local.presets import PRESETS, DeviceKind, ModelSource, resolve
from dinox_mcp.errors import SettingsError

DOCUMENT = Path(__file__).parents[3] / "docs" / "local.md"


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
    assert resolve(name, device) == ModelSource(repo=repo)


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
        ("blanced", "DINOX_MCP_MODEL: 'blanced' is no model; did you mean balanced\\?; choose one of balanced, fast,"),
        ("/not/here", "'/not/here' is no model; choose one of .* or a folder that exists"),
        ("org/model@", "owner/name@revision"),
        ("../model", "is no model"),
        ("a/b/c", "is no model"),
    ],
)
def test_what_is_no_model_says_what_is_one(name: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        resolve(name, "cpu")


def test_only_gated_models_have_another_licence() -> None:
    assert {name for name, preset in PRESETS.items() if preset.licence != "Apache-2.0"} == {"sam3"}
    assert {name for name, preset in PRESETS.items() if preset.gated} == {"sam3"}


def test_the_document_tells_of_every_preset_what_the_program_knows() -> None:
    rows = {row[1]: row[0] for row in re.finditer(r"^\| `([\w-]+)` \|.*$", DOCUMENT.read_text("utf-8"), re.MULTILINE)}
    for name, preset in PRESETS.items():
        for fact in (preset.repo, preset.licence, f"{preset.megabytes} MB", preset.accuracy, preset.cost):
            assert fact in rows[name]
