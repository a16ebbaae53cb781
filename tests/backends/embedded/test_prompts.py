"""What prompts mean to the embedded backend, and what their objects are called."""

import pytest

from dinox_mcp.backends.base import Fit
from dinox_mcp.backends.embedded import prompts
from dinox_mcp.backends.embedded.prompts import ALL_CODES, BodyPart, Kind, Targets, fit, understand


def kinds(*words: str) -> dict[str, set[Kind]]:
    """Give the kinds that each prompt labels."""
    labels = understand(words).read
    return {label: {kind for kind in labels if labels[kind] == label} for label in labels.values()}


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        *((word, {Kind.TEXT}) for word in ("text", "Texts", "the text", "writing", "all words", "line of text")),
        *((word, {Kind.QR}) for word in ("QR code", "qr-codes", "QRCode", "qr", "a QR code", "QR_CODE")),
        *((word, {Kind.BARCODE, Kind.PDF417}) for word in ("barcode", "bar codes", "Bar-Code")),
        *((word, {Kind.BARCODE}) for word in ("1D barcodes", "EAN-13", "UPC", "Code 128", "SSCC")),
        *((word, {Kind.DATA_MATRIX}) for word in ("data matrix", "DataMatrix codes")),
        *((word, {Kind.ARUCO, Kind.APRILTAG}) for word in ("marker", "Markers", "fiducials", "fiducial markers")),
        *((word, {Kind.ARUCO}) for word in ("ArUco", "aruco marker", "ArUco tags")),
        *((word, {Kind.APRILTAG}) for word in ("AprilTag", "april tags", "AprilTag markers")),
        *((word, set(ALL_CODES)) for word in ("code", "codes", "machine-readable codes")),
    ],
)
def test_a_prompt_is_understood_in_many_spellings(prompt: str, kind: set[Kind]) -> None:
    assert kinds(prompt) == {prompt: kind}


def test_all_that_is_read_goes_by_its_own_name() -> None:
    targets = understand(prompts.EVERYTHING)
    assert set(targets.read) == set(Kind)
    assert set(targets.read.values()) == set(prompts.EVERYTHING)
    assert targets.notes == ()


def test_every_label_that_is_advertised_is_understood() -> None:
    for label in prompts.LABELS:
        targets = understand([label])
        assert {*targets.read.values(), *targets.kinds.values(), *targets.parts.values()} == {label}
        assert targets.notes == ()


def test_of_two_prompts_for_the_same_the_first_labels_it() -> None:
    targets = understand(("text", "writing"))
    assert targets.read == {Kind.TEXT: "text"}
    assert targets.notes == ("'writing' is covered by 'text': each object is listed once",)


def test_the_narrower_of_two_prompts_labels_what_it_covers() -> None:
    targets = understand(("marker", "AprilTag", "code", "QR code"))
    assert targets.read == {
        Kind.ARUCO: "marker",
        Kind.APRILTAG: "AprilTag",
        **dict.fromkeys(ALL_CODES, "code"),
        Kind.QR: "QR code",
    }
    assert targets.notes == ()


def test_a_prompt_for_something_narrower_than_what_is_found_is_answered_with_a_note() -> None:
    targets = understand(("signs",))
    assert targets.read == {Kind.TEXT: "signs"}
    assert targets.notes == (
        "'signs' lists every line of text: the embedded backend does not know which of them are 'signs'",
    )


def test_a_prompt_that_means_something_else_is_not_read() -> None:
    assert understand(("text", "forklift", "red car")).read == {Kind.TEXT: "text"}


def objects(*prompts: str) -> dict[str, str]:
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
        ("label", Fit.KNOWN),
        ("marker", Fit.KNOWN),
        ("forklift", Fit.WORDS),
        ('"', Fit.WORDS),
        ('""', Fit.WORDS),
    ],
)
def test_how_well_a_prompt_can_be_answered(prompt: str, how_well: Fit) -> None:
    assert fit(prompt) is how_well


def test_each_kind_of_prompt_is_searched_in_its_own_way() -> None:
    targets = understand(["QR code", "people", "faces", "'Exit'", "forklift"])
    assert targets.read == {Kind.QR: "QR code"}
    assert targets.kinds == {"person": "people"}
    assert targets.parts == {BodyPart.FACE: "faces"}
    assert targets.quoted == {"'Exit'": "Exit"}
    assert targets.others == {"forklift": "forklift"}
    assert (targets.unsearched, targets.notes) == ((), ())


def test_a_wider_word_labels_all_its_kinds() -> None:
    assert set(objects("vehicle")) >= {"car", "truck", "bus"}
    assert set(objects("vehicle").values()) == {"vehicle"}


def test_the_exact_word_labels_its_kind_and_the_wider_one_the_rest_with_a_note() -> None:
    targets = understand(["vehicle", "car"])
    assert (targets.kinds["car"], targets.kinds["bus"]) == ("car", "vehicle")
    assert targets.notes == ("'vehicle' does not count everything that it covers: car is listed as 'car'",)


@pytest.mark.parametrize("prompt", ["left hand", "hands of a child", "child's face", "faces of people", "human faces"])
def test_parts_of_persons_are_known_by_more_than_their_names(prompt: str) -> None:
    targets = understand([prompt])
    assert set(targets.parts.values()) == {prompt}
    assert targets.notes[0].startswith(f"{prompt}: found as")


@pytest.mark.parametrize("prompt", ["clock face", "hand cream", "cat's face", "hands of the clock"])
def test_other_faces_and_hands_are_none_of_a_person(prompt: str) -> None:
    assert not understand([prompt]).parts


def test_a_narrower_word_is_answered_with_a_note() -> None:
    targets = understand(["man"])
    assert targets.kinds == {"person": "man"}
    assert targets.notes[0].startswith("man: found as person;")


def test_an_exact_word_covers_a_narrower_one() -> None:
    targets = understand(["man", "person"])
    assert targets.kinds == {"person": "person"}
    assert targets.unsearched == ("man",)
    assert targets.notes == ("'man' is covered by 'person': each object is listed once",)


def test_two_narrower_words_are_not_told_apart_so_that_objects_keep_the_kinds_name() -> None:
    targets = understand(["man", "woman"])
    assert targets.kinds == {"person": "person"}
    assert targets.unsearched == ("man", "woman")
    assert targets.notes == ("'man' and 'woman': found as person; the embedded backend cannot distinguish them",)


def test_without_prompts_all_kinds_go_by_their_own_names() -> None:
    targets: Targets = understand(None)
    assert len(targets.kinds) == 80
    assert all(kind == label for kind, label in targets.kinds.items())
    assert set(targets.read) == set(Kind)
    assert not targets.parts
