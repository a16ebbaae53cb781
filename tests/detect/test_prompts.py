import time

import pytest

from dinox_mcp.detect.prompts import (
    MAX_PROMPTS,
    MAX_TEXT_LENGTH,
    is_prompt_free,
    parse_prompts,
    split_prompts,
    words_in_quotes,
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


@pytest.mark.parametrize(
    "prompt", ['"Exit now"', "“Exit now”", "„Exit now“", "„Exit now”", "«Exit now»", "「Exit now」", " 'Exit  now' "]
)
def test_words_in_quotes_are_told_whatever_the_quotes(prompt: str) -> None:
    assert words_in_quotes(prompt) == "Exit now"


@pytest.mark.parametrize("prompt", ["exit", '"', "''", '"exit', "'exit\"", 'a "red" car'])
def test_what_is_not_in_quotes_as_a_whole_has_no_words_in_quotes(prompt: str) -> None:
    assert not words_in_quotes(prompt)


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


@pytest.mark.parametrize("letters", [".", "“", '"', '" ', " .", '"a"b', ".x", "«“「", "„", "“„", "'", "' "])
def test_no_text_takes_long_to_split(letters: str) -> None:
    text = (letters * MAX_TEXT_LENGTH)[: MAX_TEXT_LENGTH - 1] + "x"
    started = time.process_time()
    split_prompts(text)
    assert time.process_time() - started < 2  # what is quadratic takes a minute


@pytest.mark.parametrize("prompts", [None, "<prompt_free>", " <PROMPT_FREE> ", ["<prompt_free>"]])
def test_the_vendors_word_for_no_prompts_is_understood(prompts: str | list[str] | None) -> None:
    assert is_prompt_free(prompts)


@pytest.mark.parametrize("prompts", ["", [], "prompt free", ["<prompt_free>", "dog"]])
def test_other_prompts_name_something_or_are_refused(prompts: str | list[str]) -> None:
    assert not is_prompt_free(prompts)
