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

from dinox_mcp.backends.embedded import bars, symbols
from dinox_mcp.backends.embedded.findings import Finding, Pixels, Quad, once, quad, same_place, share_inside, sides
from dinox_mcp.backends.embedded.pixels import View, around, tiles, zoomed
from dinox_mcp.backends.embedded.vocabulary import Kind

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
        found += _unseen(_moved(symbols.read(view.pixels, kinds), view.whole), found)
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
    return _moved(symbols.read(pixels, kinds), lambda shape: cv2.transform(shape[None], back)[0])


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
    return next((code for code in _moved(symbols.read(view.pixels, {damaged.kind}), view.whole) if code.text), damaged)


def _with_located(gray: Pixels, found: list[Finding], located: Iterable[Quad]) -> list[Finding]:
    """Drop what was read into a part of a barcode, and add barcodes that were not read."""
    for shape in located:
        inside = [item for item in found if item.kind in _ROWS and _is_at(item, shape)]
        if not inside:
            if not any(same_place(shape, item.quad) for item in found):
                found += _unseen([_levelled(gray, shape)], found)
            continue
        best = max(inside, key=lambda item: (symbols.is_checked(item), len(item.text or "")))
        for item in inside:
            if item is not best and (not symbols.is_checked(item) or item.text == best.text):
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
            if code := max(symbols.read(look, {Kind.BARCODE}), key=lambda code: len(code.text or ""), default=None):
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
