"""Pictures with text, codes and markers in known places, made by the tests."""

import io

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from dinox_mcp.images.picture import Picture

Pixels = npt.NDArray[np.uint8]


def paper(width: int = 300, height: int = 200) -> Image.Image:
    """Make an empty sheet; a small one, as text is searched in every pixel."""
    return Image.new("RGB", (width, height), "white")


def write(sheet: Image.Image, text: str, place: tuple[int, int], size: int = 24) -> None:
    """Write a line of text, its upper left corner at a place."""
    ImageDraw.Draw(sheet).text(place, text, "black", ImageFont.load_default(size))


def qr(content: str, side: int = 100) -> Image.Image:
    """Make a QR code with its quiet zone."""
    code = cv2.copyMakeBorder(cv2.QRCodeEncoder.create().encode(content), 4, 4, 4, 4, cv2.BORDER_CONSTANT, value=255)
    return Image.fromarray(code).resize((side, side), Image.Resampling.NEAREST)


def marker(dictionary: str, number: int, side: int = 64) -> Image.Image:
    """Make a marker with a white margin."""
    known = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, dictionary))
    code = cv2.aruco.generateImageMarker(known, number, side)
    return Image.fromarray(np.pad(code, 16, constant_values=255))


def picture(sheet: Image.Image, *, quality: int = 92) -> Picture:
    """Encode a sheet as a camera would."""
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=quality)
    return Picture.from_bytes(buffer.getvalue(), "sheet.jpg")
