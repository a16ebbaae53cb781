"""The words that the embedded backend understands, and what it answers to others."""

import pytest

from dinox_mcp.backends.embedded import vocabulary
from dinox_mcp.backends.embedded.vocabulary import ALL_CODES, Kind, understand
from dinox_mcp.errors import UnsupportedError


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


def test_no_prompts_ask_for_everything_under_its_own_name() -> None:
    wanted = understand(None)
    assert set(wanted.labels) == set(Kind)
    assert set(wanted.labels.values()) == set(vocabulary.EVERYTHING)
    assert wanted.notes == ()


@pytest.mark.parametrize("label", vocabulary.LABELS)
def test_every_label_that_is_advertised_is_understood(label: str) -> None:
    assert kinds(label).keys() == {label}


def test_of_two_prompts_for_the_same_the_first_labels_it() -> None:
    wanted = understand(("text", "writing"))
    assert wanted.labels == {Kind.TEXT: "text"}
    assert wanted.notes == ("'writing' is covered by 'text': each object is listed once",)


def test_the_narrower_of_two_prompts_labels_what_it_covers() -> None:
    wanted = understand(("marker", "AprilTag", "code", "QR code"))
    assert wanted.labels == {
        Kind.ARUCO: "marker",
        Kind.APRILTAG: "AprilTag",
        **dict.fromkeys(ALL_CODES, "code"),
        Kind.QR: "QR code",
    }
    assert wanted.notes == ()


def test_a_prompt_for_something_narrower_than_what_is_found_is_answered_with_a_note() -> None:
    wanted = understand(("signs",))
    assert wanted.labels == {Kind.TEXT: "signs"}
    assert wanted.notes == (
        "'signs' lists every line of text: the embedded backend cannot tell which of them are 'signs'",
    )


def test_a_prompt_that_is_unknown_among_known_ones_is_named_in_a_note() -> None:
    wanted = understand(("text", "forklift", "red car"))
    assert wanted.labels == {Kind.TEXT: "text"}
    (note,) = wanted.notes
    assert "cannot find 'forklift', 'red car': it finds only text, QR code, barcode, Data Matrix" in note
    assert "DINOX_API_KEY" in note


@pytest.mark.parametrize("prompt", ["forklift", "license plate", "datum", "bar", "texture", "", "人"])
def test_what_cannot_be_found_is_an_error_with_a_remedy(prompt: str) -> None:
    with pytest.raises(UnsupportedError, match=r"finds only text, QR code, .* set DINOX_API_KEY") as caught:
        understand((prompt,))
    assert "\n" not in str(caught.value)
    assert f"'{prompt}'" in str(caught.value)


def test_a_long_list_of_unknown_prompts_is_shortened() -> None:
    with pytest.raises(UnsupportedError, match="and 95 more: it finds only") as caught:
        understand([f"thing {number} {'x' * 300}" for number in range(100)])
    assert len(str(caught.value)) < 500


def test_a_local_model_is_a_remedy_once_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class WithLocal:
        def get_all(self, _name: str) -> list[str]:
            return ["local"]

    monkeypatch.setattr(vocabulary, "metadata", lambda _name: WithLocal())
    with pytest.raises(UnsupportedError, match=r'install "dinox-mcp\[local\]"'):
        understand(("forklift",))
