import itertools

from hypothesis import given
from hypothesis import strategies as st

from dinox_mcp.drawing.layout import Tag, place_tags
from dinox_mcp.types.boxes import Box, intersection

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
