import pytest

from dinox_mcp.errors import InputError
from dinox_mcp.prompts import MAX_PROMPTS, parse_prompts


@pytest.mark.parametrize(
    ("prompts", "labels"),
    [
        (["person", "red car"], ("person", "red car")),
        ("person . red car", ("person", "red car")),
        ("person . red car .", ("person", "red car")),
        ("person, red car", ("person", "red car")),
        ("person; red car\nwheel", ("person", "red car", "wheel")),
        ("wolf.dog.butterfly", ("wolf", "dog", "butterfly")),
        (["person, red car", "wheel."], ("person", "red car", "wheel")),
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
