"""`dinox-mcp export` as a person or a program runs it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import run


def names(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def test_each_object_becomes_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "export", "one.png", "two.png", "QR code", "--as", "crops", "--to", "out/crops")
    assert (status, err) == (0, "")
    assert names("out/crops") == ["one-1-QR_code.jpg", "two-1-QR_code.jpg"]
    assert f"Files in {Path('out/crops').absolute()}: 1" in out


@pytest.mark.slow
def test_a_redacted_code_cannot_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    for method in ("fill", "blur", "pixelate"):
        run(capsys, "export", "one.png", "QR code", "--as", "redacted", "--to", method, "--method", method)
        status, out, _ = run(capsys, "detect", "--json", f"{method}/one-redacted.png", "QR code")
        assert status == 0
        assert json.loads(out)["objects"] == []
    with Image.open("fill/one-redacted.png") as copy:
        assert (np.asarray(copy.convert("L")) == 0).mean() > 0.5


def test_labels_of_all_images_are_written_together(capsys: pytest.CaptureFixture[str]) -> None:
    command = ("export", "one.png", "two.png", "blank.png", "QR code", "--to", "labels", "--as")
    assert run(capsys, *command, "yolo")[0] == 0
    assert run(capsys, *command, "coco")[0] == 0
    assert names("labels") == ["blank.txt", "classes.txt", "coco.json", "one.txt", "two.txt"]
    assert Path("labels/blank.txt").read_text() == ""
    assert len(json.loads(Path("labels/coco.json").read_text())["images"]) == 3


@pytest.mark.slow
def test_json_is_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "export", "one.png", "--as", "csv", "--to", "out", "--json")
    assert status == 0
    assert json.loads(out) == {
        "format": "csv",
        "folder": str(Path("out").absolute()),
        "files": ["one-objects.csv"],
        "counts": {"QR code": 1},
        "notes": [],
    }


def test_nothing_is_overwritten_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir()
    Path("out/one-redacted.png").write_bytes(b"mine")
    command = ("export", "one.png", "QR code", "--as", "redacted", "--to", "out")
    status, _, err = run(capsys, *command)
    assert status == 1
    assert "one-redacted.png would be overwritten" in err
    assert "(--overwrite)" in err
    assert Path("out/one-redacted.png").read_bytes() == b"mine"
    assert run(capsys, *command, "--overwrite")[0] == 0
    assert Path("out/one-redacted.png").read_bytes() != b"mine"


def test_one_bad_image_does_not_stop_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    command = ("export", "broken.png", "blank.png", "one.png", "QR code", "--as", "redacted", "--to", "out")
    status, _, err = run(capsys, *command)
    assert status == 1
    assert "broken.png" in err
    assert "blank.png: the result has no objects, so a redacted copy would show everything" in err
    assert names("out") == ["one-redacted.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one.png", "--as", "csv"], "--to"),
        (["one.png", "--to", "out"], "--as"),
        (["one.png", "--as", "tfrecord", "--to", "out"], "invalid choice: 'tfrecord'"),
        (["one.png", "--as", "csv", "--to", ""], "an argument is empty"),
        (["QR code", "--as", "csv", "--to", "out"], "'QR code' is an image"),
        (["clip.mp4", "--as", "csv", "--to", "out"], "'clip.mp4' is a video"),
        (["one.png", "--as", "crops", "--to", "out", "--padding", "11"], "'11' is not a number from 0 to 10"),
    ],
)
def test_wrong_usage_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    status, _, err = run(capsys, "export", *arguments)
    assert status == 2
    assert message in err
    assert len(err.splitlines()) == 1
