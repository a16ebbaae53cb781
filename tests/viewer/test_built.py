"""The built page is the one that its sources make, is small, and asks nobody for anything."""

import hashlib
import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dinox_mcp.viewer.page import FILE

ROOT = Path(__file__).parents[2]
VIEWER = ROOT / "viewer"
BUILT = [FILE, Path(__file__).with_name("host.html")]


def sources() -> str:
    """Hash what the pages are built of, as viewer/build.mjs does."""
    files = [VIEWER / name for name in ("build.mjs", "package.json", "package-lock.json")]
    files += [file for folder in ("src", "host") for file in (VIEWER / folder).iterdir()]
    digest = hashlib.sha256()
    for file in sorted(files, key=str):
        text = file.read_bytes().decode().replace("\r\n", "\n")
        digest.update(f"{file.relative_to(VIEWER).as_posix()}\0{text}\0".encode())
    return digest.hexdigest()


@pytest.mark.parametrize("file", BUILT, ids=lambda file: file.name)
def test_it_is_not_stale(file: Path) -> None:
    assert f"sources: {sources()} " in file.read_text()[:200], "run `npm ci && npm run build` in viewer/"


@pytest.mark.slow
def test_building_it_again_makes_the_same() -> None:
    node = shutil.which("node")
    if node is None or not (VIEWER / "node_modules" / "rolldown").exists():
        pytest.skip("Node or viewer/node_modules is not there (npm ci in viewer/)")
    command = [node, "build.mjs", "--check"]
    run = subprocess.run(command, cwd=VIEWER, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603
    assert run.returncode == 0, run.stderr


def test_it_is_small() -> None:
    assert FILE.stat().st_size < 300_000


def test_nothing_in_it_is_loaded_from_elsewhere() -> None:
    page = FILE.read_text()
    markup = re.sub(r"<script>.*?</script>|<style>.*?</style>", "", page, flags=re.DOTALL)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style
    assert not re.search(r"\bsrc=|<link|href=|<iframe|<object", markup)
    assert not re.search(r"url\(|@import", style[1])
    assert page.count("</script>") == 1


def test_it_draws_with_the_colours_and_bones_of_the_package() -> None:
    spec = importlib.util.spec_from_file_location("shared", VIEWER / "shared.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    import json

    assert json.loads(module.FILE.read_text()) == module.shared(), "run `python viewer/shared.py`, then build"
