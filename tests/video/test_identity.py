"""What is read exactly decides which track a box belongs to."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from dinox_mcp.detector import Detector
from dinox_mcp.settings import Settings
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Detection
from dinox_mcp.types.video import VideoResult
from dinox_mcp.video import summary
from dinox_mcp.video.tracking import Tracker
from tests.video.reading import record

SIZE = (1000, 300)


def box(x: float) -> Box:
    return x, 100, x + 40, 140


def code(text: str | None, x: float = 0, label: str = "QR code") -> Detection:
    return Detection(label=label, bbox=box(x), text=text)


def marker(number: int, x: float = 0) -> Detection:
    return Detection(label="marker", bbox=box(x), score=0.95, text=f"DICT_4X4_50 id {number}")


def track(*keys: Sequence[Detection], every_s: float = 0.5) -> Tracker:
    tracker = Tracker(every_s)
    for number, found in enumerate(keys):
        tracker.step(number * every_s, found, lambda boxes: np.ones((len(boxes), 1)))
        tracker.settle(number - tracker.patience)
    tracker.settle(len(keys))
    return tracker


def told(tracker: Tracker) -> list[tuple[str | None, float, float]]:
    times = [number / 10 for number in range(200)]
    return [(one.text, one.first_s, one.last_s) for one in summary.tracks(tracker.trails(), times, 0.25, SIZE)]


@pytest.mark.parametrize(("first", "second"), [(code("A"), code("B")), (marker(1), marker(2))])
def test_two_contents_at_one_place_are_two_tracks(first: Detection, second: Detection) -> None:
    tracker = track([first], [first], [second], [second])
    assert told(tracker) == [(first.text, 0.0, 0.5), (second.text, 1.0, 1.5)]


def test_contents_that_change_places_between_key_frames_keep_their_tracks() -> None:
    tracker = track([code("A", 0), code("B", 60)], [code("A", 60), code("B", 0)])
    assert told(tracker) == [("A", 0.0, 0.5), ("B", 0.0, 0.5)]


@pytest.mark.parametrize("away", [2, 10])
def test_a_content_that_comes_back_elsewhere_is_the_same_thing(away: int) -> None:
    tracker = track([code("A")], *[[]] * away, [code("A", 700)], [code("A", 710)])
    assert told(tracker) == [("A", 0.0, (away + 2) * 0.5)]


def test_a_thing_is_nowhere_while_it_is_away() -> None:
    tracker = track([code("A")], [code("A")], *[[]] * 10, [code("A")], [code("A")])
    (trail,) = tracker.trails()
    assert trail.box(0.25, 0.25) == box(0)
    assert trail.box(3.0, 0.25) is None
    (described,) = summary.tracks([trail], [number / 10 for number in range(70)], 0.25, SIZE)
    assert described.frames == 12
    assert [moment.counts for moment in summary.timeline([trail], [0.5, 3.0, 6.0], 0.25, ["QR code"])] == [
        {"QR code": 1},
        {"QR code": 0},
        {"QR code": 1},
    ]


def test_equal_contents_side_by_side_are_as_many_things() -> None:
    tracker = track(*[[code("A", 0), code("A", 300)]] * 3)
    assert told(tracker) == [("A", 0.0, 1.0), ("A", 0.0, 1.0)]


def test_a_track_has_the_content_that_was_read_later() -> None:
    assert told(track([code(None)], [code(None, 5)], [code("A", 10)], [code(None, 15)])) == [("A", 0.0, 1.5)]


def test_what_comes_back_unread_and_is_read_then_is_one_thing() -> None:
    tracker = track([code("A")], *[[]] * 10, [code(None, 300)], [code(None, 305)], [code("A", 310)])
    assert told(tracker) == [("A", 0.0, 6.5)]


def test_a_number_that_was_drawn_before_the_content_was_read_is_known() -> None:
    tracker = track([code("A")], *[[]] * 10, *[[code(None, 300)]] * 8, [code("A", 300)])
    assert told(tracker) == [("A", 0.0, 9.5)]
    assert tracker.renumbered == [(2, 1)]


def test_text_that_is_recognized_is_no_identity() -> None:
    lines = [
        Detection(label="text", bbox=box(0), score=score, text=text) for score, text in [(0.7, "EXlT"), (0.9, "EXIT")]
    ]
    assert told(track([lines[0]], [lines[1]], [lines[0]])) == [("EXIT", 0.0, 1.0)]


def belt(path: Path, contents: Sequence[str], blurred: int = 0) -> Path:
    """Film codes that are shown at one place, one after the other, for half a second each; the first frames blurred."""
    frames = []
    for content in contents:
        symbol = cv2.resize(cv2.QRCodeEncoder.create().encode(content), (96, 96), interpolation=cv2.INTER_NEAREST)
        frame = np.full((160, 240, 3), 255, np.uint8)
        frame[32:128, 60:156] = symbol[..., None]
        frames += [frame] * 5
    frames[:blurred] = [np.asarray(cv2.GaussianBlur(one, (0, 0), 4), np.uint8) for one in frames[:blurred]]
    return record(path, frames)


async def answer(path: Path) -> VideoResult:
    async with Detector(Settings(backend="embedded")) as detector:
        return await detector.detect_video(str(path), ["QR code"], every_s=0.25, save=False)


@pytest.mark.anyio
async def test_slides_of_one_code_each_are_as_many_tracks(tmp_path: Path) -> None:
    result = await answer(belt(tmp_path / "slides.mp4", ["A-1", "B-2", "A-1"]))
    assert [(track.text, track.first_s) for track in result.tracks] == [("A-1", 0.0), ("B-2", 0.5)]
    assert result.counts == {"QR code": 2}


@pytest.mark.anyio
async def test_a_code_that_is_blurred_at_first_has_its_content(tmp_path: Path) -> None:
    result = await answer(belt(tmp_path / "blurred.mp4", ["BOX-77"] * 2, blurred=3))
    assert [track.text for track in result.tracks] == ["BOX-77"]
