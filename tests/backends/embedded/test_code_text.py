"""The text of codes that do not name their encoding."""

import pytest

from dinox_mcp.backends.embedded import code_text


@pytest.mark.parametrize("content", ["Gdańsk", "Wrocław", "Białystok", "ulica Długa 5, Gdańsk", "Zażółć gęślą"])
def test_letters_that_the_west_does_not_write_there_are_polish(content: str) -> None:
    assert code_text.decode(content.encode("iso8859-2")) == (content, "iso8859-2")


@pytest.mark.parametrize("content", ["Müller", "café", "Straße", "señor", "São Paulo", "Bjørn", "10 m³ ±5"])
def test_words_of_the_west_stay_as_they_are(content: str) -> None:
    assert code_text.decode(content.encode("latin-1"))[0] == content


@pytest.mark.parametrize("content", ["Müller", "café", "Straße", "Größe 10 °C", "à la"])
def test_what_only_the_west_writes_needs_no_note(content: str) -> None:
    assert code_text.alternative(content.encode("latin-1")) is None


@pytest.mark.parametrize("content", ["Preis 5 €", "“quoted”", "Größe 10 °C"])
def test_windows_western_is_decoded_without_control_characters(content: str) -> None:
    assert code_text.decode(content.encode("cp1252")) == (content, "cp1252")


def test_utf_8_is_not_a_guess() -> None:
    assert code_text.decode("Größe 日本".encode()) == ("Größe 日本", None)


def test_bytes_that_nobody_can_decode_are_written_out() -> None:
    assert code_text.decode(b"A-1 \x81\xff\x8d") == ("A-1 \\x81\\xff\\x8d", "")
