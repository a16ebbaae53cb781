import numpy as np
import pytest
from PIL import Image

from dinox_mcp.drawing.annotate import annotate
from dinox_mcp.drawing.style import Style, color_of_number
from dinox_mcp.types.detection import DetectedObject

GREY = (90, 90, 90)
COUNTING = Style(boxes=False, labels=False)


def seed(number: int, x: float, y: float, side: float = 12) -> DetectedObject:
    return DetectedObject(id=number, label="seed", bbox=(x - side / 2, y - side / 2, x + side / 2, y + side / 2))


def grid(step: int, count: int = 400) -> list[DetectedObject]:
    """Give rows of 20 objects."""
    return [seed(n + 1, step + step * (n % 20), step + step * (n // 20), step / 2) for n in range(count)]


def draw(*objects: DetectedObject, size: tuple[int, int] = (800, 600), style: Style = COUNTING) -> Image.Image:
    return annotate(Image.new("RGB", size, GREY), objects, original_size=size, style=style)


def touched(image: Image.Image) -> np.ndarray:
    return (np.asarray(image) != GREY).any(axis=2)


def test_a_dot_marks_the_middle_of_an_object() -> None:
    drawn = draw(seed(1, 300, 200))
    assert drawn.getpixel((299, 199)) == drawn.getpixel((300, 200)) == color_of_number(1)
    assert np.asarray(drawn)[200, 290:300].sum(axis=1).min() < sum(GREY)


def test_its_number_stands_beside_it_and_the_rest_stays_as_it_is() -> None:
    rows, columns = np.nonzero(touched(draw(seed(1, 300, 200))))
    assert columns.max() > 305
    assert rows.min() < 195
    assert columns.min() >= 295
    assert rows.max() <= 204


@pytest.mark.parametrize("step", [12, 20, 30])
def test_in_a_crowd_every_object_has_its_dot(step: int) -> None:
    drawn = np.asarray(draw(*grid(step), size=(21 * step, 21 * step)))
    middles = [drawn[step + step * (n // 20), step + step * (n % 20)] for n in range(400)]
    assert [tuple(map(int, middle)) for middle in middles] == [color_of_number(n + 1) for n in range(400)]


def test_where_there_is_room_every_number_differs() -> None:
    step = 40
    drawn = np.asarray(draw(*grid(step), size=(900, 900)))
    looks = {drawn[y - 24 : y + 16, x - 16 : x + 24].tobytes() for y in range(40, 840, 40) for x in range(40, 840, 40)}
    assert len(looks) == 400


def test_a_number_without_a_place_is_left_out() -> None:
    crowd = draw(*grid(6), size=(126, 126))
    assert touched(crowd).any()
    assert crowd.getpixel((66, 66)) == color_of_number(211)


def test_a_number_a_little_off_is_joined_to_its_dot() -> None:
    around = [seed(n + 2, 300 + x, 200 + y) for n, (x, y) in enumerate([(-9, -9), (0, -9), (9, -9), (-9, 0), (9, 0)])]
    below = [seed(n + 7, 300 + x, 200 + y) for n, (x, y) in enumerate([(-9, 9), (0, 9), (9, 9)])]
    without = touched(draw(*around, *below))
    drawn = touched(draw(*around, *below, seed(1, 300, 200)))
    assert (drawn & ~without).any()


def test_at_the_border_numbers_stay_in_the_picture() -> None:
    for x, y in [(2, 2), (798, 2), (2, 598), (798, 598)]:
        assert touched(draw(seed(888, x, y))).sum() > 150


def test_numbers_get_smaller_in_a_crowd() -> None:
    alone = touched(draw(seed(111, 300, 200))).sum()
    first, second = touched(draw(seed(111, 300, 200), seed(112, 330, 200))), touched(draw(seed(112, 330, 200)))
    assert first[:, :315].sum() < alone
    assert first.sum() < alone + second.sum()


def test_what_was_told_goes_into_the_legend_not_onto_the_dots() -> None:
    found = seed(1, 300, 200)
    assert draw(found.model_copy(update={"category": "sunflower"})) == draw(found)


@pytest.mark.parametrize("style", [Style(boxes=False), Style(labels=False), Style(boxes=False, numbers=False)])
def test_other_styles_have_no_dots(style: Style) -> None:
    assert draw(seed(1, 300, 200, side=100), style=style).getpixel((300, 200)) == GREY


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (12, 12)])
def test_any_size_of_picture_can_be_counted_on(size: tuple[int, int]) -> None:
    assert draw(seed(1, 0, 0), seed(2, *size), size=size).size == size
