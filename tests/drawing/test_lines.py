"""Skeletons and trails."""

import numpy as np
import pytest
from PIL import Image

from dinox_mcp.drawing.annotate import annotate
from dinox_mcp.drawing.lines import CENTER, FINGER_COLORS, LEFT, RIGHT, draw_skeletons, draw_trails
from dinox_mcp.drawing.style import Style, color_of_number
from dinox_mcp.types.detection import DetectedObject, Keypoint, Point
from dinox_mcp.types.keypoints import BODY, FINGERS, HAND

GREY = (90, 90, 90)
SIZE = (400, 400)

# Facing us, in hundredths of the picture: the person's left is on our right.
FRONT = {
    "nose": (50, 12), "left_eye": (54, 9), "right_eye": (46, 9), "left_ear": (58, 11), "right_ear": (42, 11),
    "left_shoulder": (65, 25), "right_shoulder": (35, 25), "left_elbow": (75, 40), "right_elbow": (25, 40),
    "left_wrist": (80, 55), "right_wrist": (20, 55), "left_hip": (60, 55), "right_hip": (40, 55),
    "left_knee": (62, 75), "right_knee": (38, 75), "left_ankle": (62, 95), "right_ankle": (38, 95),
}  # fmt: skip


def body(side: int = 400, **changes: Keypoint) -> tuple[Keypoint, ...]:
    points = {name: Keypoint(name=name, x=x * side / 100, y=y * side / 100) for name, (x, y) in FRONT.items()}
    return tuple((points | changes)[name] for name in BODY)


