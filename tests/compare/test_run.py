import io
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from PIL import Image

from dinox_mcp.compare.comparison import Comparison
from dinox_mcp.compare.run import Aligned, compare, side_by_side
from dinox_mcp.types.boxes import Box, iou
from dinox_mcp.types.detection import (
    DetectedObject,
    Detection,
    DetectionRequest,
    DetectionResult,
    ImageInfo,
    count_labels,
)
from tests.compare.scenes import SIZE, Pixels, box_after, picture, put, relit, room, take, write

HERE: Box = (90.0, 130.0, 150.0, 190.0)
THERE: Box = (300.0, 150.0, 360.0, 210.0)


def result(name: str, found: Sequence[Detection], notes: tuple[str, ...] = ()) -> DetectionResult:
    return DetectionResult(
        result_id=name,
        backend="fake",
        model="fake-1",
        image=ImageInfo(width=SIZE[0], height=SIZE[1]),
        request=DetectionRequest(),
        objects=tuple(DetectedObject(id=number, **dict(one)) for number, one in enumerate(found, start=1)),
        counts=count_labels(found),
        notes=notes,
    )


@cache
def aligned(before: bytes, after: bytes) -> Aligned:
    """Align images of `SIZE`; those of many tests are the same."""
    width, height = SIZE
    first, second = (np.frombuffer(data, np.uint8).reshape(height, width, 3) for data in (before, after))
    return Aligned(picture(first), picture(second))


def compared(
    before: Pixels, after: Pixels, old: Sequence[Detection] = (), new: Sequence[Detection] = (), **options: bool
) -> Comparison:
    both = aligned(before.tobytes(), after.tobytes())
    return compare("c1", both, result("old", old), result("new", new), **options)


def parcel(box: Box, score: float = 0.8, label: str = "parcel") -> Detection:
    return Detection(label=label, bbox=box, score=score)


def text(content: str, corner: tuple[int, int]) -> Detection:
    x, y = corner
    return Detection(label="text", bbox=(x + 4.0, y + 4.0, x + 136.0, y + 36.0), score=0.9, text=content)


def test_an_object_appeared() -> None:
    found = compared(room(), put(room(), HERE), new=[parcel(HERE)])
    (change,) = found.changes
    assert (change.kind, change.label, change.score) == ("appeared", "parcel", 0.8)
    assert (change.object_before, change.object_after) == (None, 1)
    assert change.after == HERE
    assert change.before == pytest.approx(HERE)
    assert (found.before.result_id, found.after.result_id) == ("old", "new")


def test_an_object_disappeared_while_the_camera_moved() -> None:
    found = compared(put(room(), HERE), relit(take(room())), old=[parcel(HERE)])
    (change,) = found.changes
    assert found.registered == "homography"
    assert (change.kind, change.before) == ("disappeared", HERE)
    assert iou(change.after, box_after(HERE)) > 0.9


def test_an_object_moved_by_so_many_pixels_of_the_second_image() -> None:
    found = compared(
        put(room(), HERE), take(put(room(), THERE)), old=[parcel(HERE)], new=[parcel(box_after(THERE), 0.7)]
    )
    (change,) = found.changes
    assert (change.kind, change.before, change.score) == ("moved", HERE, 0.7)
    old, new = box_after(HERE), box_after(THERE)
    assert change.shift == pytest.approx((new[0] - old[0], new[1] - old[1]), abs=2)


def test_another_object_of_the_label_elsewhere_did_not_move_there() -> None:
    found = compared(put(room(), HERE, seed=1), write(room(), "x", (300, 150)), [parcel(HERE)], [parcel(THERE)])
    assert [change.kind for change in found.changes][:2] == ["appeared", "disappeared"]


@pytest.mark.slow
def test_a_nudge_is_a_movement_if_the_pixels_say_so() -> None:
    nudged = (HERE[0] + 22, HERE[1], HERE[2] + 22, HERE[3])
    moved = compared(put(room(), HERE), put(room(), nudged), [parcel(HERE)], [parcel(nudged)])
    assert [change.kind for change in moved.changes] == ["moved"]
    redrawn = compared(put(room(), HERE), put(room(), HERE), [parcel(HERE)], [parcel(nudged)])
    assert redrawn.changes == ()
    assert redrawn.unchanged == {"parcel": 1}


def test_a_text_changed() -> None:
    at = (170, 150)
    found = compared(write(room(), "OPEN", at), write(room(), "CLOSED", at), [text("OPEN", at)], [text("CLOSED", at)])
    (change,) = found.changes
    assert (change.kind, change.text_before, change.text_after) == ("text changed", "OPEN", "CLOSED")


