"""What can be found, and the words that people use for it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, metadata

from dinox_mcp.errors import UnsupportedError


class Kind(StrEnum):
    """What the detectors tell apart."""

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
    "barcode": frozenset({Kind.BARCODE, Kind.PDF417}),  # as PDF417 looks like one
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
# Words for things that are narrower than what is found: the answer says so.
_NARROWER: dict[frozenset[Kind], str] = {
    _MEANINGS["text"]: "sign, signage, label, caption, subtitle, title, heading, headline, inscription, handwriting, "
    "notice, number, digit, letter, character",
    frozenset({Kind.BARCODE}): "ean, ean code, ean barcode, ean13, ean8, upc, upc code, upc barcode, upca, upce, "
    "gtin, isbn, product code, product barcode, code 128, code 128 barcode, gs1 128, sscc, sscc code, sscc barcode, "
    "code 39, code 39 barcode, code 93, codabar, itf, itf14, interleaved 2 of 5, databar, gs1 databar",
}
_FILLER = re.compile(r"^(?:(?:a|an|the|all|any|every|each|some|of)\s+)+")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for: the label that each kind goes by, and what the caller should know about that."""

    labels: Mapping[Kind, str]
    notes: tuple[str, ...] = ()


def understand(prompts: Sequence[str] | None) -> Wanted:
    """Read prompts; None asks for everything.

    Where two prompts cover the same kind, the narrower one labels it, or else the first.

    Raises:
        UnsupportedError: not one of the prompts is anything that this backend can find.
    """
    asked = {prompt: _meaning(prompt) for prompt in (EVERYTHING if prompts is None else prompts)}
    known = {prompt: kinds for prompt, kinds in asked.items() if kinds}
    unknown = [prompt for prompt in asked if prompt not in known]
    if not known:
        raise UnsupportedError(_cannot(unknown))
    labels: dict[Kind, str] = {}
    for prompt, kinds in sorted(known.items(), key=lambda item: len(item[1])):
        for kind in kinds:
            labels.setdefault(kind, prompt)
    notes = [_shadowed(prompt, kinds, labels) for prompt, kinds in known.items() if prompt not in labels.values()]
    notes += [
        _narrower(prompt, known[prompt]) for prompt in known if prompt in labels.values() and _is_narrower(prompt)
    ]
    return Wanted(labels, tuple(notes + ([_cannot(unknown)] if unknown else [])))


def _meaning(prompt: str) -> frozenset[Kind]:
    """Look a prompt up whatever its case, punctuation, spacing, article and number; empty where it is unknown."""
    return _WORDS.get(_root(prompt), frozenset())


def _root(prompt: str) -> str:
    words = _FILLER.sub("", " ".join(re.findall(r"[^\W_]+", prompt.casefold()))).split()
    return "".join(word[:-1] if re.fullmatch(r"\w+[^s\d]s", word) else word for word in words)


def _is_narrower(prompt: str) -> bool:
    return any(_root(prompt) in {_root(word) for word in words.split(",")} for words in _NARROWER.values())


def _narrower(prompt: str, kinds: frozenset[Kind]) -> str:
    if kinds == {Kind.BARCODE}:
        return f"'{prompt}' lists every barcode: the category of each says of which kind it is"
    return f"'{prompt}' lists every line of text: the embedded backend cannot tell which of them are '{prompt}'"


def _shadowed(prompt: str, kinds: frozenset[Kind], labels: Mapping[Kind, str]) -> str:
    others = " and ".join(dict.fromkeys(f"'{labels[kind]}'" for kind in sorted(kinds)))
    return f"'{prompt}' is covered by {others}: each object is listed once"


def _cannot(prompts: Sequence[str]) -> str:
    shown = ", ".join(f"'{prompt[:40]}'" for prompt in prompts[:5])
    more = f" and {len(prompts) - 5} more" if len(prompts) > 5 else ""  # noqa: PLR2004 - as many as are shown
    return (
        f"the embedded backend cannot find {shown}{more}: it finds only {', '.join(LABELS[:-1])} and {LABELS[-1]}; "
        f"for anything else {_remedy()}"
    )


def _remedy() -> str:
    """Say how to get an open vocabulary; a local model only where this release has one."""
    remedy = "set DINOX_API_KEY to use the DINO-X cloud (backend dinox)"
    try:
        extras = metadata("dinox-mcp").get_all("Provides-Extra") or []
    except PackageNotFoundError:
        return remedy
    return f'{remedy}, or install "dinox-mcp[local]"' if "local" in extras else remedy


_WORDS = {
    _root(word): kinds
    for table in (_SYNONYMS, _NARROWER)
    for kinds, words in table.items()
    for word in words.split(",")
}
