"""Pictures made on the spot: signs, codes and markers on paper, laid turned and slanted onto a wall."""

import io
from collections.abc import Iterable

import anyio
import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from dinox_mcp.backends.base import Backend, Call
from dinox_mcp.backends.embedded.prompts import EVERYTHING
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.detection import BBox, DetectionRequest, Detections

Gray = npt.NDArray[np.uint8]
WALL = 190


def find(
    backend: Backend, image: Image.Image | Gray, *prompts: str, min_score: float = 0.25, turned: int = 1
) -> Detections:
    """Detect prompts in a picture with this EXIF orientation; without prompts, everything that is read."""
    request = DetectionRequest(prompts=prompts or EVERYTHING, min_score=min_score)
    return anyio.run(backend.detect, picture(image, turned), request, Call())


def picture(image: Image.Image | Gray, turned: int = 1) -> Picture:
    """Encode pixels losslessly."""
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = turned
    opened = image if isinstance(image, Image.Image) else Image.fromarray(image)
    opened.save(buffer, "PNG", compress_level=1, exif=exif)
    return Picture.from_bytes(buffer.getvalue(), "made for a test")


def read(found: Detections) -> list[tuple[str, str | None]]:
    """List labels and texts."""
    return [(item.label, item.text) for item in found.objects]


def sign(words: str, size: int = 30, ink: int = 20, paper: int = 240) -> Gray:
    """Print a line on paper."""
    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(words)
    image = Image.new("L", (round(right - left) + size, round(bottom - top) + size), paper)
    ImageDraw.Draw(image).text((size // 2 - left, size // 2 - top), words, ink, font)
    return np.asarray(image)


def qr_code(content: str, module: int = 4) -> Gray:
    """Print a QR code on paper."""
    params = cv2.QRCodeEncoder.Params()
    params.mode = cv2.QRCODE_ENCODER_MODE_BYTE
    code = cv2.QRCodeEncoder.create(params).encode(content)
    return enlarge(np.pad(code, 2, constant_values=255), module)


def marker(dictionary: int, number: int, side: int = 60) -> Gray:
    """Print an ArUco marker or an AprilTag on paper."""
    code = cv2.aruco.generateImageMarker(cv2.aruco.getPredefinedDictionary(dictionary), number, side)
    return np.pad(code, side // 6, constant_values=255)


def barcode(modules: str, module: int = 2) -> Gray:
    """Print the modules of a barcode, 1 for black, on paper."""
    row = np.array([255 * (bit == "0") for bit in f"{'0' * 10}{modules}{'0' * 10}"], np.uint8)
    return np.pad(np.tile(np.repeat(row, module), (50 * module, 1)), 8, constant_values=255)


def enlarge(code: Gray, factor: int) -> Gray:
    """Make each pixel a square."""
    return np.kron(code, np.ones((factor, factor), np.uint8))


def wall(width: int = 1000, height: int = 700, shade: int = WALL) -> Gray:
    """Make an empty wall with a little noise."""
    noise = np.random.default_rng(1).normal(shade, 3, (height, width))
    return np.asarray(noise.clip(0, 255), np.uint8)


def hang(scene: Gray, paper: Gray, at: tuple[int, int], turned: float = 0, slant: float = 0) -> BBox:
    """Hang paper on a wall, its middle at a point, turned by degrees; return its box."""
    height, width = paper.shape
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    angle = np.deg2rad(turned)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    target = (corners - (width / 2, height / 2)) * (1, 1 - slant) @ rotation.T + at
    matrix = cv2.getPerspectiveTransform(corners, target.astype(np.float32))
    size = scene.shape[1], scene.shape[0]
    shown = cv2.warpPerspective(paper, matrix, size, flags=cv2.INTER_LINEAR)
    mask = cv2.warpPerspective(np.full_like(paper, 255), matrix, size) > 127
    scene[mask] = shown[mask]
    (left, top), (right, bottom) = target.min(axis=0), target.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def stripes(widths: Iterable[int]) -> str:
    """Write widths of bars and gaps as modules."""
    return "".join(str((index + 1) % 2) * width for index, width in enumerate(widths))
