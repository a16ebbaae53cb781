"""What is drawn: boxes with numbers and paths on frames, and the contact sheet."""

import io

import numpy as np
from PIL import Image

from dinox_mcp.types.detection import Detection
from dinox_mcp.video.drawing import ContactSheet, annotated_size, objects_at
from dinox_mcp.video.track import TrackHistory


def test_the_contact_sheet_keeps_to_the_limits_of_a_reply() -> None:
    sheet = ContactSheet((320, 180))
    noise = np.random.default_rng(0).integers(0, 255, (180, 320, 3), np.uint8)
    for number in range(12):
        sheet.add(number / 2, Image.fromarray(noise))
    data = sheet.draw([], 500, 20_000, {})
    assert max(Image.open(io.BytesIO(data)).size) <= 500
    assert len(data) <= 20_000


def test_objects_are_clipped_and_have_the_score_of_their_latest_detection() -> None:
    car = Detection(label="car", bbox=(-10, 10, 20, 30), score=0.9)
    track = TrackHistory.start(0.0, car, np.ones(1), first_key=0, margin_s=0.5)
    track.extend(1.0, Detection(label="car", bbox=(10, 10, 40, 30), score=0.6), np.ones(1))
    assert objects_at([track], 0.0, (320, 180)) == [], "it has no number yet"
    track.id = 1
    (first,), (between,) = (objects_at([track], time, (320, 180)) for time in (0.0, 0.5))
    assert (first.bbox, first.score) == ((0, 10, 20, 30), 0.9)
    assert (between.bbox, between.score) == ((0, 10, 30, 30), 0.9)
    assert objects_at([track], 1.5, (320, 180)) == []


def test_annotated_videos_have_at_most_1920_pixels_along_the_long_side() -> None:
    assert annotated_size((3840, 2160)) == (1920, 1080)
    assert annotated_size((640, 360)) == (640, 360)
