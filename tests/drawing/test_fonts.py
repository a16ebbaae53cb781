"""Fonts: those of OpenCV and Pillow, and the font files of the system."""

import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from PIL import ImageFont

from dinox_mcp.drawing import fonts

DEJAVU = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Forget which fonts are installed, before and after."""
    cached = fonts.installed_fonts  # which a test may replace
    cached.cache_clear()
    yield
    cached.cache_clear()


def test_with_opencv_4_pillow_draws_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "FontFace")
    monkeypatch.setattr(fonts, "installed_fonts", lambda: ())
    face = fonts.face_for("person")
    assert face
    assert face.draw("person", 20).getbbox()
    assert fonts.face_for("é") is None


def test_files_that_are_not_fonts_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"not a font")
    monkeypatch.setattr(fonts, "installed_fonts", lambda: (str(broken), str(tmp_path / "gone.ttf")))
    assert fonts.face_for("ชาย") is None


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_installed_fonts_exist(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert all(Path(path).is_file() for path in fonts.installed_fonts())


@pytest.mark.skipif(not DEJAVU.is_file(), reason="needs DejaVu Sans")
def test_installed_fonts_are_found() -> None:
    assert str(DEJAVU) in fonts.installed_fonts()
    assert isinstance(ImageFont.truetype(fonts.installed_fonts()[0]), ImageFont.FreeTypeFont)
