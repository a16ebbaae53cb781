"""What tags say, and what goes into the legend."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dinox_mcp.drawing import tags
from dinox_mcp.drawing.style import Style, make_shapes
from dinox_mcp.drawing.tags import Tag, make_tags, objects_for_legend, place_tags
from dinox_mcp.types.boxes import Box, intersection
from dinox_mcp.types.detection import BBox, DetectedObject

VIEW = (800, 600)
LONG = "a man in a red shirt holding a wooden bat above his left shoulder"


def person(number: int, bbox: BBox, **descriptions: str) -> DetectedObject:
    return DetectedObject(id=number, label="person", bbox=bbox, **descriptions)


def widths(*objects: DetectedObject, style: Style = Style()) -> list[int]:  # noqa: B008 - frozen
    return [tag.width for tag, _ in make_tags(make_shapes(objects, VIEW, VIEW, style), style, VIEW)]


def test_a_short_description_makes_the_tag_longer() -> None:
    box = (100, 100, 300, 300)
    (bare,), (longer,) = widths(person(1, box)), widths(person(1, box, category="goalkeeper"))
    (without,) = widths(person(1, box, category="goalkeeper"), style=Style(captions=False))
    assert bare == without < longer


def test_a_description_without_space_goes_into_the_legend() -> None:
    wall = [person(n + 2, (0, 30 * n, 799, 30 * n + 60)) for n in range(1, 9)]
    crowded = person(1, (780, 100, 799, 110), category="goalkeeper on the left")
    narrow = (100, 600)
    objects = [crowded, *wall]
    assert objects_for_legend(objects, Style(), narrow, VIEW) == [crowded]
    bare = [crowded.model_copy(update={"category": None}), *wall]
    drawn = [
        [(tag.size, corner) for tag, corner in make_tags(make_shapes(some, narrow, VIEW, Style()), Style(), narrow)]
        for some in (objects, bare)
    ]
    assert drawn[0] == drawn[1]


def test_what_is_long_is_for_the_legend_by_number() -> None:
    box = (100, 100, 300, 300)
    objects = [person(3, box, caption=LONG), person(2, box), person(1, box, caption=LONG)]
    assert [found.id for found in objects_for_legend(objects, Style(), VIEW, VIEW)] == [1, 3]
    assert max(widths(*objects)) < 80


@pytest.mark.parametrize(
    ("style", "numbers"),
    [(Style(), [2]), (Style(boxes=False, labels=False), [1, 2]), (Style(captions=False), [])],
    ids=["tags", "dots", "no captions"],
)
def test_dots_have_no_descriptions(style: Style, numbers: list[int]) -> None:
    objects = [
        person(1, (100, 100, 300, 300), category="goalkeeper"),
        person(2, (400, 100, 600, 300), caption=LONG),
    ]
    assert [found.id for found in objects_for_legend(objects, style, VIEW, VIEW)] == numbers


# What is written


def described(label: str = "person", number: int = 1, **descriptions: str) -> DetectedObject:
    return DetectedObject(id=number, label=label, bbox=(0, 0, 1, 1), **descriptions)


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (described(), "person"),
        (described("Text", text="EXIT 24"), "EXIT 24"),
        (described("text", text="No parking at any time here"), "No parking at any time…"),
        (described("QR code", text="https://example.com"), "QR code"),
        (described("a" * 40), "a" * 31 + "…"),
    ],
)
def test_text_is_named_by_its_transcript_and_all_else_by_its_label(found: DetectedObject, name: str) -> None:
    assert tags.name(found) == name


@pytest.mark.parametrize(("score", "written"), [(0.876, "0.88"), (None, "")])
def test_scores_have_two_digits(score: float | None, written: str) -> None:
    assert tags.score(DetectedObject(id=1, label="person", bbox=(0, 0, 1, 1), score=score)) == written


@pytest.mark.parametrize(
    ("found", "description"),
    [
        (described(), ""),
        (described(category="goalkeeper"), "goalkeeper"),
        (described(category="Person "), ""),
        (described(caption="a man"), "a man"),
        (described(category="goalkeeper", caption="a man"), ""),
        (described(caption="a man in a red shirt holding a bat"), ""),
        (described("QR code", text="https://example.com"), "https://example.com"),
        (described("text", text="EXIT"), ""),
    ],
)
def test_a_single_short_description_goes_on_the_tag(found: DetectedObject, description: str) -> None:
    assert tags.short_description(found) == description


def test_long_descriptions_do_not_fit_on_tags() -> None:
    long = "a man in a red shirt holding a bat"
    objects = [
        described(number=3, caption=long),
        described(number=2, category="boy"),
        described(number=1, caption=long),
        described(),
    ]
    assert [found.id for found in tags.too_long_for_tags(objects)] == [3, 1]


def test_in_a_crowd_no_description_fits() -> None:
    crowd = [described(number=number, category="boy") for number in range(1, 40)]
    assert tags.too_long_for_tags(crowd) == crowd
    assert not tags.too_long_for_tags(crowd[:12])


@pytest.mark.parametrize(
    ("found", "entry"),
    [
        (described(caption="a man"), "person: a man"),
        (described(caption="a man", category="pitcher", text="12"), "person · pitcher: a man “12”"),
        (described(category="pitcher"), "person · pitcher"),
        (described("text", text="No parking\nat any time"), "“No parking at any time”"),
        (described("人", caption="戴安全帽的人"), "人: 戴安全帽的人"),
        (described(caption="\U0010fffd"), "person"),
        (described("\U0010fffd", caption="a man"), "a man"),
        (described(caption="ok \U0001f415"), "person: ok"),
    ],
)
def test_an_entry_says_what_there_is_and_can_be_drawn(found: DetectedObject, entry: str) -> None:
    assert tags.legend_entry(found, label=True) == entry


def test_an_entry_without_a_label_is_what_was_described() -> None:
    assert tags.legend_entry(described(caption="a man", category="pitcher"), label=False) == "pitcher: a man"


def test_entries_are_bounded() -> None:
    endless = "word " * 1000
    assert len(tags.legend_entry(described(endless, caption=endless, category=endless, text=endless), label=True)) < 420


CANVAS = (400, 300)
FULL, SHORT = (80, 12), (16, 12)


def place(boxes: list[Box], canvas: tuple[int, int] = CANVAS) -> list[Tag | None]:
    return place_tags(boxes, [FULL] * len(boxes), [SHORT] * len(boxes), canvas)


def rectangle(tag: Tag) -> Box:
    width, height = FULL if tag.full else SHORT
    return tag.x, tag.y, tag.x + width, tag.y + height


def test_a_tag_sits_on_the_upper_left_corner_of_its_box() -> None:
    assert place([(100, 100, 200, 200)]) == [Tag(100, 88, full=True)]


def test_at_the_upper_border_a_tag_moves_into_its_box() -> None:
    assert place([(100, 0, 200, 200)]) == [Tag(100, 0, full=True)]


def test_at_the_right_border_a_tag_ends_with_the_picture() -> None:
    (tag,) = place([(380, 100, 400, 160)])
    assert tag
    assert tag.x + FULL[0] <= CANVAS[0]


def test_tags_of_boxes_with_the_same_corner_do_not_cover_each_other() -> None:
    tags = place([(100, 100, 200 + grow, 200 + grow) for grow in range(6)])
    assert all(tag and tag.full for tag in tags)
    assert all(intersection(rectangle(a), rectangle(b)) == 0 for a, b in itertools.combinations(tags, 2) if a and b)


def test_a_tag_keeps_off_a_small_neighbour() -> None:
    small = (100, 84, 112, 98)
    tag, _ = place([(100, 100, 200, 200), small])
    assert tag
    assert intersection(rectangle(tag), small) == 0


def test_in_a_crowd_every_object_still_shows_its_number() -> None:
    grid = [(x, y, x + 14, y + 10) for y in range(14, 280, 26) for x in range(2, 380, 20)]
    tags = place([(float(a), float(b), float(c), float(d)) for a, b, c, d in grid])
    assert any(tag and not tag.full for tag in tags)
    overlaps = [intersection(rectangle(a), rectangle(b)) for a, b in itertools.combinations(tags, 2) if a and b]
    assert max(overlaps) == 0


def test_what_is_larger_than_the_picture_is_left_out() -> None:
    assert place([(0, 0, 10, 10)], canvas=(15, 15)) == [None]
    (tag,) = place([(0, 0, 10, 10)], canvas=(20, 15))
    assert tag
    assert not tag.full


def test_no_objects_need_no_tags() -> None:
    assert place([]) == []


edges = st.tuples(*[st.floats(0, 400)] * 4)


@given(st.lists(edges, max_size=12))
def test_every_tag_lies_in_the_picture(corners: list[Box]) -> None:
    boxes = [(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)) for x1, y1, x2, y2 in corners]
    for tag in place(boxes):
        assert tag
        left, top, right, bottom = rectangle(tag)
        assert 0 <= left < right <= CANVAS[0]
        assert 0 <= top < bottom <= CANVAS[1]


def test_a_tag_keeps_off_the_text_of_its_neighbours() -> None:
    lines = [(100.0, float(top), 200.0, top + 14.0) for top in (100, 118, 136)]
    tags = place(lines)
    assert all(tag and intersection(rectangle(tag), box) == 0 for tag in tags for box in lines)
