import pytest

from dinox_mcp.detect.options import (
    MAX_PROMPTS,
    MAX_SENTENCE_LENGTH,
    MAX_TEXT_LENGTH,
    is_prompt_free,
    noun_phrases,
    parse_prompts,
    parse_sentence,
)
from dinox_mcp.errors import InputError


@pytest.mark.parametrize(
    ("prompts", "labels"),
    [
        (["person", "red car"], ("person", "red car")),
        ("person . red car", ("person", "red car")),
        ("person . red car .", ("person", "red car")),
        ("person, red car", ("person", "red car")),
        ("person; red car\nwheel", ("person", "red car", "wheel")),
        ("wolf.dog.butterfly", ("wolf", "dog", "butterfly")),
        (["person, red car", "wheel."], ("person, red car", "wheel")),
        (
            ["U.S. flag", "Dr. Pepper can", "Coca-Cola, 0.33l can"],
            ("U.S. flag", "Dr. Pepper can", "Coca-Cola, 0.33l can"),
        ),
        (["U.S.", "wolf.dog"], ("U.S.", "wolf.dog")),
        ('"Save, changes", person', ('"Save, changes"', "person")),
        ("door,“No. 7, left”", ("door", "“No. 7, left”")),
        ("「保存、閉じる」、人", ("「保存、閉じる」", "人")),
        ("„Speichern, schließen“, Tür", ("„Speichern, schließen“", "Tür")),
        ("„Zapisz, zamknij”, drzwi", ("„Zapisz, zamknij”", "drzwi")),
        ("'Save, close', ‘Open, shut’", ("'Save, close'", "‘Open, shut’")),  # noqa: RUF001 - quotes as typed
        ("boys' bikes, girls' bikes", ("boys' bikes", "girls' bikes")),
        ('27" monitor, 24" monitor', ('27" monitor', '24" monitor')),
        ('"open, door', ('"open', "door")),
        ("人、汽车，狗", ("人", "汽车", "狗")),  # noqa: RUF001 - the commas of Chinese text
        (["3.5 mm jack"], ("3.5 mm jack",)),
        (["  red   car "], ("red car",)),
    ],
)
def test_prompts_are_labels_in_the_callers_words(prompts: str | list[str], labels: tuple[str, ...]) -> None:
    assert parse_prompts(prompts) == labels


def test_a_label_asked_twice_stands_once_as_first_written() -> None:
    assert parse_prompts(["Person", "person", "dog"]) == ("Person", "dog")


@pytest.mark.parametrize("prompts", ["", [], " . , ", [""]])
def test_asking_for_nothing_names_the_tool_that_needs_no_prompts(prompts: str | list[str]) -> None:
    with pytest.raises(InputError, match="detect_prompt_free"):
        parse_prompts(prompts)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [([f"thing {i}" for i in range(MAX_PROMPTS + 1)], "301 labels, more than 300"), (["x" * 301], "301 characters")],
)
def test_too_much_is_refused(prompts: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_prompts(prompts)


@pytest.mark.parametrize("length", [MAX_TEXT_LENGTH + 1, 10_000_000])
def test_the_length_is_checked_before_the_text_is_split(length: int) -> None:
    with pytest.raises(InputError, match=f"{length} characters"):
        parse_prompts("." * length)
    with pytest.raises(InputError, match=f"{length} characters"):
        parse_prompts(["." * length])


@pytest.mark.parametrize("prompts", [None, "<prompt_free>", " <PROMPT_FREE> ", ["<prompt_free>"]])
def test_the_vendors_word_for_no_prompts_is_understood(prompts: str | list[str] | None) -> None:
    assert is_prompt_free(prompts)


@pytest.mark.parametrize("prompts", ["", [], "prompt free", ["<prompt_free>", "dog"]])
def test_other_prompts_name_something_or_are_refused(prompts: str | list[str]) -> None:
    assert not is_prompt_free(prompts)


@pytest.mark.parametrize(
    ("caption", "phrases"),
    [
        ("A stop sign", ["stop sign"]),
        ("A man in a red shirt rides a small brown horse.", ["man", "red shirt", "small brown horse"]),
        ("Several workers wearing yellow hard hats", ["workers", "yellow hard hats"]),
        ("a forklift carrying pallets next to two dogs", ["forklift", "pallets", "dogs"]),
        ("the left shelf with many cardboard boxes", ["left shelf", "cardboard boxes"]),
        ("a parked car and a washing machine", ["parked car", "washing machine"]),
        ("hand-held radio and a T-shirt", ["hand-held radio", "T-shirt"]),
    ],
)
def test_noun_phrases_keep_what_tells_things_apart(caption: str, phrases: list[str]) -> None:
    assert list(noun_phrases(caption)) == phrases


def test_a_phrase_is_listed_once() -> None:
    assert noun_phrases("A dog and a Dog") == ("Dog",)


def test_places_and_quantities_are_no_things() -> None:
    assert noun_phrases("A group of people in the background of the picture") == ("people",)


def test_a_caption_without_things_says_what_to_do() -> None:
    with pytest.raises(InputError, match=r"no noun phrase.*'quickly'.*as phrases"):
        noun_phrases("quickly")


def test_a_sentence_is_one_line() -> None:
    assert parse_sentence("  the man\n in red ", "description") == "the man in red"


@pytest.mark.parametrize(
    ("sentence", "message"), [(" \n", "description is empty"), ("x" * (MAX_SENTENCE_LENGTH + 1), "1001 characters")]
)
def test_a_sentence_that_is_none_is_refused(sentence: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_sentence(sentence, "description")
