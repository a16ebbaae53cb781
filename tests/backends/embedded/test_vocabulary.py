"""The words for text, codes and markers."""

import pytest

from dinox_mcp.backends.embedded import vocabulary
from dinox_mcp.backends.embedded.vocabulary import ALL_CODES, Kind, understand


def kinds(*prompts: str) -> dict[str, set[Kind]]:
    """Give the kinds that each prompt labels."""
    labels = understand(prompts).labels
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


def test_everything_goes_by_its_own_name() -> None:
    labels = understand(vocabulary.EVERYTHING)
    assert set(labels.labels) == set(Kind)
    assert set(labels.labels.values()) == set(vocabulary.EVERYTHING)
    assert labels.notes == ()


@pytest.mark.parametrize("label", vocabulary.LABELS)
def test_every_label_that_is_advertised_is_understood(label: str) -> None:
    assert kinds(label).keys() == {label}


def test_of_two_prompts_for_the_same_the_first_labels_it() -> None:
    labels = understand(("text", "writing"))
    assert labels.labels == {Kind.TEXT: "text"}
    assert labels.notes == ("'writing' is covered by 'text': each object is listed once",)


def test_the_narrower_of_two_prompts_labels_what_it_covers() -> None:
    labels = understand(("marker", "AprilTag", "code", "QR code"))
    assert labels.labels == {
        Kind.ARUCO: "marker",
        Kind.APRILTAG: "AprilTag",
        **dict.fromkeys(ALL_CODES, "code"),
        Kind.QR: "QR code",
    }
    assert labels.notes == ()


def test_a_prompt_for_something_narrower_than_what_is_found_is_answered_with_a_note() -> None:
    labels = understand(("signs",))
    assert labels.labels == {Kind.TEXT: "signs"}
    assert labels.notes == (
        "'signs' lists every line of text: the embedded backend cannot tell which of them are 'signs'",
    )


def test_a_prompt_that_means_something_else_is_left_out() -> None:
    labels = understand(("text", "forklift", "red car"))
    assert (labels.labels, labels.notes) == ({Kind.TEXT: "text"}, ())


@pytest.mark.parametrize("word", ["sign", "label", "marker"])
def test_words_that_may_mean_more_than_what_is_read_are_vague(word: str) -> None:
    assert vocabulary.is_vague(word)
    assert not vocabulary.is_vague("QR code")
