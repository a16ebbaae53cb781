import pytest

from dinox_mcp.detect.prompts import MAX_SENTENCE_LENGTH, noun_phrases, parse_sentence
from dinox_mcp.errors import InputError


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
