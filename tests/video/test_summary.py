"""What the result says of tracks and of the answers about key frames."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from dinox_mcp.detect.answers import Answer
from dinox_mcp.detector import Detector
from dinox_mcp.settings import Settings
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Detections
from dinox_mcp.types.video import Direction, Moment, VideoResult
from dinox_mcp.video import summary
from dinox_mcp.video.summary import Answers
from tests.video.reading import record
from tests.video.tracks import SIZE, box, code, track


def test_a_note_about_some_key_frames_says_about_how_many() -> None:
    answers = Answers(calls_each=2)
    for number in range(3):
        notes = ("narrower", "not read") if number else ("narrower",)
        answers.add(number / 2, Answer(found=Detections(model="m-1", objects=(), notes=notes), cached=number == 0))
    answers.note("no sound")
    assert answers.notes() == ["narrower", "in 2 of 3 key frames: not read", "no sound"]
    assert (answers.made, answers.cached) == (4, 1)


def test_an_object_is_not_counted_while_it_is_away() -> None:
    tracker = track([code("A")], [code("A")], *[[]] * 10, [code("A")], [code("A")])
    (history,) = tracker.confirmed()
    assert history.box(0.25) == box(0)
    assert history.box(3.0) is None
    (described,) = summary.describe_tracks([history], [number / 10 for number in range(70)], SIZE)
    assert described.frames == 12
    moments = summary.timeline([history], [0.5, 3.0, 6.0], ["QR code"])
    assert [moment.counts for moment in moments] == [{"QR code": 1}, {"QR code": 0}, {"QR code": 1}]


def test_a_peak_is_the_highest_count_and_when_it_was_reached_first() -> None:
    moments = [Moment(time_s=time, counts={"car": count}) for time, count in [(0, 1), (1, 3), (2, 3), (3, 0)]]
    assert {label: (one.count, one.time_s) for label, one in summary.peaks(moments, ["car", "dog"]).items()} == {
        "car": (3, 1),
        "dog": (0, 0),
    }


@pytest.mark.parametrize(
    ("path", "direction"),
    [
        ([box(0), box(15)], "stays"),
        ([box(0), box(100), box(5)], "there and back"),
        ([box(0), box(90)], "right"),
        ([box(0, 100), box(5, 10)], "up"),
        ([box(90, 0), box(0, 90)], "down and left"),
    ],
)
def test_the_direction_of_a_path_has_a_name(path: Sequence[Box], direction: Direction) -> None:
    assert summary.direction(path) == direction


def belt(path: Path, contents: Sequence[str], blurred: int = 0) -> Path:
    """Film QR codes at one position, for half a second each; the first `blurred` frames cannot be read."""
    frames = []
    for content in contents:
        symbol = cv2.resize(cv2.QRCodeEncoder.create().encode(content), (96, 96), interpolation=cv2.INTER_NEAREST)
        frame = np.full((160, 240, 3), 255, np.uint8)
        frame[32:128, 60:156] = symbol[..., None]
        frames += [frame] * 5
    frames[:blurred] = [np.asarray(cv2.GaussianBlur(one, (0, 0), 4), np.uint8) for one in frames[:blurred]]
    return record(path, frames)


async def detect(path: Path) -> VideoResult:
    async with Detector(Settings(backend="embedded")) as detector:
        return await detector.detect_video(str(path), ["QR code"], every_s=0.25, save=False)


@pytest.mark.anyio
async def test_slides_with_one_code_each_are_as_many_tracks(tmp_path: Path) -> None:
    result = await detect(belt(tmp_path / "slides.mp4", ["A-1", "B-2", "A-1"]))
    assert [(track.text, track.first_s) for track in result.tracks] == [("A-1", 0.0), ("B-2", 0.5)]
    assert result.counts == {"QR code": 2}


@pytest.mark.anyio
async def test_a_code_that_is_blurred_at_first_has_its_content(tmp_path: Path) -> None:
    result = await detect(belt(tmp_path / "blurred.mp4", ["BOX-77"] * 2, blurred=3))
    assert [track.text for track in result.tracks] == ["BOX-77"]
