from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dinox_mcp.backends.local.models.base import RawDetection
from dinox_mcp.backends.local.naming import built_in, is_person, locate, merge_names, parse, quoted, read, to_detections
from dinox_mcp.errors import SettingsError


def test_the_built_in_vocabulary_has_about_1200_nouns_each_once() -> None:
    vocabulary = built_in()
    assert 1150 <= len(vocabulary.nouns) <= 1300
    assert len({noun.casefold() for noun in vocabulary.nouns}) == len(vocabulary.nouns)
    assert set(vocabulary.names) <= set(vocabulary.nouns)


def test_its_nouns_are_lower_case_short_and_without_punctuation() -> None:
    for noun in built_in().nouns:
        assert noun == noun.lower()
        assert len(noun.split()) <= 3
        assert noun.replace(" ", "").replace("-", "").replace("'", "").isalnum(), noun


@pytest.mark.parametrize("noun", ["person", "dog", "pizza", "car", "chair", "hammer", "laptop", "tree", "forklift"])
def test_everyday_things_are_in_it(noun: str) -> None:
    assert noun in built_in().nouns


@pytest.mark.parametrize(
    ("narrow", "broad"),
    [("taxi", "car"), ("taxi", "vehicle"), ("kitten", "cat"), ("kitten", "animal"), ("oven", "kitchen appliance")],
)
def test_it_knows_which_names_are_kinds_of_others(narrow: str, broad: str) -> None:
    assert built_in().is_kind_of(narrow, broad)
    assert not built_in().is_kind_of(broad, narrow)


def test_the_format() -> None:
    vocabulary = parse(
        """
        # a comment
        vehicle
          car = automobile   # and another
            taxi = cab, limousine
          bus
        dog, cat
        """,
        "test",
    )
    assert vocabulary.nouns == ("vehicle", "car", "automobile", "taxi", "cab", "limousine", "bus", "dog", "cat")
    assert vocabulary.names == ("vehicle", "car", "car", "taxi", "taxi", "limousine", "bus", "dog", "cat")
    assert vocabulary.is_kind_of("limousine", "vehicle")
    assert vocabulary.is_kind_of("bus", "vehicle")
    assert not vocabulary.is_kind_of("bus", "car")
    assert not vocabulary.is_kind_of("dog", "vehicle")


def test_a_list_of_ones_own_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "nouns.txt"
    path.write_text("\ufeffAmp Meter\r\n  spare part,valve\r\n", "utf-8")
    assert read(path).nouns == ("Amp Meter", "spare part", "valve")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has 0 nouns, not 1 to 5000"),
        (b"dog\ncat\ndog\n", "line 3: 'dog' is given twice"),
        (b"dog, cat\n  puppy\n", "line 2 is indented below several nouns"),
        (b"\xff\xfe\x00\xd8", "it is not UTF-8 text"),
        ("\n".join(map(str, range(5001))).encode(), "has 5001 nouns"),
    ],
)
def test_a_file_that_is_no_vocabulary_is_refused_in_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "nouns.txt"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith("DINOX_MCP_VOCABULARY: ")
    assert words in message
    assert "one noun on each line" in message
    assert "\n" not in message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"missing\.txt cannot be read \(No such file"):
        read(tmp_path / "missing.txt")


LABELS = ("animal", "dog", "puppy", "tree")
KINDS = parse("animal\n  dog\n    puppy\ntree", "test")
sides = st.integers(0, 60)
boxes = st.tuples(sides, sides, st.integers(1, 40), st.integers(1, 40)).map(
    lambda box: (float(box[0]), float(box[1]), float(box[0] + box[2]), float(box[1] + box[3]))
)
founds = st.lists(
    st.builds(RawDetection, label=st.integers(0, 3), score=st.floats(0, 1), bbox=boxes),
    max_size=10,
    unique_by=lambda f: f.score,
)


@given(founds)
def test_naming_once_invents_nothing_and_is_done_after_one_time(found: list[RawDetection]) -> None:
    objects = to_detections(found, LABELS, (1000, 1000), 0.8)
    named, _ = merge_names(objects, KINDS)
    assert {one.bbox for one in named} <= {one.bbox for one in objects}
    assert {(one.label, one.score) for one in named} <= {(one.label, one.score) for one in objects}
    assert [one.score for one in named] == sorted((one.score for one in named), reverse=True)  # type: ignore[type-var]


@pytest.mark.parametrize(
    "label",
    [
        "person",
        "women",
        "child",
        "little girls",
        "man in a red shirt",
        "the woman wearing a hat",
        "man riding horse",
        "baseball players",
        "pedestrian, crossing",
        "waitresses",
        "someone's mother",
    ],
)
def test_labels_that_mean_a_person(label: str) -> None:
    assert is_person(label)


@pytest.mark.parametrize(
    "label",
    [
        "",
        "dog",
        "person's hand",
        "pedestrian crossing",
        "record player",
        "group of people",
        "snowman",
        "building",
        "woman-shaped vase",
        "横断歩道",
    ],
)
def test_labels_that_mean_no_person(label: str) -> None:
    assert not is_person(label)


@pytest.mark.parametrize(
    ("caption", "phrases", "found"),
    [
        ("A man and a dog", ["man", "dog"], ["man", "dog"]),
        ("A Man and a DOG", ["man", "Dog"], ["man", "dog"]),
        ("a woman", ["man"], [None]),
        ("a man, a man", ["man", "man"], ["man", "man"]),
        ("a man", ["man", "man"], ["man", None]),
        ("a dog", ["", "cat", "dog"], [None, None, "dog"]),
        ("the  red\ncar", ["red car"], ["red\ncar"]),
        ("the man's hat", ["man 's hat"], ["man's hat"]),
        ("is it (a T-shirt)?", ["t-shirt", "it"], ["t-shirt", "it"]),
        ("a man in a red hat", ["red hat", "hat", "man"], ["red hat", "hat", "man"]),
    ],
)
def test_phrases_are_complete_words_in_any_case(caption: str, phrases: list[str], found: list[str | None]) -> None:
    text = caption.lower()
    assert [place and text[slice(*place)] for place in locate(caption, phrases)] == found


def test_what_a_caller_wrote_is_quoted_and_shortened() -> None:
    assert quoted(["dog", "x" * 41, "y" * 42]) == f"'dog', '{'x' * 41}', '{'y' * 40}…'"


def test_phrases_are_taken_in_their_order() -> None:
    assert locate("a red car beside a car", ["red car", "car"]) == [(2, 9), (19, 22)]
    assert locate("a car beside a red car", ["red car", "car"]) == [(15, 22), (2, 5)]
    assert locate("a car and a car", ["car", "car"]) == [(2, 5), (12, 15)]
