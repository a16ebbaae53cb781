from pathlib import Path

import pytest

from dinox_mcp.types.text import (
    clean_line,
    number_of,
    printable,
    quoted_text,
    split_at_commas_and_dots,
    without_folders,
)

HOSTILE = "cat\x1b[31m\u202e\u2028x"


@pytest.mark.parametrize("text", [HOSTILE, "a\x07b\x9bc", "\u2066x"])
def test_what_a_terminal_or_reader_obeys_is_escaped(text: str) -> None:
    assert printable(text).isprintable()
    assert clean_line(f"{text}\nb").isprintable()


def test_own_folders_are_not_named() -> None:
    home = Path.home()
    text = f"cannot be saved in {home}/data/prompts (full), or in '/srv/dinox/x.json'; not in /srv/dinox2"
    assert without_folders(text, [Path("/srv/dinox")]) == (
        "cannot be saved in a folder of the server (full), or in 'a folder of the server'; not in /srv/dinox2"
    )


@pytest.mark.parametrize(
    "prompt", ['"Exit now"', "“Exit now”", "„Exit now“", "„Exit now”", "«Exit now»", "「Exit now」", " 'Exit  now' "]
)
def test_the_text_between_quotes_is_given_whatever_the_quotes(prompt: str) -> None:
    assert quoted_text(prompt) == "Exit now"


@pytest.mark.parametrize("prompt", ["exit", '"', "''", '"exit', "'exit\"", 'a "red" car'])
def test_a_prompt_that_is_not_in_quotes_from_end_to_end_has_no_quoted_text(prompt: str) -> None:
    assert not quoted_text(prompt)


@pytest.mark.parametrize("letters", [".", "“", '"', '" ', " .", '"a"b', ".x", "«“「", "„", "“„", "'", "' "])
def test_long_text_is_split_in_linear_time(letters: str) -> None:
    text = (letters * 50_000)[:50_000] + "x"  # what is quadratic takes half a minute
    assert split_at_commas_and_dots(text)[-1].endswith("x")


@pytest.mark.parametrize(("number", "written"), [(0, "0 images"), (1, "1 image"), (2000, "2,000 images")])
def test_a_number_of_things_is_written_as_people_do(number: int, written: str) -> None:
    assert number_of(number, "image") == written