def hand() -> tuple[Keypoint, ...]:
    """Give a hand whose fingers are columns at x = 100, 150, … 300 above the wrist."""
    fingers = [
        Keypoint(name=name, x=100 + 50 * (place // 4), y=300 - 60 * (place % 4)) for place, name in enumerate(HAND[1:])
    ]
    return Keypoint(name="wrist", x=200, y=390), *fingers


def draw(*skeletons: tuple[Keypoint, ...], line: int = 3, image: Image.Image | None = None) -> Image.Image:
    image = image or Image.new("RGB", SIZE, GREY)
    return draw_skeletons(image, skeletons, original_size=image.size, line=line)


def pixel(image: Image.Image, x: float, y: float) -> tuple[int, int, int]:
    red, green, blue = np.asarray(image)[int(y), int(x)].tolist()
    return red, green, blue


def touched(image: Image.Image) -> np.ndarray:
    return (np.asarray(image) != GREY).any(axis=2)


@pytest.mark.parametrize(
    ("bone", "color"),
    [
        (("left_knee", "left_ankle"), LEFT),
        (("right_knee", "right_ankle"), RIGHT),
        (("left_shoulder", "left_hip"), LEFT),
        (("right_shoulder", "right_elbow"), RIGHT),
        (("left_shoulder", "right_shoulder"), CENTER),
        (("left_hip", "right_hip"), CENTER),
        (("nose", "left_eye"), LEFT),
    ],
)
def test_left_and_right_are_the_persons_own_and_differ(bone: tuple[str, str], color: tuple[int, int, int]) -> None:
    (x1, y1), (x2, y2) = (FRONT[name] for name in bone)
    assert pixel(draw(body()), 2 * (x1 + x2), 2 * (y1 + y2)) == color


def test_points_have_the_color_of_their_side() -> None:
    drawn = draw(body())
    assert pixel(drawn, 4 * 80, 4 * 55) == LEFT
    assert pixel(drawn, 4 * 20, 4 * 55) == RIGHT
    assert pixel(drawn, 4 * 50, 4 * 12) == CENTER


def test_a_dark_rim_sets_bones_off_from_light_pictures() -> None:
    drawn = draw(body(), image=Image.new("RGB", SIZE, "white"))
    row = np.asarray(drawn)[4 * 85, 4 * 62 : 4 * 62 + 8].sum(axis=1)
    assert row.min() < 200


@pytest.mark.parametrize(
    "missing",
    [
        Keypoint(name="left_ankle", x=300, y=380, score=0.29),
        Keypoint(name="left_ankle", x=300, y=380, visibility=2, score=0.1),
        Keypoint(name="left_ankle", x=300, y=380, visibility=0),
        Keypoint(name="left_ankle", x=1e300, y=380),
        Keypoint(name="left_ankle", x=300, y=-1e300),
    ],
)
def test_what_is_not_there_is_left_out_with_its_bone(missing: Keypoint) -> None:
    drawn = touched(draw(body(left_ankle=missing)))
    assert not drawn[310:, 210:].any()
    assert drawn[310:, :190].any()


def test_hidden_points_are_hollow() -> None:
    hidden = Keypoint(name="left_wrist", x=320, y=220, visibility=1, score=0.9)
    drawn = draw(body(left_wrist=hidden))
    assert max(pixel(drawn, 320, 220)) < 60
    assert LEFT in {pixel(drawn, x, 220) for x in range(321, 330)}


@pytest.mark.parametrize(("side", "most"), [(10, 0.7), (16, 0.55), (40, 0.4), (400, 0.12)])
def test_a_small_person_does_not_become_a_blob(side: int, most: float) -> None:
    drawn = draw(body(side), line=8, image=Image.new("RGB", (side, side), GREY))
    assert 0.02 < touched(drawn).mean() < most


def test_bones_are_mapped_into_a_reduced_view() -> None:
    view = draw_skeletons(Image.new("RGB", SIZE, GREY), [body(4000)], original_size=(4000, 4000), line=3)
    assert view == draw(body())


def test_bones_follow_the_size_of_the_body_up_to_a_limit() -> None:
    def thickness(side: int, line: int) -> int:
        image = Image.new("RGB", (1000, 1000), GREY)
        row = np.asarray(draw(body(side), line=line, image=image))[85 * side // 100]
        return int((row == LEFT).all(axis=1).sum())

    assert thickness(100, 9) < thickness(600, 9) < thickness(1000, 9)
    assert thickness(1000, 2) == pytest.approx(3, abs=1)


def test_fingers_have_their_own_colors() -> None:
    drawn = draw(hand())
    colors = [pixel(drawn, 100 + 50 * number, 210) for number in range(5)]
    assert colors == [FINGER_COLORS[finger] for finger in FINGERS]
    assert len(set(colors)) == 5
    assert pixel(drawn, 200, 390) == CENTER


def test_points_of_other_names_are_drawn_without_bones() -> None:
    drawn = draw((Keypoint(name="tail", x=100, y=100), Keypoint(name="paw", x=300, y=300)))
    assert pixel(drawn, 100, 100) == pixel(drawn, 300, 300) == CENTER
    assert not touched(drawn)[150:250].any()


def test_later_bodies_lie_on_top() -> None:
    point = tuple(Keypoint(name=name, x=200, y=200) for name in ("left_wrist",))
    other = tuple(Keypoint(name=name, x=200, y=200) for name in ("right_wrist",))
    assert pixel(draw(point, other), 200, 200) == RIGHT
    assert pixel(draw(other, point), 200, 200) == LEFT


def test_the_given_image_stays_as_it_is() -> None:
    image = Image.new("RGB", SIZE, GREY)
    draw(body(), image=image)
    assert image == Image.new("RGB", SIZE, GREY)


def test_a_picture_shows_the_skeletons_of_its_objects_unless_the_style_leaves_them_out() -> None:
    found = DetectedObject(id=1, label="person", bbox=(60, 20, 340, 390), keypoints=body())
    image = Image.new("RGB", SIZE, GREY)
    style = Style(boxes=False, labels=False, numbers=False)
    assert annotate(image, [found], original_size=SIZE, style=style) != image
    without = style.model_copy(update={"keypoints": False})
    assert annotate(image, [found], original_size=SIZE, style=without) == image


# Trails

TRAIL = [(20.0 + 40 * step, 100.0) for step in range(10)]  # from x = 20 to x = 380


def plain() -> Image.Image:
    return Image.new("RGB", (400, 300), GREY)


def difference(image: Image.Image) -> np.ndarray:
    return np.abs(np.asarray(image).astype(int) - GREY).sum(axis=2)


def test_the_newest_end_of_a_trail_has_the_color_of_its_track() -> None:
    assert draw_trails(plain(), {7: TRAIL}).getpixel((375, 99)) == color_of_number(7)


def test_a_trail_fades_towards_its_past() -> None:
    along = difference(draw_trails(plain(), {7: TRAIL}))[99, [30, 110, 190, 270, 350]]
    assert 0 < along[0] < along[1] < along[2] < along[3] < along[4]


def test_a_trail_gets_thinner_towards_its_past() -> None:
    drawn = difference(draw_trails(plain(), {7: TRAIL})) > 0
    assert drawn[:, 40].sum() < drawn[:, 360].sum()


def test_away_from_the_trails_the_picture_stays_as_it_is() -> None:
    drawn = difference(draw_trails(plain(), {7: TRAIL}))
    assert not drawn[:94].any()
    assert not drawn[106:].any()


def test_trails_are_drawn_on_a_copy() -> None:
    image = plain()
    draw_trails(image, {7: TRAIL})
    assert image == plain()


@pytest.mark.parametrize(
    "points",
    [
        [],
        [(100.0, 100.0)],
        [(-50.0, -50.0), (-20.0, -10.0)],
        [(1e300, 10.0), (50.0, -1e300), (50.0, 50.0)],
    ],
    ids=["none", "one", "outside", "absurd"],
)
def test_a_trail_with_no_line_in_the_picture_draws_nothing(points: list[Point]) -> None:
    assert draw_trails(plain(), {1: points}) == plain()


def test_a_trail_may_leave_the_picture() -> None:
    drawn = draw_trails(plain(), {1: [(350.0, 100.0), (450.0, 100.0)]})
    assert drawn.getpixel((399, 99)) == color_of_number(1)


def test_tracks_have_their_own_colors_and_boxes_may_share_them() -> None:
    assert len({color_of_number(number) for number in range(36)}) == 36
    found = DetectedObject(id=7, label="person", bbox=(100, 80, 200, 180))
    style = Style(labels=False, numbers=False, color_by="number")
    assert annotate(plain(), [found], original_size=(400, 300), style=style).getpixel((100, 80)) == color_of_number(7)
