"""QR codes, barcodes and the like with their content: read by ZXing-C++, barcodes also located by OpenCV.

ZXing-C++ reads squares however they are turned, but bars only along rows and columns: a picture is shown to it
turned too. It says nothing of bars that it cannot read: OpenCV finds those.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import replace

import cv2
import numpy as np
import zxingcpp

from dinox_mcp.backends.embedded import bars, contents
from dinox_mcp.backends.embedded.findings import Finding, Pixels, Quad, once, quad, same_place, share_inside, sides
from dinox_mcp.backends.embedded.pixels import View, around, tiles, zoomed
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


def read_symbols(gray: Pixels, kinds: AbstractSet[Kind]) -> Iterator[Finding]:
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


Told = Callable[[float], None]

_TURNED = (22.5, 45.0, 67.5)  # bars are read up to some 15 degrees off
_ROWS = frozenset({Kind.BARCODE, Kind.PDF417})
_SMALL, _LONG = 1_500_000, 2500  # pixels in all, and of the long side: turned, a thin picture fills a large square
_LEAST_TILE = 1600
_QR_SIDE = 500  # a damaged code is read best at about this height
_LENGTHS = (700, 1400)  # and bars at one of these
_MARGIN = 0.15
_HEIGHT, _SLICE = 0.5, 0.3  # bars are up to half as high as they are long


def read(gray: Pixels, kinds: AbstractSet[Kind], tell: Told) -> list[Finding]:
    """Find codes in a picture (height, width); one that is found and cannot be read has no text."""
    looks = _looks(gray)
    turned = _TURNED if kinds & _ROWS else ()
    found: list[Finding] = []
    for done, view in enumerate(looks):
        tell(0.6 * done / len(looks))
        found += _unseen(_moved(read_symbols(view.pixels, kinds), view.whole), found)
        for part, degrees in enumerate(turned, 1):
            tell(0.6 * (done + part / (1 + len(turned))) / len(looks))
            found += _unseen(_moved(_turned(view.pixels, degrees, kinds & _ROWS), view.whole), found)
    found = once(found)
    found = [item if item.text else _closer(gray, item) for item in found]
    if Kind.BARCODE in kinds:
        found = [
            replace(item, quad=bars.extent(gray, item.quad)) if item.kind is Kind.BARCODE else item for item in found
        ]
        found = _with_located(gray, found, bars.locate(gray, lambda done: tell(0.6 + 0.4 * done)))
    return found


def _looks(gray: Pixels) -> list[View]:
    """Show a picture as it is, a small one at double size too; a long one in parts, which can be turned."""
    is_small = gray.size <= _SMALL
    side = max(_LEAST_TILE, 2 * min(gray.shape))
    parts = [View(gray)] if is_small and max(gray.shape) <= _LONG else tiles(gray, side, side // 4)
    return [*parts, *(replace(zoomed(part.pixels, 2), x=part.x, y=part.y) for part in parts)] if is_small else parts


def _turned(gray: Pixels, degrees: float, kinds: AbstractSet[Kind]) -> Iterator[Finding]:
    """Read codes in turned pixels; corners are those before."""
    height, width = gray.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    size = math.ceil(width * cos + height * sin), math.ceil(width * sin + height * cos)
    matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    pixels = np.asarray(cv2.warpAffine(gray, matrix, size, flags=cv2.INTER_LINEAR, borderValue=255), np.uint8)
    back = cv2.invertAffineTransform(matrix)
    return _moved(read_symbols(pixels, kinds), lambda shape: cv2.transform(shape[None], back)[0])


def _unseen(codes: Iterable[Finding], found: list[Finding]) -> list[Finding]:
    """Leave out what another look has seen already, if only in another slice of its bars."""
    return [
        code
        for code in codes
        if not any(
            code.text is not None
            and code.text == seen.text
            and same_place(_thick(code.quad), _thick(seen.quad), _SLICE)
            for seen in found
        )
    ]


def _thick(shape: Quad) -> Quad:
    """Widen a slice of bars to about what they are high."""
    middle, (width, height), turned = cv2.minAreaRect(shape)
    least = _HEIGHT * max(width, height)
    return np.asarray(cv2.boxPoints((middle, (max(width, least), max(height, least)), turned)), np.float32)


def _closer(gray: Pixels, damaged: Finding) -> Finding:
    view = around(gray, damaged.quad, 0.2, _QR_SIDE)
    return next((code for code in _moved(read_symbols(view.pixels, {damaged.kind}), view.whole) if code.text), damaged)


def _with_located(gray: Pixels, found: list[Finding], located: Iterable[Quad]) -> list[Finding]:
    """Drop what was read into a part of a barcode, and add barcodes that were not read."""
    for shape in located:
        inside = [item for item in found if item.kind in _ROWS and _is_at(item, shape)]
        if not inside:
            if not any(same_place(shape, item.quad) for item in found):
                found += _unseen([_levelled(gray, shape)], found)
            continue
        best = max(inside, key=lambda item: (is_checked(item), len(item.text or "")))
        for item in inside:
            if item is not best and (not is_checked(item) or item.text == best.text):
                found.remove(item)
    return once(found)


def _levelled(gray: Pixels, shape: Quad) -> Finding:
    """Read bars laid level; without a text where that does not help."""
    _, width, height, _ = sides(shape).tolist()
    for length in _LENGTHS:
        factor = length / max(width, height)
        margin = _MARGIN * length
        inner = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32) * np.float32(factor)
        matrix = cv2.getPerspectiveTransform(shape, inner + np.float32(margin))
        size = math.ceil(width * factor + 2 * margin), math.ceil(height * factor + 2 * margin)
        pixels = np.asarray(cv2.warpPerspective(gray, matrix, size, flags=cv2.INTER_CUBIC, borderValue=255), np.uint8)
        for look in (pixels, np.asarray(255 - pixels, np.uint8)):  # white bars on black are read only so
            if code := max(read_symbols(look, {Kind.BARCODE}), key=lambda code: len(code.text or ""), default=None):
                back = cv2.perspectiveTransform(code.quad[None], np.linalg.inv(matrix))[0]
                return _whole(gray, replace(code, quad=quad(back)))
    return Finding(Kind.BARCODE, shape)


def _whole(gray: Pixels, read: Finding) -> Finding:
    """Give a barcode, of which a slice was read, the outline of all its bars."""
    return replace(read, quad=bars.extent(gray, read.quad))


def _is_at(found: Finding, shape: Quad) -> bool:
    middle = found.quad.mean(axis=0)
    inside = cv2.pointPolygonTest(cv2.convexHull(shape), middle.tolist(), measureDist=False) >= 0
    return inside or share_inside(shape, found.quad) > 0.5  # noqa: PLR2004 - most of it


def _moved(codes: Iterable[Finding], move: Callable[[Quad], Quad]) -> Iterator[Finding]:
    return (replace(code, quad=move(code.quad)) for code in codes)
