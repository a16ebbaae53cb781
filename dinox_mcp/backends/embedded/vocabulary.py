"""What is read exactly (text, codes, markers), and the words for it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The kinds of readings."""

    QR = "QR code"
    BARCODE = "barcode"
    DATA_MATRIX = "Data Matrix"
    AZTEC = "Aztec code"
    PDF417 = "PDF417"
    ARUCO = "ArUco marker"
    APRILTAG = "AprilTag"
    TEXT = "text"


ALL_CODES = frozenset({Kind.QR, Kind.BARCODE, Kind.DATA_MATRIX, Kind.AZTEC, Kind.PDF417})
ALL_MARKERS = frozenset({Kind.ARUCO, Kind.APRILTAG})

_MEANINGS: dict[str, frozenset[Kind]] = {
    "text": frozenset({Kind.TEXT}),
    "QR code": frozenset({Kind.QR}),
    "barcode": frozenset({Kind.BARCODE, Kind.PDF417}),  # PDF417 looks like a barcode
    "Data Matrix": frozenset({Kind.DATA_MATRIX}),
    "Aztec code": frozenset({Kind.AZTEC}),
    "PDF417": frozenset({Kind.PDF417}),
    "marker": ALL_MARKERS,
    "ArUco marker": frozenset({Kind.ARUCO}),
    "AprilTag": frozenset({Kind.APRILTAG}),
}
LABELS = tuple(_MEANINGS)
EVERYTHING = ("text", "QR code", "barcode", "Data Matrix", "Aztec code", "PDF417", "marker")

_SYNONYMS: dict[frozenset[Kind], str] = {
    _MEANINGS["text"]: "text, text line, line of text, text block, printed text, written text, word, writing, "
    "lettering, transcript, ocr",
    _MEANINGS["QR code"]: "qr, qr code, qr tag, qr marker, quick response code, micro qr, micro qr code",
    _MEANINGS["barcode"]: "barcode, bar code",
    frozenset({Kind.BARCODE}): "1d barcode, 1d code, linear barcode",
    _MEANINGS["Data Matrix"]: "data matrix, data matrix code, data matrix barcode, gs1 data matrix, dmc",
    _MEANINGS["Aztec code"]: "aztec, aztec code, aztec barcode",
    _MEANINGS["PDF417"]: "pdf417, pdf 417, pdf417 barcode, pdf417 code, stacked barcode",
    _MEANINGS["marker"]: "marker, fiducial, fiducial marker, fiducial tag, visual marker",
    _MEANINGS["ArUco marker"]: "aruco, aruco marker, aruco tag, aruco code",
    _MEANINGS["AprilTag"]: "apriltag, apriltag marker",
    ALL_CODES: "code, machine readable code, scannable code",
    ALL_CODES - {Kind.BARCODE}: "2d code, 2d barcode, matrix code, matrix barcode",
}
# Words that mean less than what is found; a note says so.
_NARROWER: dict[frozenset[Kind], str] = {
    _MEANINGS["text"]: "sign, signage, label, caption, subtitle, title, heading, headline, inscription, handwriting, "
    "notice, number, digit, letter, character",
    frozenset({Kind.BARCODE}): "ean, ean code, ean barcode, ean13, ean8, upc, upc code, upc barcode, upca, upce, "
    "gtin, isbn, product code, product barcode, code 128, code 128 barcode, gs1 128, sscc, sscc code, sscc barcode, "
    "code 39, code 39 barcode, code 93, codabar, itf, itf14, interleaved 2 of 5, databar, gs1 databar",
}
_AMBIGUOUS = frozenset({"marker"})
_FILLER = re.compile(r"^(?:(?:a|an|the|all|any|every|each|some|of)\s+)+")


@dataclass(frozen=True, slots=True)
class Labels:
    """The label of each kind, the prompts that another prompt covers, and notes for the caller."""

    labels: Mapping[Kind, str]
    covered: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def understand(prompts: Sequence[str]) -> Labels:
    """Label kinds by the prompts that mean them; other prompts are ignored.

    If two prompts mean the same kind, the narrower one labels it, or else the first.
    """
    known = {prompt: kinds for prompt in prompts if (kinds := meaning(prompt))}
    labels: dict[Kind, str] = {}
    for prompt, kinds in sorted(known.items(), key=lambda item: len(item[1])):
        for kind in kinds:
            labels.setdefault(kind, prompt)
    covered = tuple(prompt for prompt in known if prompt not in labels.values())
    notes = [_covered_note(prompt, known[prompt], labels) for prompt in covered]
    notes += [
        _narrower_note(prompt, known[prompt]) for prompt in known if prompt not in covered and _is_narrower(prompt)
    ]
    return Labels(labels, covered, tuple(notes))


def meaning(prompt: str) -> frozenset[Kind]:
    """Return the kinds that a prompt means, in any case, spelling and number; empty if it is unknown."""
    return _WORDS.get(_root(prompt), frozenset())


def is_vague(prompt: str) -> bool:
    """Tell whether a word may mean something that cannot be read: a sign is more than text, a marker may be a pen."""
    kinds = meaning(prompt)
    return _root(prompt) in _AMBIGUOUS or (kinds == {Kind.TEXT} and _is_narrower(prompt))


def words_of(prompt: str) -> list[str]:
    """Split a prompt into words in lower case, without articles and quantifiers before them."""
    return _FILLER.sub("", " ".join(re.findall(r"[^\W_]+", prompt.casefold()))).split()


def _root(prompt: str) -> str:
    words = words_of(prompt)
    return "".join(word[:-1] if re.fullmatch(r"\w+[^s\d]s", word) else word for word in words)


def _is_narrower(prompt: str) -> bool:
    return any(_root(prompt) in {_root(word) for word in words.split(",")} for words in _NARROWER.values())


def _narrower_note(prompt: str, kinds: frozenset[Kind]) -> str:
    if kinds == {Kind.BARCODE}:
        return f"'{prompt}' lists every barcode: the category of each says of which kind it is"
    return f"'{prompt}' lists every line of text: the embedded backend cannot tell which of them are '{prompt}'"


def _covered_note(prompt: str, kinds: frozenset[Kind], labels: Mapping[Kind, str]) -> str:
    others = " and ".join(dict.fromkeys(f"'{labels[kind]}'" for kind in sorted(kinds)))
    return f"'{prompt}' is covered by {others}: each object is listed once"


_WORDS = {
    _root(word): kinds
    for table in (_SYNONYMS, _NARROWER)
    for kinds, words in table.items()
    for word in words.split(",")
}
