from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from dinox_mcp.detect import tiling
from dinox_mcp.detect.tiling import Tile
from dinox_mcp.types import boxes, masks
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Detection, Keypoint
from tests.fakes import picture

SIZE = (1000, 600)
LEFT, RIGHT = (0, 0, 556, 600), (444, 0, 1000, 600)


def seen(label: str, bbox: Box, score: float = 0.5) -> Detection:
    return Detection(label=label, bbox=bbox, score=score)


def merged(
    whole: list[Detection], left: list[Detection], right: list[Detection], iou_threshold: float = 0.8
) -> list[tuple[str, Box]]:
    blank = picture(1, 1)
    parts = [(Tile(blank, LEFT), left), (Tile(blank, RIGHT), right)]
    return [(found.label, found.bbox) for found in tiling.merge(whole, parts, SIZE, iou_threshold)]


@pytest.mark.parametrize(
    ("size", "tiles", "columns", "rows"),
    [
        ((4000, 3000), 2, 2, 2),
        ((4000, 1000), 3, 3, 1),
        ((1000, 4000), 4, 1, 4),
        ((100, 100), 3, 3, 3),
        ((9, 1), 2, 2, 1),
        ((1, 1), 8, 8, 8),
    ],
)
def test_tiles_are_about_square_and_cover_the_picture(
    size: tuple[int, int], tiles: int, columns: int, rows: int
) -> None:
    frames = tiling.frames(*size, tiles)
    assert len(frames) == columns * rows
    covered = np.zeros(size[::-1], np.bool_)
    for left, top, right, bottom in frames:
        covered[top:bottom, left:right] = True
    assert covered.all()


def test_neighbouring_tiles_share_a_fifth_of_their_side() -> None:
    (_, _, right, _), (left, *_) = tiling.frames(1800, 900, 2)
    assert (right - left) / right == pytest.approx(tiling.OVERLAP, abs=0.01)


def test_a_tile_is_a_picture_of_its_part() -> None:
    tile = tiling.cut(picture(100, 50, "red"), 2)[1]
    assert (tile.picture.width, tile.picture.height) == (tile.frame[2] - tile.frame[0], 50)
    assert tile.picture.rgb().getpixel((3, 3)) == (255, 0, 0)


def test_what_a_tile_saw_is_told_in_pixels_of_the_picture() -> None:
    assert merged([], [], [seen("bolt", (100, 10, 130, 40))]) == [("bolt", (544, 10, 574, 40))]


def test_a_thing_that_all_looks_saw_is_one() -> None:
    whole = [seen("bolt", (501, 10, 530, 41))]
    assert merged(whole, [seen("bolt", (500, 10, 530, 40))], [seen("bolt", (56, 10, 86, 40))]) == [
        ("bolt", (500, 10, 530, 40))
    ]


def test_a_piece_gives_way_to_the_whole_thing() -> None:
    piece, whole = seen("plank", (460, 10, 556, 40), 0.9), seen("plank", (16, 10, 256, 40), 0.4)
    assert merged([], [piece], [whole]) == [("plank", (460, 10, 700, 40))]


def test_a_long_thing_that_the_whole_picture_shows_is_one() -> None:
    pieces = [seen("plank", (100, 10, 556, 40), 0.9)], [seen("plank", (0, 10, 456, 40), 0.9)]
    assert merged([seen("plank", (100, 10, 900, 40), 0.3)], *pieces) == [("plank", (100, 10, 900, 40))]


def test_halves_that_only_tiles_saw_are_joined() -> None:
    halves = [seen("plank", (100, 10, 556, 40), 0.9)], [seen("plank", (0, 11, 456, 41), 0.8)]
    assert merged([], *halves) == [("plank", (100, 10, 900, 41))]


def test_halves_of_two_things_above_each_other_are_not_joined() -> None:
    halves = [seen("plank", (100, 10, 556, 40))], [seen("plank", (0, 110, 456, 140))]
    assert len(merged([], *halves)) == 2


def test_what_one_look_told_apart_stays_apart() -> None:
    twins = [seen("bolt", (10, 10, 40, 40)), seen("bolt", (12, 10, 42, 40))]
    assert len(merged([], twins, [])) == 2
    assert len(merged(twins, [], [])) == 2


