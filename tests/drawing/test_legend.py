import numpy as np
import pytest
from PIL import Image

from dinox_mcp.drawing.legend import Legend, make_legend
from dinox_mcp.drawing.style import Style, color_of_number
from dinox_mcp.drawing.tags import text_size
from dinox_mcp.types.detection import DetectedObject

SENTENCE = "a man in a red shirt holding a wooden bat above his left shoulder while the catcher waits"
SIZES = [(1568, 1045), (640, 427), (4000, 500), (900, 1600), (300, 4000), (1000, 1000), (60, 40), (1, 1)]


def described(number: int = 1, caption: str | None = SENTENCE, label: str = "person") -> DetectedObject:
    return DetectedObject(id=number, label=label, bbox=(1, 1, 20, 20), caption=caption)


def legend(size: tuple[int, int], *objects: DetectedObject, style: Style = Style()) -> Legend:  # noqa: B008 - frozen
    made = make_legend(size, objects, style, original_size=size)
    assert made
    return made


def ink(image: Image.Image) -> np.ndarray:
    return np.asarray(image).max(axis=2) < 100


def test_a_wide_picture_has_it_below_and_others_to_the_right() -> None:
    assert legend((1000, 600), described()).below
    assert not legend((600, 1000), described()).below
    assert not legend((1000, 1000), described()).below


@pytest.mark.parametrize("size", [(1000, 600), (600, 1000)])
def test_the_picture_stays_in_the_upper_left_corner(size: tuple[int, int]) -> None:
    picture = Image.new("RGB", size, (10, 200, 10))
    sheet = legend(size, described()).beside(picture)
    assert sheet.crop((0, 0, *size)) == picture
    assert sheet.size == legend(size, described()).size_with(size)
    assert (np.asarray(sheet) == (10, 200, 10)).all(axis=2).sum() == size[0] * size[1]


def test_an_entry_begins_with_the_color_of_its_object() -> None:
    image = legend((1000, 600), described()).image
    colored = (np.asarray(image) == color_of_number(1)).all(axis=2)
    assert colored.any()
    assert np.nonzero(colored)[1].max() < np.nonzero(ink(image))[1].max() / 4


def test_longer_words_take_more_lines() -> None:
    one, two = (legend((1000, 600), described(caption="word " * count)).image.height for count in (8, 40))
    assert one < two


@pytest.mark.slow
@pytest.mark.parametrize(("size", "count"), [*((size, 5) for size in SIZES), (SIZES[0], 1), (SIZES[0], 100)])
def test_it_is_bounded_by_the_picture(size: tuple[int, int], count: int) -> None:
    made = legend(size, *(described(number) for number in range(1, count + 1)))
    width, height = made.size_with(size)
    least = 20 * max(12, text_size(size))
    if made.below:
        assert width <= max(size[0], least)
        assert made.image.height <= max(0.6 * size[1], 0.25 * size[0], least)
    else:
        assert made.image.width <= max(0.6 * size[0], least)
        assert height <= max(size[1], least)
    assert ink(made.image).any()


@pytest.mark.slow
def test_what_has_no_room_is_counted() -> None:
    full = legend((1000, 600), *(described(number) for number in range(1, 101)))
    fuller = legend((1000, 600), *(described(number) for number in range(1, 301)))
    assert full.image.size == fuller.image.size
    assert full.image != fuller.image


@pytest.mark.parametrize(("caption", "columns"), [(SENTENCE, 3), ("a boy in red, quite far away", 4)])
def test_short_entries_stand_in_more_columns(caption: str, columns: int) -> None:
    image = legend((1568, 1045), *(described(number, caption) for number in range(1, 13))).image
    colors = [color_of_number(number) for number in range(1, 13)]
    colored = np.any([(np.asarray(image) == color).all(axis=2).any(axis=0) for color in colors], axis=0)
    assert (np.diff(np.flatnonzero(colored)) > 100).sum() + 1 == columns


def test_columns_are_even() -> None:
    heights = [
        legend((1568, 1045), *(described(number) for number in range(1, count + 1))).image.height for count in (3, 4, 6)
    ]
    assert heights[0] < heights[1] == heights[2]


@pytest.mark.parametrize(
    "objects",
    [
        (),
        (described(caption=None),),
        (described(caption="short"),),
        (described(caption="\U0010fffd" * 40, label="\U0010fffd"),),
    ],
    ids=["no objects", "no description", "on the tag", "no font"],
)
def test_without_anything_to_list_there_is_none(objects: tuple[DetectedObject, ...]) -> None:
    assert make_legend((1000, 600), objects, Style(), original_size=(1000, 600)) is None


def test_it_can_be_left_out() -> None:
    assert make_legend((1000, 600), [described()], Style(captions=False), original_size=(1000, 600)) is None


def test_without_numbers_an_entry_has_its_color_only() -> None:
    numbered, bare = (
        legend((1000, 600), described(number=8), style=Style(numbers=numbers)).image for numbers in (True, False)
    )
    assert not ink(bare)[:, :25].any()
    assert ink(numbered)[:, :25].any()
