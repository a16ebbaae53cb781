"""How EAN-13, EAN-8 and UPC-A write digits as bars, to check what was decoded against the picture."""

from itertools import groupby

import cv2
import numpy as np

from dinox_mcp.backends.embedded.findings import Pixels, Quad

# Seven modules a digit, odd parity; even parity is the complement read backwards.
_ODD = "0001101 0011001 0010011 0111101 0100011 0110001 0101111 0111011 0110111 0001011".split()
# EAN-13 has no bars for its first digit: the parities of the next six tell it.
_EVEN = "------ --o-oo --oo-o --ooo- -o--oo -oo--o -ooo-- -o-o-o -o-oo- -oo-o-".split()
_EDGE, _MIDDLE = "101", "01010"
_ROWS, _ROW_HEIGHT, _MODULE_WIDTH = 8, 8, 8
_LEAST_LIKENESS = 0.9  # the right digits reach 0.93 to 1.0, digits read into other kinds of barcodes up to 0.77


def bars(digits: str) -> str | None:
    """Write digits as modules, 1 for black; None where the digits are no valid code."""
    if not digits.isdecimal() or len(digits) not in {8, 12, 13} or not _checks(digits):
        return None
    if len(digits) == 8:  # noqa: PLR2004 - EAN-8
        parity, left, right = "----", digits[:4], digits[4:]
    else:
        full = digits.rjust(13, "0")  # UPC-A is EAN-13 with a leading zero
        parity, left, right = _EVEN[int(full[0])], full[1:7], full[7:]
    start = "".join(_left(digit, even=mark == "o") for digit, mark in zip(left, parity, strict=True))
    return _EDGE + start + _MIDDLE + "".join(_complement(_ODD[int(digit)]) for digit in right) + _EDGE


def shows(gray: Pixels, shape: Quad, digits: str) -> bool:
    """Tell whether the bars at a place in a picture are those of the digits.

    OpenCV reads EAN digits into about one in twelve barcodes of other kinds (Code 128, Code 39). So the widths
    of bars and gaps along eight lines through the code are compared with those that the digits would have.
    """
    modules = bars(digits)
    if modules is None:
        return False
    wanted = _unit(np.array([len(list(run)) for _, run in groupby(modules)], float))
    size = (len(modules) * _MODULE_WIDTH, _ROWS * _ROW_HEIGHT)
    upright = np.array([[0, 0], [size[0], 0], size, [0, size[1]]], np.float32)
    for turned in (shape, np.roll(shape, 1, axis=0)):
        matrix = cv2.getPerspectiveTransform(turned, upright)
        strip = cv2.warpPerspective(gray, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        for line in strip.reshape(_ROWS, _ROW_HEIGHT, -1).mean(axis=1).astype(np.uint8):
            threshold, _ = cv2.threshold(line, 0, 255, cv2.THRESH_OTSU)
            widths = np.diff(np.flatnonzero(np.diff(line > threshold))).astype(float)
            if len(widths) < len(wanted):
                continue
            likeness = _unit(np.lib.stride_tricks.sliding_window_view(widths, len(wanted))) @ np.stack(
                [wanted, wanted[::-1]], axis=1
            )
            if likeness.max() >= _LEAST_LIKENESS:
                return True
    return False


def _unit(widths: np.typing.NDArray[np.float64]) -> np.typing.NDArray[np.float64]:
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
