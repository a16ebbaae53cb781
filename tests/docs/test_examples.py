"""The Python in the documents runs, on the emulated cloud; that of the README in test_readme.py, as pasted."""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dinox_mcp.detector import Detector
from dinox_mcp.settings import Settings
from tests.emulator import Emulator
from tests.video.scenes import Scene, Thing, line

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
PAGES = {
    page.stem: page.read_text()
    for page in (ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
    if "```python" in page.read_text() and page.stem != "api"  # its examples are parts, in docstrings
}
_FENCED = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in a folder with two photographs and a film, with a key of the emulated cloud."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DINOX_API_KEY", emulator.key)
    monkeypatch.setenv("DINOX_API_BASE_URL", emulator.url)
    monkeypatch.setenv("DINOX_MCP_PROMPTS_FOLDER", str(tmp_path / "prompts"))
    monkeypatch.setenv("DINOX_MCP_JOBS_FOLDER", str(tmp_path / "jobs"))
    with Image.open(ROOT / "examples" / "sample.png") as sample:
        for name in ("photo.jpg", "other.jpg"):
            sample.convert("RGB").crop((80, 80, 420, 400)).save(name)
    Scene([Thing("car", line(100, 100, 60))], seconds=1.0).film(tmp_path / "clip.mp4")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
async def test_the_python_of_a_page_runs_from_top_to_bottom(page: str) -> None:
    async with Detector() as detector:
        known: dict[str, Any] = {"__name__": page} | {"Detector": Detector, "Settings": Settings, "detector": detector}
        for block in _FENCED.findall(PAGES[page]):
            code = compile(block, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if code.co_flags & inspect.CO_COROUTINE:
                await eval(code, known)  # noqa: S307 - our own documents
            else:
                exec(code, known)  # noqa: S102 - our own documents


def test_the_backend_on_its_page_is_the_one_in_the_examples() -> None:
    first = _FENCED.findall(PAGES["plugins"])[0]
    assert first == (ROOT / "examples" / "plugin" / "color_backend.py").read_text()
