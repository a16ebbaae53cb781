"""Objects drawn on an image, and objects drawn as dots."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dinox_mcp.drawing.annotate import annotate
from dinox_mcp.drawing.style import BLACK, WHITE, Style, color_of_number
from dinox_mcp.drawing.tags import draw_tag
from dinox_mcp.types import masks
from dinox_mcp.types.detection import BBox, DetectedObject, Mask

GREY = (90, 90, 90)
BOXES = Style(masks=False, labels=False, numbers=False)
MASKS = Style(boxes=False, labels=False, numbers=False, opacity=0.5)
TAGS = Style(boxes=False, masks=False)
COUNTING = Style(boxes=False, labels=False)


def plain(width: int = 400, height: int = 300) -> Image.Image:
    return Image.new("RGB", (width, height), GREY)


def person(bbox: BBox, number: int = 1, mask: Mask | None = None) -> DetectedObject:
    return DetectedObject(id=number, label="person", bbox=bbox, score=0.87, mask=mask)


def draw(*objects: DetectedObject, style: Style = Style(), image: Image.Image | None = None) -> Image.Image:  # noqa: B008 - frozen
    image = image or plain()
    return annotate(image, objects, original_size=image.size, style=style)


def changed(before: Image.Image, after: Image.Image) -> np.ndarray:
    return (np.asarray(before) != np.asarray(after)).any(axis=2)


def test_the_edge_of_a_box_has_the_colour_of_its_label() -> None:
    drawn = draw(person((100, 80, 200, 180)), style=BOXES)
    for edge in [(100, 80), (199, 80), (100, 179), (199, 179), (150, 80), (100, 130)]:
        assert drawn.getpixel(edge) == color_of_number(1)


def test_a_dark_rim_sets_a_box_off_from_light_pictures() -> None:
    drawn = draw(person((100, 80, 200, 180)), style=BOXES, image=Image.new("RGB", (400, 300), "white"))
    for rim in [(99, 130), (200, 130), (150, 79), (150, 180)]:
        assert max(drawn.getpixel(rim)) < 140


def test_inside_and_outside_of_a_box_stay_as_they_are() -> None:
    touched = changed(plain(), draw(person((100, 80, 200, 180)), style=BOXES))
    assert not touched[90:170, 110:190].any()
    touched[79:181, 99:201] = False
    assert not touched.any()


def test_the_given_image_stays_as_it_is() -> None:
    image = plain()
    draw(person((100, 80, 200, 180)), image=image)
    assert image == plain()


def test_boxes_are_mapped_into_a_reduced_view() -> None:
    drawn = annotate(plain(), [person((1000, 800, 2000, 1800))], original_size=(4000, 3000), style=BOXES)
    assert drawn == draw(person((100, 80, 200, 180)), style=BOXES)


@pytest.mark.parametrize(("side", "line"), [(100, 2), (1000, 3), (2000, 5)])
def test_lines_scale_with_the_picture(side: int, line: int) -> None:
    image = plain(side, side)
    drawn = draw(person((side / 4, side / 4, side / 2, side / 2)), style=BOXES, image=image)
    across = [drawn.getpixel((x, side * 3 // 8)) for x in range(side * 3 // 8)]
    assert across.count(color_of_number(1)) == line


def test_a_small_box_keeps_something_to_see() -> None:
    drawn = draw(person((500, 500, 506, 506)), style=BOXES, image=plain(1200, 1200))
    assert drawn.getpixel((503, 503)) == GREY


def test_a_mask_is_blended_and_outlined() -> None:
    bits = np.zeros((300, 400), dtype=np.bool_)
    bits[100:200, 100:300] = True
    drawn = draw(person((100, 100, 300, 200), mask=masks.encode(bits)), style=MASKS)
    half = tuple(round((a + b) / 2) for a, b in zip(GREY, color_of_number(1), strict=True))
    assert drawn.getpixel((200, 150)) == pytest.approx(half, abs=1)
    assert drawn.getpixel((100, 150)) == color_of_number(1)
    assert (changed(plain(), drawn) == bits).all()


def test_a_mask_is_mapped_into_a_reduced_view() -> None:
    bits = np.zeros((600, 800), dtype=np.bool_)
    bits[200:400, 200:600] = True
    drawn = annotate(
        plain(), [person((200, 200, 600, 400), mask=masks.encode(bits))], original_size=(800, 600), style=MASKS
    )
    assert (changed(plain(), drawn) == bits[::2, ::2]).all()


def test_a_clear_mask_has_only_its_outline() -> None:
    bits = np.zeros((300, 400), dtype=np.bool_)
    bits[100:200, 100:300] = True
    drawn = draw(person((0, 0, 9, 9), mask=masks.encode(bits)), style=MASKS.model_copy(update={"opacity": 0}))
    assert drawn.getpixel((200, 150)) == GREY
    assert drawn.getpixel((100, 150)) == color_of_number(1)


def test_an_empty_mask_draws_nothing() -> None:
    empty = masks.encode(np.zeros((300, 400), dtype=np.bool_))
    assert draw(person((0, 0, 9, 9), mask=empty), style=MASKS) == plain()


def test_a_broken_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="not a COCO RLE"):
        draw(person((0, 0, 9, 9), mask=Mask(size=(300, 400), counts="??")), style=MASKS)


def test_tags_sit_on_the_box_with_number_and_label() -> None:
    drawn = draw(person((100, 80, 200, 180)), style=TAGS)
    rows, columns = np.nonzero(changed(plain(), drawn))
    assert (columns.min(), rows.max()) == (100, 79)  # the lower left corner of the tag, above the box
    assert drawn.getpixel((100, 79)) == color_of_number(1)
    assert drawn.getpixel((int(columns.max()), 79)) == BLACK


def test_small_boxes_stay_visible_on_large_ones() -> None:
    small, large = DetectedObject(id=1, label="cup", bbox=(100, 100, 140, 140)), person((50, 50, 350, 250), 2)
    for objects in ((small, large), (large, small)):
        assert draw(*objects, style=BOXES).getpixel((100, 120)) == color_of_number(1)


@pytest.mark.parametrize("part", ["boxes", "masks", "labels", "numbers"])
def test_every_part_can_be_left_out(part: str) -> None:
    bits = np.zeros((300, 400), dtype=np.bool_)
    bits[100:150, 100:150] = True
    found = person((90, 90, 200, 180), mask=masks.encode(bits))
    assert draw(found, style=Style.model_validate({part: False})) != draw(found)


def test_without_parts_the_picture_is_as_it_was() -> None:
    style = Style(boxes=False, masks=False, labels=False, numbers=False)
    assert draw(person((10, 10, 50, 50)), style=style) == plain()


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (100, 80), (1568, 26), (12000, 200)])
def test_any_size_of_picture_can_be_drawn_on(size: tuple[int, int]) -> None:
    full = Mask(size=(size[1], size[0]), counts=masks.encode(np.ones((size[1], size[0]), dtype=np.bool_)).counts)
    drawn = draw(person((0, 0, *size), mask=full), image=plain(*size))
    assert drawn.size == size
    assert drawn != plain(*size)


coordinates = st.one_of(st.floats(-50, 150), st.sampled_from([-1e300, 1e300, 0.0, 100.0]))


@pytest.mark.slow
@settings(max_examples=40)
@given(st.lists(st.tuples(*[coordinates] * 4), min_size=1, max_size=5))
def test_no_box_breaks_the_drawing(boxes: list[BBox]) -> None:
    drawn = draw(*(person(bbox, number) for number, bbox in enumerate(boxes, start=1)), image=plain(100, 80))
    assert drawn.size == (100, 80)


def test_a_picture_in_other_modes_becomes_rgb() -> None:
    assert draw(person((10, 10, 50, 50)), image=Image.new("L", (100, 80))).mode == "RGB"


def test_a_tag_without_a_number_has_the_colour_of_its_label() -> None:
    tag = draw_tag(person((0, 0, 1, 1)), color_of_number(1), 20, number=False, label=True)
    assert tag
    assert tag.getpixel((0, 0)) == color_of_number(1)


def test_what_no_font_can_write_shows_its_number() -> None:
    found = DetectedObject(id=12, label="\U0010fffd", bbox=(0, 0, 1, 1))
    full, number = (draw_tag(found, WHITE, 20, number=True, label=label) for label in (True, False))
    assert full
    assert full == number
    assert draw_tag(found, WHITE, 20, number=False, label=True) is None
    assert draw(found, style=TAGS.model_copy(update={"numbers": False})) == plain()


def test_threads_draw_alike() -> None:
    objects = [
        DetectedObject(id=number, label=f"人 {number}", bbox=(number * 9, 50, number * 9 + 80, 200))
        for number in range(1, 20)
    ]
    with ThreadPoolExecutor(4) as threads:
        drawn = list(threads.map(lambda _: draw(*objects), range(8)))
    assert all(image == drawn[0] for image in drawn)


# Dots


def seed(number: int, x: float, y: float, side: float = 12) -> DetectedObject:
    return DetectedObject(id=number, label="seed", bbox=(x - side / 2, y - side / 2, x + side / 2, y + side / 2))


def grid(step: int, count: int = 400) -> list[DetectedObject]:
    """Give rows of 20 objects."""
    return [seed(n + 1, step + step * (n % 20), step + step * (n // 20), step / 2) for n in range(count)]


def count(*objects: DetectedObject, size: tuple[int, int] = (800, 600), style: Style = COUNTING) -> Image.Image:
    return annotate(Image.new("RGB", size, GREY), objects, original_size=size, style=style)


def touched(image: Image.Image) -> np.ndarray:
    return (np.asarray(image) != GREY).any(axis=2)


def test_a_dot_marks_the_middle_of_an_object() -> None:
    drawn = count(seed(1, 300, 200))
    assert drawn.getpixel((299, 199)) == drawn.getpixel((300, 200)) == color_of_number(1)
    assert np.asarray(drawn)[200, 290:300].sum(axis=1).min() < sum(GREY)


def test_its_number_stands_beside_it_and_the_rest_stays_as_it_is() -> None:
    rows, columns = np.nonzero(touched(count(seed(1, 300, 200))))
    assert columns.max() > 305
    assert rows.min() < 195
    assert columns.min() >= 295
    assert rows.max() <= 204


@pytest.mark.slow
def test_in_a_crowd_every_object_has_its_dot() -> None:
    step = 12
    drawn = np.asarray(count(*grid(step), size=(21 * step, 21 * step)))
    middles = [drawn[step + step * (n // 20), step + step * (n % 20)] for n in range(400)]
    assert [tuple(map(int, middle)) for middle in middles] == [color_of_number(n + 1) for n in range(400)]


def test_where_there_is_room_every_number_differs() -> None:
    step = 40
    drawn = np.asarray(count(*grid(step), size=(900, 900)))
    crops = {drawn[y - 24 : y + 16, x - 16 : x + 24].tobytes() for y in range(40, 840, 40) for x in range(40, 840, 40)}
    assert len(crops) == 400


def test_a_number_without_a_place_is_left_out() -> None:
    crowd = count(*grid(6), size=(126, 126))
    assert touched(crowd).any()
    assert crowd.getpixel((66, 66)) == color_of_number(211)


def test_a_number_a_little_off_is_joined_to_its_dot() -> None:
    around = [seed(n + 2, 300 + x, 200 + y) for n, (x, y) in enumerate([(-9, -9), (0, -9), (9, -9), (-9, 0), (9, 0)])]
    below = [seed(n + 7, 300 + x, 200 + y) for n, (x, y) in enumerate([(-9, 9), (0, 9), (9, 9)])]
    without = touched(count(*around, *below))
    drawn = touched(count(*around, *below, seed(1, 300, 200)))
    assert (drawn & ~without).any()


def test_at_the_border_numbers_stay_in_the_picture() -> None:
    for x, y in [(2, 2), (798, 2), (2, 598), (798, 598)]:
        assert touched(count(seed(888, x, y))).sum() > 150


def test_numbers_get_smaller_in_a_crowd() -> None:
    alone = touched(count(seed(111, 300, 200))).sum()
    first, second = touched(count(seed(111, 300, 200), seed(112, 330, 200))), touched(count(seed(112, 330, 200)))
    assert first[:, :315].sum() < alone
    assert first.sum() < alone + second.sum()


def test_descriptions_are_not_drawn_at_dots() -> None:
    found = seed(1, 300, 200)
    assert count(found.model_copy(update={"category": "sunflower"})) == count(found)


@pytest.mark.parametrize("style", [Style(boxes=False), Style(labels=False), Style(boxes=False, numbers=False)])
def test_other_styles_have_no_dots(style: Style) -> None:
    assert count(seed(1, 300, 200, side=100), style=style).getpixel((300, 200)) == GREY


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (12, 12)])
def test_any_size_of_picture_can_be_counted_on(size: tuple[int, int]) -> None:
    assert count(seed(1, 0, 0), seed(2, *size), size=size).size == size


def test_the_box_of_a_doubtful_object_is_dashed_from_corner_to_corner() -> None:
    found = person((20, 20, 180, 120))
    solid = changed(plain(), draw(found, style=BOXES))
    dashed = changed(plain(), draw(found, style=BOXES.model_copy(update={"doubtful": (found.id,)})))
    assert (solid | ~dashed).all()
    assert 0.3 < dashed.sum() / solid.sum() < 0.8
    assert all(dashed[y, x] for x in (20, 179) for y in (20, 119))


def test_the_box_of_a_doubtful_object_of_a_pixel_is_drawn() -> None:
    found = person((50, 50, 51, 50.4))
    assert draw(found, style=BOXES.model_copy(update={"doubtful": (found.id,)})) == draw(found, style=BOXES)
