"""What prompts mean to the embedded backend, and what their objects are called."""

import pytest

from dinox_mcp.backends.base import Fit
from dinox_mcp.backends.embedded.prompts import BodyPart, Wanted, fit, understand
from dinox_mcp.backends.embedded.vocabulary import Kind


def kinds(*prompts: str) -> dict[str, str]:
    return dict(understand(prompts).kinds)


@pytest.mark.parametrize(
    ("prompt", "how_well"),
    [
        ("QR codes", Fit.EXACT),
        ("text", Fit.EXACT),
        ('"Save changes"', Fit.EXACT),
        ("“Save changes”", Fit.EXACT),
        ("person", Fit.KNOWN),
        ("red cars", Fit.KNOWN),
        ("person's face", Fit.KNOWN),
        ("hands", Fit.KNOWN),
        ("sign", Fit.KNOWN),
        ("marker", Fit.KNOWN),
        ("forklift", Fit.WORDS),
        ('"', Fit.WORDS),
        ('""', Fit.WORDS),
    ],
)
def test_how_well_a_prompt_can_be_looked_for(prompt: str, how_well: Fit) -> None:
    assert fit(prompt) is how_well


def test_each_kind_of_prompt_is_looked_for_in_its_own_way() -> None:
    wanted = understand(["QR code", "people", "faces", "'Exit'", "forklift"])
    assert wanted.read == {Kind.QR: "QR code"}
    assert wanted.kinds == {"person": "people"}
    assert wanted.parts == {BodyPart.FACE: "faces"}
    assert wanted.quoted == {"'Exit'": "Exit"}
    assert wanted.others == {"forklift": "forklift"}
    assert (wanted.unsearched, wanted.notes) == ((), ())


def test_a_wider_word_labels_all_its_kinds() -> None:
    assert set(kinds("vehicle")) >= {"car", "truck", "bus"}
    assert set(kinds("vehicle").values()) == {"vehicle"}


def test_the_exact_word_labels_its_kind_and_the_wider_one_the_rest_with_a_note() -> None:
    wanted = understand(["vehicle", "car"])
    assert (wanted.kinds["car"], wanted.kinds["bus"]) == ("car", "vehicle")
    assert wanted.notes == ("'vehicle' does not count everything that it covers: car is listed as 'car'",)


@pytest.mark.parametrize("prompt", ["left hand", "hands of a child", "child's face", "faces of people", "human faces"])
def test_parts_of_persons_are_known_by_more_than_their_names(prompt: str) -> None:
    wanted = understand([prompt])
    assert set(wanted.parts.values()) == {prompt}
    assert wanted.notes[0].startswith(f"{prompt}: found as")


@pytest.mark.parametrize("prompt", ["clock face", "hand cream", "cat's face", "hands of the clock"])
def test_other_faces_and_hands_are_none_of_a_person(prompt: str) -> None:
    assert not understand([prompt]).parts


def test_a_narrower_word_is_answered_with_a_note() -> None:
    wanted = understand(["man"])
    assert wanted.kinds == {"person": "man"}
    assert wanted.notes[0].startswith("man: found as person;")


def test_an_exact_word_covers_a_narrower_one() -> None:
    wanted = understand(["man", "person"])
    assert wanted.kinds == {"person": "person"}
    assert wanted.unsearched == ("man",)
    assert wanted.notes == ("'man' is covered by 'person': each object is listed once",)


def test_two_narrower_words_are_not_told_apart_so_that_objects_keep_the_kinds_name() -> None:
    wanted = understand(["man", "woman"])
    assert wanted.kinds == {"person": "person"}
    assert wanted.unsearched == ("man", "woman")
    assert wanted.notes == ("'man' and 'woman': found as person; the embedded backend cannot tell them apart",)


def test_without_prompts_all_kinds_go_by_their_own_names() -> None:
    wanted: Wanted = understand(None)
    assert len(wanted.kinds) == 80
    assert all(kind == label for kind, label in wanted.kinds.items())
    assert set(wanted.read) == set(Kind)
    assert not wanted.parts
