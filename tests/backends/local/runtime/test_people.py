import pytest

from dinox_mcp.backends.local.runtime.describing import is_person


@pytest.mark.parametrize(
    "label",
    [
        "person",
        "People",
        "MEN",
        "women",
        "two women",
        "child",
        "children",
        "little girls",
        "man in a red shirt",
        "old lady with a dog",
        "the woman wearing a hat",
        "man riding horse",
        "running man",
        "young_boy",
        "baseball players",
        "pedestrian, crossing",
        "fishermen",
        "waitresses",
        "someone's mother",
        "policeman",
    ],
)
def test_labels_that_mean_a_person(label: str) -> None:
    assert is_person(label)


@pytest.mark.parametrize(
    "label",
    [
        "",
        ",",
        "dog",
        "person's hand",
        "man's hat",
        "pedestrian crossing",
        "baby carriage",
        "record player",
        "CD players",
        "group of people",
        "hat of a man",
        "snowman",
        "building",
        "menu",
        "woman-shaped vase",
        "横断歩道",
    ],
)
def test_labels_that_mean_no_person(label: str) -> None:
    assert not is_person(label)
