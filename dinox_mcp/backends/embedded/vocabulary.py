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
    ARUCO = "ArUco marker"
    APRILTAG = "AprilTag"
    TEXT = "text"


ALL_CODES = frozenset({Kind.QR, Kind.BARCODE})
ALL_MARKERS = frozenset({Kind.ARUCO, Kind.APRILTAG})

_MEANINGS: dict[str, frozenset[Kind]] = {
    "text": frozenset({Kind.TEXT}),
    "QR code": frozenset({Kind.QR}),
    "barcode": frozenset({Kind.BARCODE}),
    "marker": ALL_MARKERS,
    "ArUco marker": frozenset({Kind.ARUCO}),
    "AprilTag": frozenset({Kind.APRILTAG}),
}
LABELS = tuple(_MEANINGS)
EVERYTHING = ("text", "QR code", "barcode", "marker")

_SYNONYMS: dict[frozenset[Kind], str] = {
    _MEANINGS["text"]: "text, text line, line of text, text block, printed text, written text, word, writing, "
    "lettering, transcript, ocr",
    _MEANINGS["QR code"]: "qr, qr code, qr tag, qr marker, quick response code, 2d code",
    _MEANINGS["barcode"]: "barcode, 1d barcode, 1d code, linear barcode",
    _MEANINGS["marker"]: "marker, fiducial, fiducial marker, fiducial tag, visual marker",
    _MEANINGS["ArUco marker"]: "aruco, aruco marker, aruco tag, aruco code",
    _MEANINGS["AprilTag"]: "apriltag, apriltag marker",
    ALL_CODES: "code, machine readable code, scannable code",
}
# Words for things that are narrower than what is found: the answer says so.
_NARROWER: dict[frozenset[Kind], str] = {
    _MEANINGS["text"]: "sign, signage, label, caption, subtitle, title, heading, headline, inscription, handwriting, "
    "notice, number, digit, letter, character",
    _MEANINGS["barcode"]: "ean, ean code, ean barcode, ean13, ean8, upc, upc code, upc barcode, upca, gtin, "
    "product code, product barcode",
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
    (kind,) = kinds
    what = "line of text" if kind is Kind.TEXT else "barcode"
    return f"'{prompt}' lists every {what}: the embedded backend cannot tell which of them are '{prompt}'"


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
