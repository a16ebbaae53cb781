"""QR codes and barcodes with their content, by OpenCV."""

from collections.abc import Callable, Iterator
from typing import Any

import cv2

from dinox_mcp.backends.embedded import ean
from dinox_mcp.backends.embedded.findings import Finding, Pixels, Quad, once, quad
from dinox_mcp.backends.embedded.pixels import View, around, views
from dinox_mcp.backends.embedded.vocabulary import Kind

Told = Callable[[float], None]

_QR_SIDE = 500  # a code is read best when enlarged or reduced to about this height
_BAR_SIDES = (400, 800)


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
        """Find barcodes in a picture (height, width); EAN-13, EAN-8 and UPC-A are read, others only found."""
        looks = views(gray)
        found: list[Finding] = []
        for done, view in enumerate(looks):
            tell(done / len(looks))
            found += self._bars_in(view)
        for item in [item for item in once(found) if not item.text]:
            for height in _BAR_SIDES:
                found += self._bars_in(around(gray, item.quad, 0.3, height))
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

    def _bars_in(self, view: View) -> Iterator[Finding]:
        try:
            _, contents, _, shapes = self._bars.detectAndDecodeWithType(view.pixels)
        except cv2.error:
            return
        for content, shape in zip(contents, shapes if shapes is not None else (), strict=True):
            read = content if content and ean.shows(view.pixels, quad(shape), content) else None
            yield Finding(Kind.BARCODE, view.whole(shape), read)


def _decode(content: bytes) -> str | None:
    """Read the bytes of a QR code: UTF-8 as nearly all are, or else Latin-1 as the standard says."""
    try:
        return content.decode() or None
    except UnicodeDecodeError:
        return content.decode("latin-1")
