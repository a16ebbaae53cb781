"""QR codes and barcodes with their content, by OpenCV."""

from collections.abc import Callable, Iterator
from typing import Any

import cv2

from dinox_mcp.backends.embedded import bars
from dinox_mcp.backends.embedded.findings import Finding, Pixels, Quad, once, quad
from dinox_mcp.backends.embedded.pixels import View, around, tiles, views
from dinox_mcp.backends.embedded.vocabulary import Kind

Told = Callable[[float], None]

_QR_SIDE = 500  # a code is read best when enlarged or reduced to about this height
_BAR_SIDES = (400, 800)
_LEAST_TILE = 500


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
        looks = [View(gray), *tiles(gray, side, side // 2)]
        found: list[Finding] = []
        for done, view in enumerate(looks):
            tell(done / len(looks))
            found += self._bars_in(view, gray)
        for item in [item for item in once(found) if not item.text]:
            for height in _BAR_SIDES:
                found += self._bars_in(around(gray, item.quad, 0.3, height), gray)
        return once(found)

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
