"""ONNX Runtime collects nothing: without `runtime.py`, these programs leave a device id in the cache folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]

OBJECTS = """
from PIL import Image
from dinox_mcp.backends.embedded.networks.objects import QUICK, ObjectDetector
assert ObjectDetector().detect(Image.new("RGB", (64, 64)), QUICK, 0.5, 0.5) == []
"""
TEXT = """
import numpy as np
from dinox_mcp.backends.embedded import models
assert models.Model(models.TURNS)(np.zeros((1, 3, 48, 192), np.float32)).shape == (1, 2)
"""
THREAD = f"""
import threading
thread = threading.Thread(target=exec, args=({OBJECTS!r}, {{}}))
thread.start()
thread.join()
"""


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
