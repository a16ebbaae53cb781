"""What is said when a file of this package is missing or damaged."""

import json
import shutil
from pathlib import Path

import pytest

from dinox_mcp.backends.embedded.networks import runtime
from dinox_mcp.backends.embedded.networks.runtime import Network
from dinox_mcp.errors import BackendError

FILE = "blazeface-back.onnx"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the networks be loaded from a copy of their folder that holds one of them."""
    for name in (FILE, "manifest.json"):
        shutil.copy(str(runtime._folder() / name), tmp_path)
    monkeypatch.setattr(runtime, "_folder", lambda: tmp_path)
    return tmp_path


def test_every_network_that_is_listed_loads() -> None:
    listed = json.loads((runtime._folder() / "manifest.json").read_bytes())
    assert len(listed) == 5
    for file in listed:
        assert Network(file.removesuffix(".onnx"))


def test_a_file_that_was_cut_short_is_told_with_both_sizes(folder: Path) -> None:
    whole = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(whole[:1000])
    with pytest.raises(BackendError, match=rf"{FILE} has 1000 bytes instead of {len(whole)}; reinstall it: pip inst"):
        Network("blazeface-back")


def test_a_damaged_file_of_the_right_size_does_not_load(folder: Path) -> None:
    (folder / FILE).write_bytes(b"\xff" * (folder / FILE).stat().st_size)
    with pytest.raises(BackendError, match=rf"{FILE} does not load .*; reinstall it"):
        Network("blazeface-back")


def test_a_missing_file_is_told_with_the_remedy(folder: Path) -> None:
    (folder / FILE).unlink()
    with pytest.raises(BackendError, match=rf"{FILE} is missing \(\d+ bytes\); reinstall it"):
        Network("blazeface-back")


@pytest.mark.parametrize("damaged", [b"", b"{}", b"[]", b'{"blazeface-back.onnx": 7}'])
def test_a_damaged_list_is_told_with_the_remedy(folder: Path, damaged: bytes) -> None:
    (folder / "manifest.json").write_bytes(damaged)
    with pytest.raises(BackendError, match=r"manifest\.json does not report the size of blazeface-back\.onnx .*reinst"):
        Network("blazeface-back")
