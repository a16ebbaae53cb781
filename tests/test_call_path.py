"""A call stays short enough to be followed: how many modules and functions of the package it runs through."""

import sys
from pathlib import Path
from types import FrameType

import pytest

import dinox_mcp
from dinox_mcp.detector import Detector
from dinox_mcp.settings import Settings
from tests.fakes import FakeBackend, png

PACKAGE = str(Path(dinox_mcp.__file__).parent)
MODULES, FUNCTIONS = 12, 50


@pytest.mark.anyio
async def test_a_call_runs_through_few_modules_and_functions(tmp_path: Path) -> None:
    """The second call is counted, without what runs once, and without the thread that decodes the image."""
    called: set[tuple[str, str]] = set()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGE) and not code.co_name.startswith("<"):
            called.add((code.co_filename, code.co_qualname))

    async def progress(_fraction: float, _message: str) -> None:
        pass

    for name, size in (("first.png", 40), ("second.png", 50)):
        (tmp_path / name).write_bytes(png(size, size))
    async with Detector(Settings.load(backend="fake"), [FakeBackend()]) as detector:
        await detector.detect(str(tmp_path / "first.png"), ["dog"], progress=progress)
        before = sys.getprofile()
        sys.setprofile(note)
        try:
            result = await detector.detect(str(tmp_path / "second.png"), ["dog"], progress=progress)
        finally:
            sys.setprofile(before)
    assert result.counts["dog"] == 1
    modules = {Path(file).relative_to(PACKAGE).as_posix() for file, _ in called}
    assert {"detector.py", "detect/pipeline.py", "store/results.py"} <= modules
    assert len(modules) <= MODULES, sorted(modules)
    assert len(called) <= FUNCTIONS, sorted(name for _, name in called)
