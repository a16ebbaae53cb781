"""Files in a folder: complete or not at all, none over another one unasked, none through a link."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from dinox_mcp.errors import BusyError, ForbiddenError, InputError
from dinox_mcp.export import output
from dinox_mcp.export.options import Exported, Format
from dinox_mcp.export.output import parse_folder, write
from dinox_mcp.export.plan import Plan
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from tests.drawing.test_output import files_end_after
from tests.export.conftest import OBJECTS, result_of
from tests.fakes import picture

CAT, TEXT, CAR = OBJECTS
SETTINGS = Settings()


def export(
    folder: Path,
    export_format: Format = "crops",
    photo: Picture | None = None,
    *,
    overwrite: bool = False,
    settings: Settings = SETTINGS,
    objects: Sequence[int] = (),
) -> Exported:
    plan = Plan([result_of(*OBJECTS)], {"r1": photo or picture(100, 80)}, export_format, {"objects": objects})
    return write(plan, folder, settings, overwrite=overwrite)


def test_a_folder_is_made_and_files_are_named_after_image_number_and_label(tmp_path: Path) -> None:
    done = export(tmp_path / "new" / "folder")
    assert done.folder == tmp_path / "new" / "folder"
    assert done.files == ("cat 1-1-cat.jpg", "cat 1-2-text.jpg", "cat 1-3-red_car.jpg")
    assert sorted(path.name for path in done.folder.iterdir()) == sorted(done.files)


def test_nothing_is_written_if_one_file_exists(tmp_path: Path) -> None:
    (tmp_path / "cat 1-2-text.jpg").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"^cat 1-2-text.jpg would be overwritten in .*; allow it by overwrite=true"):
        export(tmp_path)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"mine"]


def test_overwriting_has_to_be_allowed(tmp_path: Path) -> None:
    (tmp_path / "cat 1-2-text.jpg").write_bytes(b"mine")
    export(tmp_path, overwrite=True)
    assert (tmp_path / "cat 1-2-text.jpg").read_bytes().startswith(b"\xff\xd8")


@pytest.mark.parametrize("target", ["precious.txt", "missing.txt"])
def test_a_link_is_a_file_that_exists_and_is_never_followed(tmp_path: Path, target: str) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    folder.mkdir()
    (outside / "precious.txt").write_bytes(b"mine")
    (folder / "cat 1-2-text.jpg").symlink_to(outside / target)
    with pytest.raises(InputError, match="would be overwritten"):
        export(folder)
    export(folder, overwrite=True)
    assert not (folder / "cat 1-2-text.jpg").is_symlink()
    assert [path.name for path in outside.iterdir()] == ["precious.txt"]
    assert (outside / "precious.txt").read_bytes() == b"mine"


def test_a_folder_that_is_reached_by_a_link_is_reported_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert export(tmp_path / "link").folder == tmp_path / "real"


def test_a_full_disk_leaves_no_half_of_a_file(tmp_path: Path) -> None:
    with files_end_after(100), pytest.raises(InputError, match="after 0 of 3 files; choose another folder"):
        export(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write into .*file .*; choose another folder"):
        export(tmp_path / "file")


def test_with_allowed_folders_no_other_is_written(tmp_path: Path) -> None:
    allowed, other = tmp_path / "allowed", tmp_path / "other"
    settings = Settings(allowed_folders=(allowed,), output_folder=tmp_path / "saved")
    allowed.mkdir()
    other.mkdir()
    (allowed / "way-out").symlink_to(other)
    for folder in (other, allowed / ".." / "other", allowed / "way-out", tmp_path):
        with pytest.raises(ForbiddenError, match="outside the allowed folders"):
            export(folder, settings=settings)
    assert list(other.iterdir()) == []
    assert export(allowed / "crops", settings=settings).folder == allowed / "crops"
    assert export(tmp_path / "saved", settings=settings).folder == tmp_path / "saved"


def test_labels_of_further_images_fit_the_classes_of_the_folder(tmp_path: Path) -> None:
    export(tmp_path, "yolo", objects=[2])
    (tmp_path / "cat 1.txt").rename(tmp_path / "first.txt")
    done = export(tmp_path, "yolo")
    assert (tmp_path / "classes.txt").read_text().splitlines() == ["text", "cat", "red car"]
    assert [line.split()[0] for line in (tmp_path / "cat 1.txt").read_text().splitlines()] == ["1", "0", "2"]
    assert "classes.txt was there: its classes keep their numbers" in done.notes


def test_a_folder_whose_classes_another_process_writes_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "_PATIENCE_S", 0.05)
    with output._locked(tmp_path), pytest.raises(BusyError, match="another call writes labels into"):
        export(tmp_path, "yolo")
    assert list(tmp_path.iterdir()) == []
    assert "classes.txt" in export(tmp_path, "yolo").files


def test_classes_that_an_editor_saved_with_a_mark_of_utf_8_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("cat\r\n", encoding="utf-8-sig")
    export(tmp_path, "yolo", objects=[1])
    assert (tmp_path / "classes.txt").read_text().splitlines() == ["cat"]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * 1_000_001], ids=["no text", "huge"])
def test_what_is_no_list_of_classes_is_not_touched(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "classes.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"classes\.txt is .*; choose another folder"):
        export(tmp_path, "yolo", overwrite=True)
    assert (tmp_path / "classes.txt").read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 1


def test_classes_are_not_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "classes.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="is not a list of classes"):
        export(folder, "yolo", overwrite=True)


@pytest.mark.parametrize(
    "text",
    ["crops", "./crops", "//server/share", "\\\\server\\share", "", "/tmp/a\nb", "~nobody-of-this-name/x"],  # noqa: S108
)
def test_a_folder_is_a_full_path_on_this_machine(text: str) -> None:
    with pytest.raises(InputError, match="; pass "):
        parse_folder(text)


def test_a_folder_in_the_home_is_a_full_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert parse_folder("~/crops") == tmp_path / "crops"
