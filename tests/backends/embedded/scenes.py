"""Pictures with text, codes and markers in known places, made by the tests."""

import io

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from dinox_mcp.images.picture import Picture

Pixels = npt.NDArray[np.uint8]


def paper(width: int = 900, height: int = 600, color: str = "white") -> Image.Image:
    """Make an empty sheet."""
    return Image.new("RGB", (width, height), color)


def write(sheet: Image.Image, text: str, place: tuple[int, int], size: int = 40, ink: str = "black") -> None:
    """Write a line of text, its upper left corner at a place."""
    ImageDraw.Draw(sheet).text(place, text, ink, ImageFont.load_default(size))


def qr(content: str, side: int = 160) -> Image.Image:
    """Make a QR code with its quiet zone."""
    code = cv2.copyMakeBorder(cv2.QRCodeEncoder.create().encode(content), 4, 4, 4, 4, cv2.BORDER_CONSTANT, value=255)
    return Image.fromarray(code).resize((side, side), Image.Resampling.NEAREST)


def marker(dictionary: str, number: int, side: int = 120) -> Image.Image:
    """Make a marker with a white margin."""
    known = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, dictionary))
    code = cv2.aruco.generateImageMarker(known, number, side)
    return Image.fromarray(cv2.copyMakeBorder(code, 20, 20, 20, 20, cv2.BORDER_CONSTANT, value=255))


def picture(sheet: Image.Image, *, quality: int = 92) -> Picture:
    """Encode a sheet as a camera would."""
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=quality)
    return Picture.from_bytes(buffer.getvalue(), "sheet.jpg")
