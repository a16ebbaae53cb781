"""Reads QR codes, barcodes and other codes with ZXing-C++, and locates barcodes with OpenCV.

ZXing-C++ reads square codes at any rotation, but barcodes only along rows and columns, so it reads rotated views of an
image, too. It does not report barcodes that it cannot read: OpenCV locates those.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import replace

import cv2
import numpy as np
import zxingcpp

from dinox_mcp.backends.embedded import bars, code_text
from dinox_mcp.backends.embedded.prompts import Kind
from dinox_mcp.backends.embedded.readings import (
    Pixels,
    Quad,
    Reading,
    View,
    around,
    levelled,
    overlap,
    quad,
    resized,
    share_inside,
    sides,
    tiles,
    unique,
)
from dinox_mcp.backends.embedded.worker import Report, share

_FORMATS = {
    Kind.QR: "QRCode, MicroQRCode, RMQRCode",
    # Without stacked kinds of DataBar, which are read into noise.
    Kind.BARCODE: "EAN/UPC, Code128, Code39, Code93, Codabar, ITF, DataBarOmni, DataBarLimited, DataBarExpanded",
    Kind.DATA_MATRIX: "DataMatrix",
    Kind.AZTEC: "AztecCode",  # without Aztec runes, which are read into noise
    Kind.PDF417: "PDF417, CompactPDF417, MicroPDF417",
}
_KINDS = {"QR Code": Kind.QR, "Data Matrix": Kind.DATA_MATRIX, "Aztec": Kind.AZTEC, "PDF417": Kind.PDF417}
_USUAL = frozenset({*_KINDS, "QR Code Model 2", "Aztec Code"})
# Codes that are reported if they cannot be read. Micro and rectangular QR codes are not: each corner of a QR code
# looks like one.
_DAMAGED = frozenset({"QR Code", "QR Code Model 1", "QR Code Model 2"})
_EAN_13 = {"EAN-13": "UPC-A", "UPC-A": "UPC-A", "UPC-E": "UPC-E"}
_UNCHECKED = frozenset({"ITF", "Codabar", "Code 39"})
_LEAST_ITF = 6  # shorter ones are read into parts of other codes
_MOST_BINARY = 400
_WITH_ENCODING = frozenset({"]Q2", "]Q4", "]Q6", "]d4", "]d5", "]d6", "]z3", "]z4", "]z5", "]L1"})
_UNKNOWN_ENCODING = "the encoding of a code is unknown: bytes beyond ASCII are written as \\xNN in its text"

_ANGLES = (22.5, 45.0, 67.5)  # barcodes are read up to some 15 degrees off rows and columns
_ROTATED = frozenset({Kind.BARCODE, Kind.PDF417})
_SMALL, _LONG = 1_500_000, 2500  # pixels in all, and of the long side: rotated, a thin image fills a large square
_LEAST_TILE = 1600
_QR_SIDE = 500  # a damaged code is read best at about this height
_LENGTHS = (700, 1400)  # and a barcode at one of these lengths
_MARGIN = 0.15
_HEIGHT, _SLICE = 0.5, 0.3  # barcodes are up to half as high as they are long


def read_symbols(gray: Pixels, kinds: AbstractSet[Kind]) -> Iterator[Reading]:
    """Read the codes of some kinds in pixels (height, width); damaged QR codes have no text.

    `text` is text as it is, GS1 data with their identifiers in parentheses, or binary data byte by byte as Latin-1,
    with `<GS>`, `<U+80>` and so on for bytes that do not print. `category` is the symbology, if the kind does not
    name it.
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
            if str(code.format) in _DAMAGED and cv2.contourArea(shape):  # ZXing gives some without an outline
                yield Reading(kind, shape)
            continue
        (text, note), name = _content(code), str(code.format)
        if name.startswith("DataBar"):  # a slice does not show which of its forms it is
            name = "DataBar"
        if name in _EAN_13 and text.startswith("0"):  # an EAN that begins with 0 is a UPC
            name, text = _EAN_13[name], text[1:]
        if name != "ITF" or len(text) >= _LEAST_ITF:
            yield Reading(kind, shape, text or None, category=None if name in _USUAL else name, note=note)


def _is_checked(found: Reading) -> bool:
    """Return whether the symbology of a code has a check digit; without one, a part of a code may be read as a code."""
    return found.category not in _UNCHECKED


def _content(code: zxingcpp.Barcode) -> tuple[str, str | None]:
    """Return the content of a code as text, and a note if its encoding was guessed or is unknown."""
    if code.content_type is zxingcpp.ContentType.Binary:
        long = len(code.text) > _MOST_BINARY
        return (f"{code.text[:_MOST_BINARY]}... ({len(code.bytes)} bytes)" if long else code.text), None
    if not _is_guess(code):
        return code.text, None
    text, encoding = code_text.decode(code.bytes)
    if not encoding:
        return text, _UNKNOWN_ENCODING if encoding == "" else None
    if other := code_text.alternative(code.bytes):
        return text, f"a code does not name its encoding: it says {text!r} in {encoding}, or {other[0]!r} in {other[1]}"
    if text == code.text:
        return text, None
    return text, f"a code does not name its encoding: its text was decoded as {encoding}, which fits best"


def _is_guess(code: zxingcpp.Barcode) -> bool:
    """Return whether ZXing guessed the encoding of bytes: Latin-1, or Shift JIS if there are narrow katakana."""
    named = code.symbology_identifier in _WITH_ENCODING or str(code.symbology) not in _KINDS
    guessed = code.text == code.bytes.decode("latin-1") or any("\uff61" <= letter <= "\uff9f" for letter in code.text)
    return not named and not code.bytes.isascii() and guessed


