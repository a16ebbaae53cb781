from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from dinox_mcp.drawing.output import save_annotated, write_annotated
from dinox_mcp.drawing.style import Style
from dinox_mcp.errors import InputError, SettingsError
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.detection import DetectedObject
from tests.fakes import DOG, picture, png


@pytest.mark.parametrize(
    ("source", "stem"),
    [
        ("/photos/shelf 3.jpg", "shelf-3"),
        ("https://example.com/a/b.png", "b"),
        ("data:image/png…", "picture"),
        ("", "picture"),
        ("../../etc/passwd", "passwd"),
    ],
)
def test_a_file_is_named_after_its_picture_and_stays_in_the_folder(tmp_path: Path, source: str, stem: str) -> None:
    path = save_annotated(tmp_path, Picture.from_bytes(png(), source), (), Style())
    assert path.parent == tmp_path
    assert path.name.rpartition("-")[0] == stem


def test_other_drawings_are_other_files_and_the_same_is_one(tmp_path: Path) -> None:
    dog = DetectedObject(id=1, **dict(DOG))
    drawings = [
        (picture(), (), Style()),
        (picture(color="red"), (), Style()),
        (picture(), (dog,), Style()),
        (picture(), (dog,), Style(masks=False)),
    ]
    paths = [save_annotated(tmp_path, *drawing) for drawing in drawings]
    assert len(set(paths)) == 4
    assert paths == [save_annotated(tmp_path, *drawing) for drawing in drawings]
    assert {*tmp_path.iterdir()} == {*paths}


@contextmanager
def files_end_after(size: int) -> Iterator[None]:
    """Let no file grow beyond a size in bytes, as on a disk that is full."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out.jpg"
    path.write_bytes(b"before")
    with files_end_after(100), pytest.raises(InputError, match=r"cannot write .*out.jpg"):
        write_annotated(path, picture(), (), Style())
    with files_end_after(100), pytest.raises(SettingsError, match="cannot write into"):
        save_annotated(tmp_path, picture(), (), Style())
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_may_be_read_by_whom_the_user_lets(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    path = write_annotated(tmp_path / "out.jpg", picture(), (), Style())
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_folder_that_cannot_be_written_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SettingsError, match="IMAGE_STORAGE_DIRECTORY: cannot write into"):
        save_annotated(tmp_path / "file", picture(), (), Style())


@pytest.mark.parametrize(("name", "kind"), [("out.jpg", "JPEG"), ("out.JPEG", "JPEG"), ("sub/out.png", "PNG")])
def test_a_file_is_written_as_its_ending_says(tmp_path: Path, name: str, kind: str) -> None:
    with Image.open(write_annotated(tmp_path / name, picture(), (), Style())) as image:
        assert image.format == kind


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'out.tiff', which is neither JPEG nor PNG; name it .jpg or .png"):
        write_annotated(tmp_path / "out.tiff", picture(), (), Style())


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "out.jpg").mkdir()
    with pytest.raises(InputError, match=r"cannot write .*out.jpg"):
        write_annotated(tmp_path / "out.jpg", picture(), (), Style())
