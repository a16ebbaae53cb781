"""What is noted of a video's key frames."""

from dinox_mcp.detect.pipeline import Answer
from dinox_mcp.types.detection import Detections
from dinox_mcp.video.job import Record


def test_a_note_about_some_key_frames_says_about_how_many() -> None:
    record = Record(calls_each=2)
    for number in range(3):
        notes = ("narrower", "not read") if number else ("narrower",)
        record.add(number / 2, Answer(found=Detections(model="m-1", objects=(), notes=notes), cached=number == 0))
    record.note("no sound")
    assert record.notes() == ["narrower", "in 2 of 3 key frames: not read", "no sound"]
    assert record.calls(6).model_dump() == {"planned": 6, "made": 4, "memory": 1}