def read(gray: Pixels, kinds: AbstractSet[Kind], report: Report) -> list[Reading]:
    """Find codes in an image (height, width); codes that are found but cannot be read have no text."""
    views = _views(gray)
    angles = _ANGLES if kinds & _ROTATED else ()
    found: list[Reading] = []
    for done, view in enumerate(views):
        report(0.6 * done / len(views))
        found += _new(_mapped(read_symbols(view.pixels, kinds), view.to_image), found)
        for part, degrees in enumerate(angles, 1):
            report(0.6 * (done + part / (1 + len(angles))) / len(views))
            found += _new(_mapped(_read_rotated(view.pixels, degrees, kinds & _ROTATED), view.to_image), found)
    found = [code if code.text else _read_enlarged(gray, code) for code in unique(found)]
    if Kind.BARCODE in kinds:
        found = [_at_full_height(gray, code) if code.kind is Kind.BARCODE else code for code in found]
        found = _with_located(gray, found, bars.locate(gray, share(report, 0.6, 1.0)))
    return found


def _views(gray: Pixels) -> list[View]:
    """Choose the views of an image: a small one at double size, too; a long one in parts, which can be rotated."""
    is_small = gray.size <= _SMALL
    side = max(_LEAST_TILE, 2 * min(gray.shape))
    parts = [View(gray)] if is_small and max(gray.shape) <= _LONG else tiles(gray, side, side // 4)
    return [*parts, *(replace(resized(part.pixels, 2), x=part.x, y=part.y) for part in parts)] if is_small else parts


def _read_rotated(gray: Pixels, degrees: float, kinds: AbstractSet[Kind]) -> Iterator[Reading]:
    """Read codes in rotated pixels; their corners are mapped back."""
    height, width = gray.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    size = math.ceil(width * cos + height * sin), math.ceil(width * sin + height * cos)
    matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    pixels = np.asarray(cv2.warpAffine(gray, matrix, size, flags=cv2.INTER_LINEAR, borderValue=255), np.uint8)
    back = cv2.invertAffineTransform(matrix)
    return _mapped(read_symbols(pixels, kinds), lambda shape: cv2.transform(shape[None], back)[0])


def _new(codes: Iterable[Reading], found: list[Reading]) -> list[Reading]:
    """Leave out codes that another view has shown already, if only in another slice of their bars."""
    return [
        code
        for code in codes
        if not any(
            code.text is not None
            and code.text == other.text
            and overlap(_thickened(code.quad), _thickened(other.quad), _SLICE)
            for other in found
        )
    ]


def _thickened(shape: Quad) -> Quad:
    """Widen a slice of a barcode to about the height of its bars."""
    middle, (width, height), angle = cv2.minAreaRect(shape)
    least = _HEIGHT * max(width, height)
    return np.asarray(cv2.boxPoints((middle, (max(width, least), max(height, least)), angle)), np.float32)


def _read_enlarged(gray: Pixels, damaged: Reading) -> Reading:
    view = around(gray, damaged.quad, 0.2, _QR_SIDE)
    codes = _mapped(read_symbols(view.pixels, {damaged.kind}), view.to_image)
    return next((code for code in codes if code.text), damaged)


def _with_located(gray: Pixels, found: list[Reading], located: Iterable[Quad]) -> list[Reading]:
    """Remove codes that were read into a part of a barcode, and add barcodes that were not read."""
    for shape in located:
        inside = [item for item in found if item.kind in _ROTATED and _is_at(item, shape)]
        if not inside:
            if not any(overlap(shape, item.quad) for item in found):
                found += _new([_read_levelled(gray, shape)], found)
            continue
        best = max(inside, key=lambda item: (_is_checked(item), len(item.text or "")))
        for item in inside:
            if item is not best and (not _is_checked(item) or item.text == best.text):
                found.remove(item)
    return unique(found)


def _read_levelled(gray: Pixels, shape: Quad) -> Reading:
    """Read a located barcode in a view in which it is level; without a text if that fails."""
    _, width, height, _ = sides(shape).tolist()
    for length in _LENGTHS:
        factor = length / max(width, height)
        size = width * factor, height * factor
        pixels, back = levelled(gray, shape, size, _MARGIN * length, border=cv2.BORDER_CONSTANT)
        for level in (pixels, np.asarray(255 - pixels, np.uint8)):  # inverted for white bars on black
            if code := max(read_symbols(level, {Kind.BARCODE}), key=lambda code: len(code.text or ""), default=None):
                piece = replace(code, quad=quad(cv2.perspectiveTransform(code.quad[None], back)))
                return _at_full_height(gray, piece)
    return Reading(Kind.BARCODE, shape)


def _at_full_height(gray: Pixels, code: Reading) -> Reading:
    """Give a barcode, of which a slice was read, the outline of all its bars."""
    return replace(code, quad=bars.extent(gray, code.quad))


def _is_at(found: Reading, shape: Quad) -> bool:
    middle = found.quad.mean(axis=0)
    inside = cv2.pointPolygonTest(cv2.convexHull(shape), middle.tolist(), measureDist=False) >= 0
    return inside or share_inside(shape, found.quad) > 0.5  # noqa: PLR2004 - most of it


def _mapped(codes: Iterable[Reading], to_image: Callable[[Quad], Quad]) -> Iterator[Reading]:
    return (replace(code, quad=to_image(code.quad)) for code in codes)
