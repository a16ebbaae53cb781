import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dinox_mcp.backends import local
from dinox_mcp.backends.local.checkpoints.hub import Hub
from dinox_mcp.backends.local.checkpoints.presets import PRESETS, resolve
from dinox_mcp.cli import pull
from dinox_mcp.cli.main import main
from dinox_mcp.errors import BackendError, SettingsError, UnsupportedError
from dinox_mcp.settings import Settings
from tests.backends.local import conftest
from tests.backends.local.fakehub import COMMIT, FakeHub, serve

checkpoint = conftest.checkpoint
pytestmark = [
    pytest.mark.models,
    pytest.mark.skipif(not local.has_torch(), reason="the extra 'local' is not installed"),
]


@pytest.fixture
def fake(checkpoint: Callable[[str], Path]) -> Iterator[FakeHub]:
    """A hub with a tiny model where the preset `fast` is."""
    with serve(FakeHub()) as fake:
        fake.add("google/owlvit-base-patch32", checkpoint("owlvit"))
        yield fake


@pytest.fixture
def hub(fake: FakeHub, tmp_path: Path) -> Hub:
    return Hub(endpoint=fake.url, cache=tmp_path / "cache")


def test_a_model_is_pulled_and_named(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    pull.pull(Settings(), "fast", hub)
    first, folder, pin, hint = capsys.readouterr().out.splitlines()
    assert first == "google/owlvit-base-patch32@c0ffee0: 0 MB, Apache-2.0"
    assert (Path(folder) / "model.safetensors").is_file()
    assert pin.endswith(f"DINOX_MCP_MODEL=google/owlvit-base-patch32@{COMMIT}")
    assert hint == "to use it, set DINOX_MCP_BACKEND=local and DINOX_MCP_MODEL=fast"


def test_without_a_name_the_model_of_the_settings_is_pulled(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    pull.pull(Settings(model="fast"), None, hub)
    printed = capsys.readouterr()
    assert printed.out.startswith("google/owlvit-base-patch32@c0ffee0")
    assert "to use it" not in printed.out
    assert printed.err == ""


def test_the_default_is_the_device_s(hub: Hub, fake: FakeHub, checkpoint: Callable[[str], Path]) -> None:
    fake.add("google/owlv2-base-patch16-ensemble", checkpoint("owlv2"))
    fake.commit = str(PRESETS["balanced"].revision)
    pull.pull(Settings(device="cpu"), None, hub)
    assert any("owlv2-base-patch16-ensemble" in request.path for request in fake.requests)


def test_a_preset_whose_commit_is_known_is_pulled_at_that(
    hub: Hub, fake: FakeHub, checkpoint: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    fake.add("google/owlv2-base-patch16-ensemble", checkpoint("owlv2"))
    fake.commit = str(PRESETS["balanced"].revision)
    pull.pull(Settings(), "balanced", hub)
    assert any(f"revision/{PRESETS['balanced'].revision}" in request.path for request in fake.requests)
    assert "to stay with exactly this one" not in capsys.readouterr().out


def test_the_files_are_listed_for_a_machine_without_network(
    hub: Hub, fake: FakeHub, checkpoint: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    pull.list_files(Settings(), "fast", hub)
    first, *rows, last = capsys.readouterr().out.splitlines()
    assert first == f"google/owlvit-base-patch32@{COMMIT}: {len(rows)} files, 0 MB, Apache-2.0"
    (weights,) = (row for row in rows if "model.safetensors" in row)
    size, address, _, digest = weights.split()
    content = (checkpoint("owlvit") / "model.safetensors").read_bytes()
    assert (int(size), digest) == (len(content), hashlib.sha256(content).hexdigest())
    assert address == f"{fake.url}/google/owlvit-base-patch32/resolve/{COMMIT}/model.safetensors"
    assert last.endswith(f"dinox-mcp pull google/owlvit-base-patch32@{COMMIT} --from FOLDER")
    assert not fake.downloads(".safetensors")


def test_a_copied_folder_is_used_without_the_hub(
    fake: FakeHub, tmp_path: Path, checkpoint: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    offline = Hub(cache=tmp_path / "cache", offline=True)
    pull.pull(Settings(), "fast", offline, checkpoint("owlvit"))
    first, folder, hint = capsys.readouterr().out.splitlines()
    assert first.startswith("google/owlvit-base-patch32@copied-")
    assert Path(folder).is_relative_to(tmp_path / "cache")
    assert hint == "to use it, set DINOX_MCP_BACKEND=local and DINOX_MCP_MODEL=fast"
    assert offline.find(resolve("fast", "cpu")) == Path(folder)
    assert fake.requests == []


def test_what_describes_boxes_is_pulled_by_its_preset_s_name(
    hub: Hub, fake: FakeHub, checkpoint: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    fake.add("facebook/sam2.1-hiera-tiny", checkpoint("sam2_video"))
    pull.pull(Settings(), "sam2.1-tiny", hub)
    first, _, pin, hint = capsys.readouterr().out.splitlines()
    size = (checkpoint("sam2_video") / "model.safetensors").stat().st_size
    assert first == f"facebook/sam2.1-hiera-tiny@c0ffee0: {size / 1e6:.0f} MB, Apache-2.0"
    assert pin.endswith(f"DINOX_MCP_MASKS_MODEL=facebook/sam2.1-hiera-tiny@{COMMIT}")
    assert hint == "to use it, set DINOX_MCP_BACKEND=local and DINOX_MCP_MASKS_MODEL=sam2.1-tiny"


@pytest.mark.parametrize(
    ("kind", "variable"),
    [("vitpose", "DINOX_MCP_POSE_MODEL"), ("florence2", "DINOX_MCP_CAPTION_MODEL"), ("owlvit", "DINOX_MCP_MODEL")],
)
def test_what_a_model_is_for_is_known_when_it_is_here(
    hub: Hub,
    fake: FakeHub,
    checkpoint: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
    kind: str,
    variable: str,
) -> None:
    fake.add("org/model", checkpoint(kind))
    pull.pull(Settings(), "org/model", hub)
    assert f"to use it, set DINOX_MCP_BACKEND=local and {variable}=org/model" in capsys.readouterr().out


def test_a_model_of_another_role_is_refused_before_its_weights_are_fetched(
    hub: Hub, fake: FakeHub, checkpoint: Callable[[str], Path]
) -> None:
    fake.add("org/model", checkpoint("owlvit"))
    with pytest.raises(UnsupportedError, match=r"'owlvit' cannot be used for masks; choose sam2"):
        pull.pull(Settings(masks_model="org/model"), "org/model", hub)
    assert fake.downloads(".safetensors") == []


def test_progress_is_drawn_on_a_terminal(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    pull.pull(Settings(), "fast", hub)
    assert "downloading google/owlvit-base-patch32: 0 of 0 MB: 100%" in capsys.readouterr().err


def test_presets_are_listed_with_what_is_here(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    pull.pull(Settings(), "fast", hub)
    capsys.readouterr()
    pull.list_presets(hub)
    lines = capsys.readouterr().out.splitlines()
    assert "fast: google/owlvit-base-patch32, 613 MB, Apache-2.0, here" in lines
    assert "sam3: facebook/sam3, 3400 MB, SAM licence, gated, not here" in lines
    assert "florence2-base: florence-community/Florence-2-base, 465 MB, MIT, not here" in lines


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_pulling_again_repairs_what_is_damaged(hub: Hub, capsys: pytest.CaptureFixture[str], file: str) -> None:
    pull.pull(Settings(), "fast", hub)
    path = Path(capsys.readouterr().out.splitlines()[1]) / file
    whole = path.read_bytes()
    path.write_bytes(whole[:-8])
    pull.pull(Settings(), "fast", hub)
    assert path.read_bytes() == whole


def test_broken_weights_are_noticed_when_pulled(hub: Hub, fake: FakeHub) -> None:
    files = dict(fake.repositories["google/owlvit-base-patch32"])
    fake.add("google/owlvit-base-patch32", {**files, "model.safetensors": files["model.safetensors"][:-8]})
    with pytest.raises(BackendError, match=r"model.safetensors is broken .*; get it anew, or choose another"):
        pull.pull(Settings(), "fast", hub)


def test_an_interrupted_pull_says_that_nothing_is_lost(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Hub, "fetch", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pull.pull(Settings(), "fast", hub)
    assert "the next pull goes on from here" in capsys.readouterr().err


def test_without_torch_a_model_that_needs_it_says_so(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "find_spec", lambda _name: None)
    pull.pull(Settings(), "fast", hub)
    assert "to run it, install the extra 'local'" in capsys.readouterr().out  # a tiny model, of which is no graph


def test_unknown_models_are_wrong_usage(hub: Hub) -> None:
    with pytest.raises(SettingsError, match=r"did you mean fast"):
        pull.pull(Settings(), "fats", hub)


@pytest.mark.parametrize(
    ("arguments", "status", "out", "err"),
    [
        (["--list"], 0, "balanced: google/owlv2", ""),
        (["fats", "--files"], 2, "", "dinox-mcp: DINOX_MCP_MODEL: 'fats' is not a model"),
        (["fast", "--from", "nowhere"], 1, "", "dinox-mcp: nowhere is not a folder"),
        (["fats"], 2, "", "dinox-mcp: DINOX_MCP_MODEL: 'fats' is not a model"),
    ],
)
def test_the_command_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, out: str, err: str
) -> None:
    stopped = 0
    try:
        main(["pull", *arguments])
    except SystemExit as stop:
        stopped = int(stop.code or 0)
    printed = capsys.readouterr()
    assert stopped == status
    assert printed.out.startswith(out)
    assert printed.err.startswith(err)
