import pytest

from dinox_mcp.drawing import tags
from dinox_mcp.types.detection import DetectedObject


def told(label: str = "person", number: int = 1, **words_of_a_model: str) -> DetectedObject:
    return DetectedObject(id=number, label=label, bbox=(0, 0, 1, 1), **words_of_a_model)


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (told(), "person"),
        (told("Text", text="EXIT 24"), "EXIT 24"),
        (told("text", text="No parking at any time here"), "No parking at any time…"),
        (told("QR code", text="https://example.com"), "QR code"),
        (told("a" * 40), "a" * 31 + "…"),
    ],
)
def test_text_is_named_by_its_transcript_and_all_else_by_its_label(found: DetectedObject, name: str) -> None:
    assert tags.name(found) == name


@pytest.mark.parametrize(("score", "written"), [(0.876, "0.88"), (None, "")])
def test_scores_have_two_digits(score: float | None, written: str) -> None:
    assert tags.score(DetectedObject(id=1, label="person", bbox=(0, 0, 1, 1), score=score)) == written


@pytest.mark.parametrize(
    ("found", "remark"),
    [
        (told(), ""),
        (told(category="goalkeeper"), "goalkeeper"),
        (told(category="Person "), ""),
        (told(caption="a man"), "a man"),
        (told(category="goalkeeper", caption="a man"), ""),
        (told(caption="a man in a red shirt holding a bat"), ""),
        (told("QR code", text="https://example.com"), "https://example.com"),
        (told("text", text="EXIT"), ""),
    ],
)
def test_a_single_short_word_goes_on_the_tag(found: DetectedObject, remark: str) -> None:
    assert tags.remark_about(found) == remark


def test_what_is_long_is_too_much_for_a_tag() -> None:
    long = "a man in a red shirt holding a bat"
    objects = [told(number=3, caption=long), told(number=2, category="boy"), told(number=1, caption=long), told()]
    assert [found.id for found in tags.too_much(objects)] == [3, 1]


def test_in_a_crowd_everything_told_is_too_much() -> None:
    crowd = [told(number=number, category="boy") for number in range(1, 40)]
    assert tags.too_much(crowd) == crowd
    assert not tags.too_much(crowd[:12])


@pytest.mark.parametrize(
    ("found", "entry"),
    [
        (told(caption="a man"), "person: a man"),
        (told(caption="a man", category="pitcher", text="12"), "person · pitcher: a man “12”"),
        (told(category="pitcher"), "person · pitcher"),
        (told("text", text="No parking\nat any time"), "“No parking at any time”"),
        (told("人", caption="戴安全帽的人"), "人: 戴安全帽的人"),
        (told(caption="\U0010fffd"), "person"),
        (told("\U0010fffd", caption="a man"), "a man"),
        (told(caption="ok \U0001f415"), "person: ok"),
    ],
)
def test_an_entry_says_what_there_is_and_can_be_drawn(found: DetectedObject, entry: str) -> None:
    assert tags.entry(found, label=True) == entry


def test_an_entry_without_a_label_is_what_was_told() -> None:
    assert tags.entry(told(caption="a man", category="pitcher"), label=False) == "pitcher: a man"


def test_entries_are_bounded() -> None:
    endless = "word " * 1000
    assert len(tags.entry(told(endless, caption=endless, category=endless, text=endless), label=True)) < 420
