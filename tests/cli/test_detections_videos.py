"""`dinox-mcp detect clip.mp4`, with the embedded backend, which needs nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from dinox_mcp.cli.detect import is_video, split_arguments
from tests.cli.conftest import run
from tests.video.scenes import write_film


def film(path: Path, number: int) -> Path:
    """Film a QR code that moves to the right, again and again, 10 frames a second."""
    code = cv2.resize(cv2.QRCodeEncoder.create().encode("parcel"), (120, 120), interpolation=cv2.INTER_NEAREST)
    frames = []
    for left in range(30, 230, 10):
        frame = np.full((240, 400, 3), 255, np.uint8)
        frame[60:180, left : left + 120] = code[..., None]
        frames.append(frame)
    return write_film(path, [frames[at % 20] for at in range(number)], [at / 10 for at in range(number)])


@pytest.fixture
def ctrl_c_is_heard() -> Iterator[None]:
    """Let processes that a test starts receive SIGINT, which a shell turns off for what it runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def belt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("belt") / "belt.mp4", 20)


@pytest.fixture(autouse=True)
def folder(belt: Path, tmp_path: Path) -> Path:
    """Put the film into the folder in which the command line runs."""
    shutil.copy(belt, tmp_path)
    return tmp_path


def test_a_table_of_tracks_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "detect", "belt.mp4", "QR code", "--every", "1")
    assert status == 0
    assert "QR code         0:00.0  0:01.9           3  right" in out
    assert "1 QR code (at most 1 at once, first at 0:00.0)" in out
    assert "3 calls, 0 key frames from the cache" in out
    assert "at most 3 calls to the backend embedded" in err


def test_files_go_into_a_folder(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    status, out, _ = run(capsys, "detect", "belt.mp4", "QR code", "--out", "found", "--max-calls", "2", "--json")
    answer = json.loads(out)
    assert status == 0
    assert answer["calls"] == {"planned": 2, "made": 2, "memory": 0}
    assert sorted(path.name for path in (folder / "found").iterdir()) == [
        "belt-annotated.mp4",
        "belt-frames.jsonl",
        "belt-sheet.jpg",
        "belt-tracks.json",
    ]
    assert answer["files"]["video"] == str(folder / "found" / "belt-annotated.mp4")


def test_a_page_shows_the_contact_sheet_and_the_tracks(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    status, _, err = run(capsys, "detect", "belt.mp4", "QR code", "--every", "1", "--out", "found", "--html", "p.html")
    assert status == 0
    assert "page: p.html" in err
    page = (folder / "p.html").read_text()
    assert '"source": "belt.mp4"' in page
    assert str(folder) not in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["belt.mp4", "QR code", "--out", "found.mp4"], "--out found.mp4 is not a folder"),
        (["belt.mp4", "photo.jpg", "QR code"], "images and videos need separate requests"),
        (["belt.mp4", "--describe", "the left code"], "--describe: not for videos"),
        (["belt.mp4", "QR code", "--open"], "name a folder for it with --out"),
        (["belt.mp4", "QR code", "--every", "-1"], "is not a number from 0 to 3600"),
    ],
)
def test_wrong_usage_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "detect", *words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_masks_need_a_backend_that_follows_them(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "detect", "belt.mp4", "QR code", "--masks", "--out", "found")
    assert status == 1
    assert "the backend embedded cannot follow masks through a video; the backend local can" in err


def test_one_bad_video_does_not_stop_the_others(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "broken.mp4").write_text("no video")
    status, out, err = run(capsys, "detect", "broken.mp4", "belt.mp4", "QR code", "--max-calls", "1")
    assert status == 1
    assert "broken.mp4' is not a video" in err
    assert "1 QR code" in out


@pytest.mark.slow
def test_no_file_is_written_over_a_source_or_another(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    source = (folder / "belt.mp4").read_bytes()
    (other / "belt.mp4").write_bytes(source)
    (folder / "belt-annotated.mp4").write_bytes(source)
    words = ["belt.mp4", "other/belt.mp4", "belt-annotated.mp4", "QR code", "--out", ".", "--max-calls", "1"]
    assert run(capsys, "detect", *words)[0] == 0
    assert (folder / "belt-annotated.mp4").read_bytes() == source
    assert {path.name for path in folder.glob("*-annotated.mp4")} == {
        "belt-annotated.mp4",
        "belt-2-annotated.mp4",
        "belt-3-annotated.mp4",
        "belt-annotated-annotated.mp4",
    }


def test_what_ends_like_a_video_is_one() -> None:
    assert split_arguments(["clip.MP4", "person", "https://example.com/clip.webm?x=1"]) == (
        ["clip.MP4", "https://example.com/clip.webm?x=1"],
        ["person"],
    )
    assert [is_video(word) for word in ("clip.MP4", "https://example.com/clip.webm?x=1", "photo.jpg")] == [
        True,
        True,
        False,
    ]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no signal that means Ctrl-C for one process")
@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_ctrl_c_prints_the_result_so_far(folder: Path) -> None:
    film(folder / "long.mp4", 600)  # which takes much longer than what comes before the signal
    command = [sys.executable, "-m", "dinox_mcp", "detect", "long.mp4", "QR code", "--out", "found", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603
        wait_for(folder / "found", process)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    answer = json.loads(out)
    assert answer["complete"] is False
    assert 0 < answer["calls"]["made"] < 60


def wait_for(folder: Path, process: subprocess.Popen[str]) -> None:
    """Wait until something is written into a folder, under whatever name it has until it is complete."""
    while process.poll() is None and not any(path.stat().st_size for path in folder.glob("*")):
        time.sleep(0.05)
