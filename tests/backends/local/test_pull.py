from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dinox_mcp.backends.local import extra, pull
from dinox_mcp.backends.local.hub import Hub
from dinox_mcp.cli import main
from dinox_mcp.errors import BackendError, SettingsError, UnsupportedError
from dinox_mcp.settings import Settings
from tests.backends.local.fakehub import COMMIT, FakeHub, serve


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
    pull.pull(Settings(device="cpu"), None, hub)
    assert any("owlv2-base-patch16-ensemble" in request.path for request in fake.requests)


def test_progress_is_drawn_on_a_terminal(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    pull.pull(Settings(), "fast", hub)
    assert "google/owlvit-base-patch32: 100%" in capsys.readouterr().err


def test_presets_are_listed_with_what_is_here(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    pull.pull(Settings(), "fast", hub)
    capsys.readouterr()
    pull.list_presets(hub)
    lines = capsys.readouterr().out.splitlines()
    assert "fast: google/owlvit-base-patch32, 613 MB, Apache-2.0, here" in lines
    assert "sam3: facebook/sam3, 3400 MB, SAM licence, gated, not here" in lines


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
    with pytest.raises(
        BackendError, match=r"model.safetensors is broken as its authors published it .*; choose another"
    ):
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


def test_without_the_extra_it_says_what_to_install(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "find_spec", lambda _name: None)
    with pytest.raises(UnsupportedError, match=r"pip install 'dinox-mcp\[local\]'"):
        pull.pull(Settings(), "fast", hub)


def test_unknown_models_are_wrong_usage(hub: Hub) -> None:
    with pytest.raises(SettingsError, match=r"did you mean fast"):
        pull.pull(Settings(), "fats", hub)


@pytest.mark.parametrize(
    ("arguments", "status", "out", "err"),
    [
        (["--list"], 0, "balanced: google/owlv2", ""),
        (["fats"], 2, "", "dinox-mcp: DINOX_MCP_MODEL: 'fats' is no model"),
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
