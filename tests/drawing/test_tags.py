import pytest

from dinox_mcp.drawing.style import Style, make_shapes
from dinox_mcp.drawing.tags import place, untold
from dinox_mcp.types.detection import BBox, DetectedObject

VIEW = (800, 600)
LONG = "a man in a red shirt holding a wooden bat above his left shoulder"


def person(number: int, bbox: BBox, **told: str) -> DetectedObject:
    return DetectedObject(id=number, label="person", bbox=bbox, **told)


def widths(*objects: DetectedObject, style: Style = Style()) -> list[int]:  # noqa: B008 - frozen
    return [tag.image.width for tag in place(make_shapes(objects, VIEW, VIEW, style), style, VIEW)]


def test_a_short_remark_makes_the_tag_longer() -> None:
    box = (100, 100, 300, 300)
    (bare,), (told,) = widths(person(1, box)), widths(person(1, box, category="goalkeeper"))
    (without,) = widths(person(1, box, category="goalkeeper"), style=Style(captions=False))
    assert bare == without < told


def test_a_remark_without_room_leaves_its_tag_for_the_legend() -> None:
    wall = [person(n + 2, (0, 30 * n, 799, 30 * n + 60)) for n in range(1, 9)]
    crowded = person(1, (780, 100, 799, 110), category="goalkeeper on the left")
    narrow = (100, 600)
    objects = [crowded, *wall]
    assert untold(objects, Style(), narrow, VIEW) == [crowded]
    bare = [crowded.model_copy(update={"category": None}), *wall]
    tags = [
        [(tag.image.size, tag.corner) for tag in place(make_shapes(some, narrow, VIEW, Style()), Style(), narrow)]
        for some in (objects, bare)
    ]
    assert tags[0] == tags[1]


def test_what_is_long_is_for_the_legend_by_number() -> None:
    box = (100, 100, 300, 300)
    objects = [person(3, box, caption=LONG), person(2, box), person(1, box, caption=LONG)]
    assert [found.id for found in untold(objects, Style(), VIEW, VIEW)] == [1, 3]
    assert max(widths(*objects)) < 80


@pytest.mark.parametrize(
    ("style", "numbers"),
    [(Style(), [2]), (Style(boxes=False, labels=False), [1, 2]), (Style(captions=False), [])],
    ids=["tags", "dots", "no captions"],
)
def test_dots_have_no_room_for_words(style: Style, numbers: list[int]) -> None:
    objects = [
        person(1, (100, 100, 300, 300), category="goalkeeper"),
        person(2, (400, 100, 600, 300), caption=LONG),
    ]
    assert [found.id for found in untold(objects, style, VIEW, VIEW)] == numbers
