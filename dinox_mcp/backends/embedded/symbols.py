"""Codes as ZXing-C++ reads them: which symbologies are asked for, and how contents are told."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

import cv2
import zxingcpp

from dinox_mcp.backends.embedded import contents
from dinox_mcp.backends.embedded.findings import Finding, Pixels, quad
from dinox_mcp.backends.embedded.vocabulary import Kind

_FORMATS = {
    Kind.QR: "QRCode, MicroQRCode, RMQRCode",
    # Stacked kinds of DataBar are seen in noise.
    Kind.BARCODE: "EAN/UPC, Code128, Code39, Code93, Codabar, ITF, DataBarOmni, DataBarLimited, DataBarExpanded",
    Kind.DATA_MATRIX: "DataMatrix",
    Kind.AZTEC: "AztecCode",  # a rune is so small that noise looks like it
    Kind.PDF417: "PDF417, CompactPDF417, MicroPDF417",
}
_KINDS = {"QR Code": Kind.QR, "Data Matrix": Kind.DATA_MATRIX, "Aztec": Kind.AZTEC, "PDF417": Kind.PDF417}
_USUAL = frozenset({*_KINDS, "QR Code Model 2", "Aztec Code"})
# What is found and not read. Micro and rectangular QR codes have one corner mark, as each corner of a QR code is.
_DAMAGED = frozenset({"QR Code", "QR Code Model 1", "QR Code Model 2"})
_EAN_13 = {"EAN-13": "UPC-A", "UPC-A": "UPC-A", "UPC-E": "UPC-E"}
_UNCHECKED = frozenset({"ITF", "Codabar", "Code 39"})
_LEAST_ITF = 6  # what is read into parts of other codes is shorter
_MOST_BINARY = 400
_WITH_ENCODING = frozenset({"]Q2", "]Q4", "]Q6", "]d4", "]d5", "]d6", "]z3", "]z4", "]z5", "]L1"})
_UNTOLD = "the encoding of a code cannot be told: bytes beyond ASCII are written as \\xNN in its text"


def read(gray: Pixels, kinds: AbstractSet[Kind]) -> Iterator[Finding]:
    """Read the codes of some kinds in pixels (height, width); QR codes that are damaged come without a text.

    What `text` says: text as it is; GS1 data with their identifiers in parentheses; binary data byte by byte as
    Latin-1, what cannot be printed as `<GS>`, `<U+80>` and so on. `category` is the symbology, where the kind
    does not say it.
    """
    formats = zxingcpp.barcode_formats_from_str(
        ", ".join(_FORMATS[kind] for kind in Kind if kind in kinds & set(_FORMATS))
    )
    for code in zxingcpp.read_barcodes(gray, formats, return_errors=Kind.QR in kinds):
        kind = _KINDS.get(str(code.symbology), Kind.BARCODE)
        corners = code.position
        shape = quad(
            [(at.x, at.y) for at in (corners.top_left, corners.top_right, corners.bottom_right, corners.bottom_left)]
        )
        if not code.valid:
            if str(code.format) in _DAMAGED and cv2.contourArea(shape):  # ZXing gives some without a place
                yield Finding(kind, shape)
            continue
        (text, note), name = _told(code), str(code.format)
        if name.startswith("DataBar"):  # which of its forms, a glance at a slice does not tell
            name = "DataBar"
        if name in _EAN_13 and text.startswith("0"):  # which is how UPC is written as EAN
            name, text = _EAN_13[name], text[1:]
        if name != "ITF" or len(text) >= _LEAST_ITF:
            yield Finding(kind, shape, text or None, category=None if name in _USUAL else name, note=note)


def is_checked(found: Finding) -> bool:
    """Tell whether the symbology of a code has a check digit, without which a part of a code may be read as a whole."""
    return found.category not in _UNCHECKED


def _told(code: zxingcpp.Barcode) -> tuple[str, str | None]:
    """Write a content as text, with a note where its encoding was guessed or could not be told."""
    if code.content_type is zxingcpp.ContentType.Binary:
        long = len(code.text) > _MOST_BINARY
        return (f"{code.text[:_MOST_BINARY]}... ({len(code.bytes)} bytes)" if long else code.text), None
    if not _is_guess(code):
        return code.text, None
    text, encoding = contents.decode(code.bytes)
    if not encoding:
        return text, _UNTOLD if encoding == "" else None
    if other := contents.rival(code.bytes):
        return text, f"a code does not name its encoding: it says {text!r} in {encoding}, or {other[0]!r} in {other[1]}"
    if text == code.text:
        return text, None
    return text, f"a code does not name its encoding: its text was decoded as {encoding}, which fits best"


def _is_guess(code: zxingcpp.Barcode) -> bool:
    """Tell whether ZXing guessed the encoding of bytes: Latin-1, or Shift JIS if there are narrow katakana."""
    named = code.symbology_identifier in _WITH_ENCODING or str(code.symbology) not in _KINDS
    guessed = code.text == code.bytes.decode("latin-1") or any("\uff61" <= letter <= "\uff9f" for letter in code.text)
    return not named and not code.bytes.isascii() and guessed
