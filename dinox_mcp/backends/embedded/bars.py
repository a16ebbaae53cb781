"""The bars of a barcode: whether there are any, and whether they say what was decoded.

OpenCV takes any stripes for a barcode, and reads EAN digits into about one in twelve barcodes of other kinds.
"""

from collections.abc import Iterator
from itertools import groupby

import cv2
import numpy as np
import numpy.typing as npt

from dinox_mcp.backends.embedded.findings import Pixels, Quad, sides

Widths = npt.NDArray[np.float64]

# How EAN-13, EAN-8 and UPC-A write digits: seven modules each, odd parity; even is the complement backwards.
_ODD = ["0001101", "0011001", "0010011", "0111101", "0100011", "0110001", "0101111", "0111011", "0110111", "0001011"]
# EAN-13 has no bars for its first digit: the parities of the next six tell it.
_EVEN = ["------", "--o-oo", "--oo-o", "--ooo-", "-o--oo", "-oo--o", "-ooo--", "-o-o-o", "-o-oo-", "-oo-o-"]
_EDGE, _MIDDLE = "101", "01010"

_ROWS, _ROW_HEIGHT = 8, 8
_LEAST_LENGTH, _MOST_LENGTH = 600, 2400
_LEAST_LIKENESS = 0.9  # the right digits reach 0.93 to 1.0, digits read into other barcodes up to 0.77
_LEAST_BARS, _MOST_BARS = 12, 200
_LEAST_VARIETY = 1.5  # barcodes have thin and wide bars, and gaps; blinds, fences and shirts do not


def are_bars(gray: Pixels, shape: Quad) -> bool:
    """Tell a barcode from other stripes: many bars, of different widths."""
    for widths in _scan(gray, shape):
        if 2 * _LEAST_BARS <= len(widths) <= 2 * _MOST_BARS:
            thin, wide = np.quantile(widths[: len(widths) // 2 * 2].reshape(-1, 2), (0.1, 0.9), axis=0)
            if (wide >= _LEAST_VARIETY * thin).all():
                return True
    return False


def say(gray: Pixels, shape: Quad, digits: str) -> bool:
    """Tell whether bars are those of the digits, by the widths of bars and gaps along a few lines."""
    modules = encode(digits)
    if modules is None:
        return False
    forth = _unit(np.array([len(list(run)) for _, run in groupby(modules)], float))
    for widths in _scan(gray, shape):
        if len(widths) >= len(forth):
            windows = _unit(np.lib.stride_tricks.sliding_window_view(widths, len(forth)))
            if max((windows @ forth).max(), (windows @ forth[::-1]).max()) >= _LEAST_LIKENESS:
                return True
    return False


def encode(digits: str) -> str | None:
    """Write digits as modules, 1 for black; None where they are no EAN-13, EAN-8 or UPC-A."""
    if not digits.isdecimal() or len(digits) not in {8, 12, 13} or not _checks(digits):
        return None
    if len(digits) == 8:  # noqa: PLR2004 - EAN-8
        parity, left, right = "----", digits[:4], digits[4:]
    else:
        full = digits.rjust(13, "0")  # UPC-A is EAN-13 with a leading zero
        parity, left, right = _EVEN[int(full[0])], full[1:7], full[7:]
    start = "".join(_left(digit, even=mark == "o") for digit, mark in zip(left, parity, strict=True))
    return _EDGE + start + _MIDDLE + "".join(_complement(_ODD[int(digit)]) for digit in right) + _EDGE


def _scan(gray: Pixels, shape: Quad) -> Iterator[Widths]:
    """Measure bars and gaps along lines through a code, in both directions as corners may come in any order."""
    length = int(np.clip(2 * sides(shape).max(), _LEAST_LENGTH, _MOST_LENGTH))
    size = length, _ROWS * _ROW_HEIGHT
    upright = np.array([[0, 0], [length, 0], size, [0, size[1]]], np.float32)
    for turned in (shape, np.roll(shape, 1, axis=0)):
        matrix = cv2.getPerspectiveTransform(turned, upright)
        strip = cv2.warpPerspective(gray, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        for line in strip.reshape(_ROWS, _ROW_HEIGHT, length).mean(axis=1).astype(np.uint8):
            threshold, _ = cv2.threshold(line, 0, 255, cv2.THRESH_OTSU)
            yield np.diff(np.flatnonzero(np.diff(line > threshold))).astype(float)


def _unit(widths: Widths) -> Widths:
    """Make rows of widths comparable: mean 0, length 1."""
    centred = widths - widths.mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=-1, keepdims=True), 1e-9))


def _checks(digits: str) -> bool:
    weighted = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(reversed(digits)))
    return weighted % 10 == 0


def _left(digit: str, *, even: bool) -> str:
    modules = _ODD[int(digit)]
    return _complement(modules)[::-1] if even else modules


def _complement(modules: str) -> str:
    return modules.translate(str.maketrans("01", "10"))
