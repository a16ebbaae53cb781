"""QR codes and barcodes with their content, by OpenCV."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import cv2
import numpy as np

from dinox_mcp.backends.embedded import bars
from dinox_mcp.backends.embedded.findings import Finding, Pixels, Quad, once, quad, same_place
from dinox_mcp.backends.embedded.pixels import View, around, tiles, views
from dinox_mcp.backends.embedded.vocabulary import Kind

Told = Callable[[float], None]

_QR_SIDE = 500  # a code is read best when enlarged or reduced to about this height
_BAR_SIDES, _BAR_MARGINS = (300, 500, 800), (0.3, 1.0)
_LEAST_TILE = 500
_PIECE = 0.2  # barcodes that overlap so much are pieces of one, as tiles cut it
_SOFTENED = 0.5  # bars drawn by a program are found better softened, and read better as they are


class CodeReader:
    """Finds codes; one that is found and cannot be read has no text."""

    def __init__(self) -> None:
        self._qr: Any = cv2.QRCodeDetectorAruco()
        self._second: Any = cv2.QRCodeDetector()
        self._bars: Any = cv2.barcode.BarcodeDetector()

    def qr_codes(self, gray: Pixels, tell: Told) -> list[Finding]:
        """Find QR codes in a picture (height, width); what one detector cannot read, the other tries."""
        looks = views(gray, enlarged=True)
        found: list[Finding] = []
        for done, view in enumerate(looks):
            tell(done / len(looks))
            found += [Finding(Kind.QR, shape, text) for shape, text in self._qr_in(view)]
        return once(
            item if item.text else Finding(Kind.QR, item.quad, self._closer(gray, item.quad)) for item in once(found)
        )

    def barcodes(self, gray: Pixels, tell: Told) -> list[Finding]:
        """Find barcodes in a picture (height, width); EAN-13, EAN-8 and UPC-A are read, others only found.

        OpenCV looks for codes of a certain share of the picture, so smaller ones are looked for in tiles.
        """
        side = max(_LEAST_TILE, max(gray.shape) // 5)
        soft = np.asarray(cv2.GaussianBlur(gray, (0, 0), _SOFTENED), np.uint8)
        looks = [view for pixels in (gray, soft) for view in (View(pixels), *tiles(pixels, side, side // 2))]
        found: list[Finding] = []
        for done, view in enumerate(looks):
            tell(done / len(looks))
            found += self._bars_in(view, gray)
        for item in [item for item in once(found, _PIECE) if not item.text]:
            for margin, height in product(_BAR_MARGINS, _BAR_SIDES):
                closer = list(self._bars_in(around(gray, item.quad, margin, height), gray))
                found += closer
                if any(same_place(item.quad, other.quad) for other in closer if other.text):
                    break
        return once(found, _PIECE)

    def _qr_in(self, view: View) -> Iterator[tuple[Quad, str | None]]:
        try:
            _, contents, shapes, _ = self._qr.detectAndDecodeBytesMulti(view.pixels)
        except cv2.error:  # OpenCV gives up on some pictures that hold no code
            return
        for content, shape in zip(contents, shapes if shapes is not None else (), strict=True):
            yield view.whole(shape), _decode(content)

    def _closer(self, gray: Pixels, shape: Quad) -> str | None:
        pixels = around(gray, shape, 0.2, _QR_SIDE).pixels
        for detector in (self._qr, self._second):
            try:
                content, _, _ = detector.detectAndDecodeBytes(pixels)
            except cv2.error:
                continue
            if content:
                return _decode(content)
        return None

    def _bars_in(self, view: View, gray: Pixels) -> Iterator[Finding]:
        try:
            _, contents, _, shapes = self._bars.detectAndDecodeWithType(view.pixels)
        except cv2.error:
            return
        for content, corners in zip(contents, shapes if shapes is not None else (), strict=True):
            shape = quad(corners)
            if content and bars.say(view.pixels, shape, content):
                yield Finding(Kind.BARCODE, view.whole(shape), content)
            elif not view.cuts(shape, gray) and bars.are_bars(view.pixels, shape):
                yield Finding(Kind.BARCODE, view.whole(shape))


def _decode(content: bytes) -> str | None:
    """Read the bytes of a QR code: UTF-8 as nearly all are, or else Latin-1 as the standard says."""
    try:
        return content.decode() or None
    except UnicodeDecodeError:
        return content.decode("latin-1")
