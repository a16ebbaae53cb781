"""What prompts mean: things to read, kinds of objects, faces and hands, or words to find in the text."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from dinox_mcp.backends.base import Fit
from dinox_mcp.backends.kind_words import KINDS
from dinox_mcp.backends.kinds import Sense, covered_note, label_kinds, sense
from dinox_mcp.types.text import quoted_text


class Kind(StrEnum):
    """The kinds of what is read exactly: text, codes and markers."""

    QR = "QR code"
    BARCODE = "barcode"
    DATA_MATRIX = "Data Matrix"
    AZTEC = "Aztec code"
    PDF417 = "PDF417"
    ARUCO = "ArUco marker"
    APRILTAG = "AprilTag"
    TEXT = "text"


class BodyPart(StrEnum):
    """Parts of persons that have detectors of their own."""

    FACE = "face"
    HAND = "hand"


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
# These may come before a part of the body; words for persons may, too.
_DESCRIBING = frozenset(
    {"human", "left", "right", "visible", "raised", "open", "bare", "smiling", "happy", "young", "old"}
)

LABELS = (*KINDS, *BodyPart, *_MEANINGS)
"""The closed vocabulary; prompts may also be words of the text."""


@dataclass(frozen=True, slots=True)
class Targets:
    """What to find for a request: the labels of readings, of kinds of objects by COCO's name, and of parts of persons.

    The words of prompts in quotes (`quoted`) and with another meaning (`others`) are searched in the text. Objects of
    `unsearched` prompts have the label of another prompt.
    """

    read: Mapping[Kind, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[BodyPart, str] = field(default_factory=dict)
    quoted: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)
    unsearched: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def phrases(self) -> dict[str, str]:
        """The words to search in the text, by their prompt."""
        return {**self.quoted, **self.others}

    @property
    def readings(self) -> frozenset[Kind]:
        """What has to be read: text, too, if words are searched in it."""
        return frozenset(self.read) | (frozenset({Kind.TEXT}) if self.phrases else frozenset())


def fit(prompt: str) -> Fit:
    """Return how well a prompt can be answered.

    A word such as "sign", which finds every line of text, is known but not exact: another backend may distinguish
    signs from other text.
    """
    readable = meaning(prompt)
    if quoted_text(prompt) or (readable and not _is_vague(prompt)):
        return Fit.EXACT
    return Fit.KNOWN if readable or _part(prompt) or sense(prompt) else Fit.WORDS


def understand(prompts: Sequence[str] | None) -> Targets:
    """Find the targets of prompts; None means everything except faces and hands."""
    if prompts is None:
        return Targets(
            read=_label_readings({word: meaning(word) for word in EVERYTHING})[0], kinds={kind: kind for kind in KINDS}
        )
    read: dict[str, frozenset[Kind]] = {}
    senses: dict[str, Sense] = {}
    parts: dict[BodyPart, str] = {}
    quoted: dict[str, str] = {}
    others: dict[str, str] = {}
    covered_parts: list[str] = []
    part_notes: list[str] = []
    for prompt in prompts:
        if words := quoted_text(prompt):
            quoted[prompt] = words
        elif kinds_read := meaning(prompt):
            read[prompt] = kinds_read
        elif part := _part(prompt):
            if parts.setdefault(part, prompt) != prompt:
                covered_parts.append(prompt)
                part_notes.append(covered_note(prompt, [parts[part]], part))
            elif prompt.casefold().strip() not in (part, f"{part}s"):
                part_notes.append(f"{prompt}: found as {part}; the embedded backend does not know which are '{prompt}'")
        elif known := sense(prompt):
            senses[prompt] = known
        else:
            others[prompt] = prompt
    labels, covered_readings, notes_on_readings = _label_readings(read)
    kinds, covered, notes = label_kinds(senses, KINDS, "the embedded backend")
    return Targets(
        read=labels,
        kinds=kinds,
        parts=parts,
        quoted=quoted,
        others=others,
        unsearched=(*covered_readings, *covered, *covered_parts),
        notes=(*notes_on_readings, *notes, *part_notes),
    )


def meaning(prompt: str) -> frozenset[Kind]:
    """Return the kinds of readings that a prompt means, in any case, spelling and number; empty if it means none."""
    return _WORDS.get(_root(prompt), frozenset())


def _is_vague(prompt: str) -> bool:
    """Return whether a word may mean something that cannot be read: a sign is more than text, a marker may be a pen."""
    return _root(prompt) in _AMBIGUOUS or (meaning(prompt) == {Kind.TEXT} and _is_narrower(prompt))


def _words_of(prompt: str) -> list[str]:
    """Split a prompt into words in lower case, without articles and quantifiers before them."""
    return _FILLER.sub("", " ".join(re.findall(r"[^\W_]+", prompt.casefold()))).split()


def _root(prompt: str) -> str:
    return "".join(word[:-1] if re.fullmatch(r"\w+[^s\d]s", word) else word for word in _words_of(prompt))


def _is_narrower(prompt: str) -> bool:
    return any(_root(prompt) in {_root(word) for word in words.split(",")} for words in _NARROWER.values())


def _label_readings(known: Mapping[str, frozenset[Kind]]) -> tuple[dict[Kind, str], list[str], list[str]]:
    """Label each kind of reading with the narrower of two prompts that mean it; see `label_kinds`."""
    labels: dict[Kind, str] = {}
    for prompt, kinds in sorted(known.items(), key=lambda item: len(item[1])):
        for kind in kinds:
            labels.setdefault(kind, prompt)
    covered = [prompt for prompt in known if prompt not in labels.values()]
    notes = [covered_note(prompt, (labels[kind] for kind in sorted(known[prompt]))) for prompt in covered]
    for prompt, kinds in known.items():
        if prompt in covered or not _is_narrower(prompt):
            continue
        if kinds == {Kind.BARCODE}:
            notes.append(f"'{prompt}' lists every barcode: the category of each says of which kind it is")
        else:
            notes.append(
                f"'{prompt}' lists every line of text: the embedded backend does not know which of them are '{prompt}'"
            )
    return labels, covered, notes


def _part(prompt: str) -> BodyPart | None:
    """Read "face", "people's faces", "left hand" or "hands of a child", but not "clock face"."""
    words = [word for word in _words_of(prompt) if word != "s"]  # the s of "person's"
    head, _, owner = " ".join(words).partition(" of ")
    *before, last = head.split() or [""]
    part = last.removesuffix("s")
    if part not in tuple(BodyPart) or not all(word in _DESCRIBING or _is_person(word) for word in before):
        return None
    return BodyPart(part) if not owner or _is_person(owner) else None


def _is_person(words: str) -> bool:
    known = sense(words)
    return known is not None and known.kinds == {"person"}


_WORDS = {
    _root(word): kinds
    for table in (_SYNONYMS, _NARROWER)
    for kinds, words in table.items()
    for word in words.split(",")
}
