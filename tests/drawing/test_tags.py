"""What tags say, and what goes into the legend."""

import pytest

from dinox_mcp.drawing import tags
from dinox_mcp.drawing.style import Style, make_shapes
from dinox_mcp.drawing.tags import make_tags, objects_for_legend
from dinox_mcp.types.detection import BBox, DetectedObject

VIEW = (800, 600)
LONG = "a man in a red shirt holding a wooden bat above his left shoulder"


def person(number: int, bbox: BBox, **descriptions: str) -> DetectedObject:
    return DetectedObject(id=number, label="person", bbox=bbox, **descriptions)


def widths(*objects: DetectedObject, style: Style = Style()) -> list[int]:  # noqa: B008 - frozen
    return [tag.image.width for tag in make_tags(make_shapes(objects, VIEW, VIEW, style), style, VIEW)]


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
        [(tag.image.size, tag.corner) for tag in make_tags(make_shapes(some, narrow, VIEW, Style()), Style(), narrow)]
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