def test_things_of_other_labels_stay_apart() -> None:
    assert len(merged([seen("bolt", (10, 10, 40, 40))], [seen("nut", (10, 10, 40, 40))], [])) == 2


def test_a_surer_look_at_the_whole_picture_wins() -> None:
    assert merged([seen("bolt", (100, 10, 130, 40), 0.9)], [seen("bolt", (103, 12, 131, 40), 0.3)], []) == [
        ("bolt", (100, 10, 130, 40))
    ]


def test_many_objects_are_compared_with_their_neighbours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0

    def iou(a: Box, b: Box) -> float:
        nonlocal compared
        compared += 1
        return boxes.iou(a, b)

    monkeypatch.setattr(tiling, "boxes", SimpleNamespace(**{**vars(boxes), "iou": iou}))
    row = [seen("bolt", (3.0 * i % 550, 3.0 * (i // 180), 3.0 * i % 550 + 2, 3.0 * (i // 180) + 2)) for i in range(900)]
    assert len(merged([], row, row)) > 900
    assert 0 < compared < 10 * len(row)


def test_the_best_come_first() -> None:
    whole, left, right = ([seen(label, (9, 9, 50, 50), score)] for label, score in (("a", 0.3), ("b", 0.8), ("c", 0.5)))
    assert [label for label, _ in merged(whole, left, right)] == ["b", "c", "a"]


def test_masks_and_keypoints_come_along() -> None:
    bits = np.zeros((600, 556), np.bool_)
    bits[10:40, 100:130] = True
    found = seen("man", (100, 10, 130, 40)).model_copy(
        update={"mask": masks.encode(bits), "keypoints": (Keypoint(name="nose", x=110, y=20),)}
    )
    (moved,) = tiling.merge([], [(Tile(picture(1, 1), RIGHT), [found])], SIZE, 0.8)
    assert moved.keypoints[0].x == 554
    assert moved.mask is not None
    assert masks.window(moved.mask)[:2] == (544, 10)
    assert moved.mask.size == (600, 1000)


def test_the_mask_of_two_halves_is_both() -> None:
    left, right = np.zeros((600, 556), np.bool_), np.zeros((600, 556), np.bool_)
    left[10:40, 100:], right[10:40, :456] = True, True
    first, second = seen("plank", (100, 10, 556, 40)), seen("plank", (0, 10, 456, 40))
    halves = [
        (Tile(picture(1, 1), LEFT), [first.model_copy(update={"mask": masks.encode(left)})]),
        (Tile(picture(1, 1), RIGHT), [second.model_copy(update={"mask": masks.encode(right)})]),
    ]
    (plank,) = tiling.merge([], halves, SIZE, 0.8)
    assert plank.mask is not None
    assert masks.area(plank.mask) == 800 * 30


# One thing is counted once, however seams cut it. A detector is simulated that sees of each thing what a tile shows
# of it, and ends the box some pixels before the seam.

WIDE = (1400, 1000)
Shrink = Callable[[float, np.random.Generator], float]
SHRINKS: dict[str, Shrink] = {
    "not at all": lambda _length, _random: 0,
    "by up to 8 pixels": lambda _length, random: random.uniform(0, 8),
    "by 8 pixels": lambda _length, _random: 8,
    "by 3 percent": lambda length, _random: 0.03 * length,
}


def look(things: list[Box], frame: Box, shrink: Shrink, random: np.random.Generator) -> list[Detection]:
    found = []
    for thing in things:
        edges = np.array([*np.maximum(thing[:2], frame[:2]), *np.minimum(thing[2:], frame[2:])])
        size = edges[2:] - edges[:2]
        if size.min() <= 0:
            continue
        for side, inward in enumerate((1, 1, -1, -1)):
            cut = edges[side] != thing[side]
            edges[side] += inward * shrink(size[side % 2], random) if cut else random.uniform(-1.5, 1.5)
        if (edges[2:] - edges[:2]).min() >= 3:
            found.append(seen("thing", tuple((edges - np.tile(frame[:2], 2)).tolist()), random.uniform(0.3, 1)))
    return found


def searched(things: list[Box], tiles: int, shrink: str = "by 8 pixels", *, whole: bool = False) -> list[Box]:
    random = np.random.default_rng(tiles)
    parts = [
        (Tile(picture(1, 1), frame), look(things, frame, SHRINKS[shrink], random))
        for frame in tiling.frames(*WIDE, tiles)
    ]
    first = look(things, (0, 0, *WIDE), SHRINKS[shrink], random) if whole else []
    return [found.bbox for found in tiling.merge(first, parts, WIDE, 0.8)]


def shelf(width: float, height: float, gap: float) -> list[Box]:
    columns, rows = np.arange(11, WIDE[0] - width, width + gap), np.arange(7, WIDE[1] - height, height + gap)
    return [(x, y, x + width, y + height) for y in rows.tolist() for x in columns.tolist()]


@pytest.mark.parametrize(("tiles", "whole"), [(2, False), (3, True), (4, False)])
@pytest.mark.parametrize("shrink", SHRINKS)
@pytest.mark.parametrize("size", [(70, 95), (300, 230)])
@pytest.mark.slow
def test_equal_packages_on_a_shelf_are_each_counted_once(
    size: tuple[int, int], shrink: str, tiles: int, *, whole: bool
) -> None:
    for gap in (0, 2):
        packages = shelf(*size, gap)
        assert len(searched(packages, tiles, shrink, whole=whole)) == len(packages)


@pytest.mark.parametrize("tiles", [2, 3, 5])
@pytest.mark.parametrize("shrink", SHRINKS)
@pytest.mark.parametrize(
    "thing",
    [
        (50, 40, 1350, 960),
        (20, 450, 1390, 520),
        (620, 30, 700, 980),
        (600, 400, 800, 600),
        (460, 200, 940, 800),
        (553, 300, 565, 800),
    ],
    ids=["larger than a tile", "wide", "high", "across four tiles", "on both seams", "thin"],
)
def test_a_thing_on_a_seam_is_found_once_and_whole(thing: Box, shrink: str, tiles: int) -> None:
    (found,) = searched([thing], tiles, shrink)
    assert found == pytest.approx(thing, abs=10)


@pytest.mark.parametrize("shrink", SHRINKS)
def test_people_in_a_crowd_are_each_counted_once(shrink: str) -> None:
    people: list[Box] = [(x, 300 + x % 90, x + 150, 800 + x % 70) for x in range(20, 1200, 110)]
    assert [len(searched(people, tiles, shrink)) for tiles in (2, 3, 4)] == [len(people)] * 3


def decoded(text: str | None, bbox: Box) -> Detection:
    return Detection(label="QR code", bbox=bbox, text=text)


def test_an_equal_content_in_overlapping_boxes_is_one_code() -> None:
    upper, lower = decoded("4711", (100, 100, 400, 160)), decoded("4711", (100, 150, 400, 300))
    assert len(tiling.merge([upper], [(Tile(picture(1, 1), LEFT), [lower])], SIZE, 0.8)) == 1


def test_equal_codes_that_touch_are_two() -> None:
    left, right = decoded("4711", (100, 100, 200, 200)), decoded("4711", (198, 100, 298, 200))
    assert len(tiling.merge([left], [(Tile(picture(1, 1), LEFT), [left, right])], SIZE, 0.8)) == 2


def test_what_was_not_read_is_part_of_the_code_around_it() -> None:
    code, corner = decoded("4711", (100, 100, 400, 400)), decoded(None, (110, 320, 180, 390))
    (kept,) = tiling.merge([code], [(Tile(picture(1, 1), LEFT), [corner])], SIZE, 0.8)
    assert (kept.text, kept.bbox) == ("4711", code.bbox)


def test_a_content_that_one_look_read_stays() -> None:
    unread, cut_off = decoded(None, (400, 100, 553, 250)), decoded("4711", (400, 100, 553, 250))
    (kept,) = tiling.merge([unread], [(Tile(picture(1, 1), LEFT), [cut_off])], SIZE, 0.8)
    assert kept.text == "4711"


def test_the_surest_look_gives_the_score() -> None:
    piece, whole = seen("plank", (460, 10, 550, 40), 0.9), seen("plank", (16, 10, 256, 40), 0.4)
    parts = [(Tile(picture(1, 1), LEFT), [piece]), (Tile(picture(1, 1), RIGHT), [whole])]
    (plank,) = tiling.merge([], parts, SIZE, 0.8)
    assert plank.score == 0.9
