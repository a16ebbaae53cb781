from pathlib import Path

import pytest
from PIL import Image

from dinox_mcp.drawing.style import Style
from dinox_mcp.errors import InputError, SettingsError
from dinox_mcp.images.picture import Picture
from dinox_mcp.output import save_annotated, write_annotated
from tests.fakes import picture, png


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/photos/shelf 3.jpg", "shelf-3-annotated.jpg"),
        ("https://example.com/a/b.png", "b-annotated.jpg"),
        ("data:image/png…", "picture-annotated.jpg"),
        ("", "picture-annotated.jpg"),
        ("../../etc/passwd", "passwd-annotated.jpg"),
    ],
)
def test_a_file_is_named_after_its_picture_and_stays_in_the_folder(tmp_path: Path, source: str, name: str) -> None:
    path = save_annotated(tmp_path, Picture.from_bytes(png(), source), (), Style())
    assert path.parent == tmp_path
    assert path.name == name


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    paths = [save_annotated(tmp_path, picture(), (), Style()) for _ in range(3)]
    assert len(set(paths)) == 3


def test_a_folder_that_cannot_be_written_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SettingsError, match="IMAGE_STORAGE_DIRECTORY: cannot write into"):
        save_annotated(tmp_path / "file", picture(), (), Style())


@pytest.mark.parametrize(("name", "kind"), [("out.jpg", "JPEG"), ("out.JPEG", "JPEG"), ("sub/out.png", "PNG")])
def test_a_file_is_written_as_its_ending_says(tmp_path: Path, name: str, kind: str) -> None:
    with Image.open(write_annotated(tmp_path / name, picture(), (), Style())) as image:
        assert image.format == kind


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'out.tiff': name it .jpg or .png"):
        write_annotated(tmp_path / "out.tiff", picture(), (), Style())


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "out.jpg").mkdir()
    with pytest.raises(InputError, match=r"cannot write .*out.jpg"):
        write_annotated(tmp_path / "out.jpg", picture(), (), Style())