def test_the_same_pixels_read_otherwise_are_the_same_text() -> None:
    at = (170, 150)
    found = compared(write(room(), "OPEN", at), write(room(), "OPEN", at), [text("OPEN", at)], [text("0PEN", at)])
    assert found.changes == ()


def test_a_text_moved() -> None:
    old, new = (40, 60), (280, 260)
    found = compared(write(room(), "EXIT", old), write(room(), "EXIT", new), [text("EXIT", old)], [text("exit", new)])
    assert found.changes[0].kind == "moved"
    assert found.changes[0].shift == (240, 200)


def test_what_a_detector_missed_in_one_image_is_no_change() -> None:
    found = compared(put(room(), HERE), take(put(room(), HERE)), old=[parcel(HERE)])
    assert found.changes == ()
    assert found.doubtful == 1


def test_what_the_other_image_does_not_show_is_not_compared() -> None:
    edge = (40.0, 0.0, 70.0, 14.0)
    found = compared(put(room(), edge), take(room()), old=[parcel(edge)])
    assert found.changes == ()
    assert found.outside == 1


def test_a_part_that_no_label_explains() -> None:
    (change,) = compared(room(), put(room(), HERE)).changes
    assert (change.kind, change.label) == ("changed", None)
    assert iou(change.after, HERE) > 0.8


@pytest.mark.parametrize("first", ["full", "blank"])
@pytest.mark.slow
def test_a_blank_image_is_not_the_same_scene_in_other_light(first: str) -> None:
    blank = np.zeros_like(room())
    images = (room(), blank) if first == "full" else (blank, room())
    found = compared(*images)
    assert found.agreement < 0.5
    (change,) = found.changes
    assert change.kind == "changed"
    assert iou(change.after, (0.0, 0.0, *SIZE)) > 0.9


def test_a_scene_that_differs_nearly_everywhere_is_not_unchanged() -> None:
    after = room()
    after[:, : SIZE[0] * 3 // 4] = np.flip(room(), axis=1)[:, : SIZE[0] * 3 // 4]
    assert compared(room(), after).changes


def test_a_part_of_an_object_that_is_otherwise_the_same_has_its_label() -> None:
    outer = (60.0, 90.0, 200.0, 240.0)
    found = compared(room(), put(room(), HERE), [parcel(outer, label="shelf")], [parcel(outer, label="shelf")])
    (change,) = found.changes
    assert (change.kind, change.label, change.object_before, change.object_after) == ("changed", "shelf", 1, 1)


def test_only_objects_are_compared_where_it_is_wanted() -> None:
    found = compared(put(room(), HERE), put(room(), THERE), old=[parcel(HERE)], only_objects=True)
    assert [change.kind for change in found.changes] == ["disappeared"]


def test_one_thing_with_two_names_changed_once() -> None:
    found = compared(room(), put(room(), HERE), new=[parcel(HERE, 0.5), parcel(HERE, 0.9, "box")])
    assert [change.label for change in found.changes] == ["box"]


def test_notes_of_both_detections_stand_once() -> None:
    results = (result(name, [], notes) for name, notes in (("a", ("same",)), ("b", ("same", "other"))))
    same = aligned(room().tobytes(), room().tobytes())
    assert compare("c1", same, *results).notes == ("same", "after: other")


SHEET_GAP = 9
"""Pixels around an image on a sheet, at most."""


@pytest.mark.slow
def test_both_images_are_beside_each_other_with_the_change_in_both() -> None:
    before, after = picture(room()), picture(put(room(), HERE))
    both = aligned(room().tobytes(), put(room(), HERE).tobytes())
    comparison = compare("c1", both, result("a", []), result("b", [parcel(HERE)]))
    sheet = Image.open(io.BytesIO(side_by_side(comparison, before, after)))
    bare = Image.open(io.BytesIO(side_by_side(comparison.model_copy(update={"changes": ()}), before, after)))
    assert sheet.format == "JPEG"
    assert Image.open(io.BytesIO(side_by_side(comparison, before, after, "image/png"))).format == "PNG"
    assert sheet.width > 2 * before.width
    assert sheet.height < 2 * before.height
    edge = (HERE[0] + 1, (HERE[1] + HERE[3]) / 2)
    for left in (SHEET_GAP, SHEET_GAP + before.width + SHEET_GAP):
        spot = (
            round(left + edge[0]) - SHEET_GAP,
            round(edge[1]),
            round(left + edge[0]) + SHEET_GAP,
            round(edge[1]) + 9,
        )
        assert sheet.crop(spot).tobytes() != bare.crop(spot).tobytes()
