"""Prompts are made of the names of categories, and each label leads back to them."""

import pytest

from dinox_mcp.errors import InputError
from dinox_mcp.evaluation.labelled import Category, Vocabulary, clean


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("baseball_bat", "baseball bat"),
        ("  traffic   light ", "traffic light"),
        ("cell_phone.", "cell phone"),
        ("U.S._flag", "U.S. flag"),
        ("crab_(animal)", "crab"),
        ("(sub)_way", "way"),
    ],
)
def test_a_name_is_cleaned(name: str, prompt: str) -> None:
    assert clean(name) == prompt


def test_names_that_would_be_equal_keep_what_is_in_parentheses() -> None:
    words = Vocabulary([Category("bow_(weapon)"), Category("bow_(decorative_ribbons)"), Category("crab_(animal)")])
    assert words.prompts([0, 1, 2]) == ("bow weapon", "bow decorative ribbons", "crab")
    assert [list(words.categories(label)) for label in ("bow weapon", "Crab", "bow")] == [[0], [2], []]


def test_an_equal_name_stands_for_each_category() -> None:
    words = Vocabulary([Category("fish"), Category("Fish")])
    assert words.prompts([0, 1]) == ("Fish",)
    assert words.categories("fish") == [0, 1]
    assert words.shared == ["fish"]


def test_synonyms_are_used_if_no_other_category_has_them() -> None:
    categories = [
        Category("sofa", ("sofa", "couch", "lounge")),
        Category("lounge_chair", ("lounge", "chaise")),
        Category("couch_(bed)", ("day_bed",)),
    ]
    words = Vocabulary(categories, synonyms=True)
    assert words.prompts([0]) == ("sofa",), "a couch and a lounge may be something else"
    assert words.prompts([1, 2]) == ("lounge chair", "chaise", "couch", "day bed")
    assert words.categories("day bed") == [2]
    assert Vocabulary(categories).prompts([1]) == ("lounge chair",)


def test_a_category_without_a_name_is_refused() -> None:
    with pytest.raises(InputError, match=r"has the name '_'.*; name it by a noun"):
        Vocabulary([Category("_")])
