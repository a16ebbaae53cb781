"""Errors of missing and damaged files; and that ONNX Runtime sends and stores nothing."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dinox_mcp.backends.embedded import runtime
from dinox_mcp.backends.embedded.runtime import Network
from dinox_mcp.errors import BackendError

FILE = "blazeface-back.onnx"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the networks be loaded from a copy of their folder that holds one of them."""
    for name in (FILE, "manifest.json"):
        shutil.copy(runtime.FOLDER / name, tmp_path)
    monkeypatch.setattr(runtime, "FOLDER", tmp_path)
    return tmp_path


def test_every_network_that_is_listed_loads() -> None:
    listed = json.loads((runtime.FOLDER / "manifest.json").read_bytes())
    assert len(listed) == 5
    for file in listed:
        assert Network(file.removesuffix(".onnx"))


def test_a_file_that_was_cut_short_names_both_sizes(folder: Path) -> None:
    content = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(content[:1000])
    with pytest.raises(BackendError, match=rf"{FILE} has 1000 bytes instead of {len(content)}; reinstall it: pip inst"):
        Network("blazeface-back")


def test_a_damaged_file_of_the_right_size_does_not_load(folder: Path) -> None:
    (folder / FILE).write_bytes(b"\xff" * (folder / FILE).stat().st_size)
    with pytest.raises(BackendError, match=rf"{FILE} does not load .*; reinstall it"):
        Network("blazeface-back")


def test_a_missing_file_names_the_remedy(folder: Path) -> None:
    (folder / FILE).unlink()
    with pytest.raises(BackendError, match=rf"{FILE} is missing; reinstall it"):
        Network("blazeface-back")


@pytest.mark.parametrize("damaged", [b"", b"{}", b"[]", b'{"blazeface-back.onnx": 7}'])
def test_a_damaged_list_names_the_remedy(folder: Path, damaged: bytes) -> None:
    (folder / "manifest.json").write_bytes(damaged)
    with pytest.raises(BackendError, match=r"manifest\.json does not report the size of blazeface-back\.onnx .*reinst"):
        Network("blazeface-back")


# Telemetry: without `runtime.py`, these programs leave a device id in the cache folder

ROOT = Path(__file__).parents[3]

OBJECTS = """
from PIL import Image
from dinox_mcp.backends.embedded.objects import QUICK, ObjectDetector
assert ObjectDetector().detect(Image.new("RGB", (64, 64)), QUICK, 0.5, 0.5) == []
"""
TEXT = """
import numpy as np
from dinox_mcp.backends.embedded import text_lines
assert text_lines.Model(text_lines.TURNS)(np.zeros((1, 3, 48, 192), np.float32)).shape == (1, 2)
"""
THREAD = f"""
import threading
thread = threading.Thread(target=exec, args=({OBJECTS!r}, {{}}))
thread.start()
thread.join()
"""


@pytest.mark.slow
@pytest.mark.parametrize("program", [OBJECTS, TEXT, THREAD], ids=["objects", "text", "thread"])
def test_no_file_is_left_in_the_home_of_the_user(tmp_path: Path, program: str) -> None:
    # Nothing in this environment says that the program is a test or that telemetry is unwanted.
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    folders = dict.fromkeys(("HOME", "USERPROFILE", "LOCALAPPDATA"), str(tmp_path))
    environment = kept | folders | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT, env=environment
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
