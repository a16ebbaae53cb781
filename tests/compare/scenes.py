"""Scenes made on the spot, taken by cameras that move and in other light, and a backend that knows what they show."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from dinox_mcp.backends.base import Call
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections
from tests.fakes import FakeBackend

Pixels = npt.NDArray[np.uint8]
SIZE = (480, 360)


def room(seed: int = 0) -> Pixels:
    """Paint a scene with structure everywhere."""
    random = np.random.default_rng(seed)
    width, height = SIZE
    clouds = cv2.resize(random.integers(90, 170, (12, 16, 3)).astype(np.uint8), SIZE, interpolation=cv2.INTER_CUBIC)
    for _ in range(90):
        x, y = int(random.integers(width)), int(random.integers(height))
        color = [int(part) for part in random.integers(40, 220, 3)]
        cv2.rectangle(clouds, (x, y), (x + int(random.integers(8, 40)), y + int(random.integers(8, 40))), color, 2)
    return np.asarray(clouds, np.uint8)


def put(scene: Pixels, box: Box, seed: int = 1) -> Pixels:
    """Put a striped parcel on a scene; those of one seed are alike."""
    x1, y1, x2, y2 = (round(edge) for edge in box)
    shown = scene.copy()
    shown[y1:y2, x1:x2] = (200, 30 + 20 * seed, 30)
    for row in range(y1 + 6, y2 - 6, 12):
        shown[row : row + 5, x1 + 4 : x2 - 4] = (250, 240, 40 + 30 * seed)
    return shown


def write(scene: Pixels, text: str, corner: tuple[int, int]) -> Pixels:
    """Hang a sign of 140 x 40 pixels with a text on a scene."""
    x, y = corner
    shown = scene.copy()
    shown[y : y + 40, x : x + 140] = 245
    cv2.putText(shown, text, (x + 8, y + 28), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (20, 20, 20), 2, cv2.LINE_AA)
    return shown


MOVED: npt.NDArray[np.float64] = np.array([(0.998, -0.052, 14.0), (0.052, 0.998, -16.0), (0, 0, 1)])
"""The camera turned by three degrees and shifted."""


def take(scene: Pixels, matrix: npt.NDArray[np.float64] = MOVED) -> Pixels:
    """Take an image of a scene by a camera that has moved."""
    return np.asarray(cv2.warpPerspective(scene, matrix, SIZE), np.uint8)


def relit(image: Pixels, light: float = 1.2, slope: float = 0.15) -> Pixels:
    """Light an image otherwise: brighter, and more so on the right."""
    across = light * (1 + slope * np.linspace(-1, 1, image.shape[1]))[None, :, None]
    return np.asarray(np.clip(image * across, 0, 255), np.uint8)


def picture(pixels: Pixels, quality: int | None = None) -> Picture:
    """Encode an image: as PNG, or as JPEG of a quality."""
    buffer = io.BytesIO()
    if quality is None:
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    else:
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return Picture.from_bytes(buffer.getvalue(), "scene.png")


def box_after(box: Box, matrix: npt.NDArray[np.float64] = MOVED) -> Box:
    """Map a box of the scene to the image of the camera that has moved."""
    x1, y1, x2, y2 = box
    corners = matrix @ np.array([(x1, y1, 1), (x2, y1, 1), (x2, y2, 1), (x1, y2, 1)]).T
    (left, top), (right, bottom) = corners[:2].min(axis=1), corners[:2].max(axis=1)
    return float(left), float(top), float(right), float(bottom)


@dataclass
class Knowing(FakeBackend):
    """A backend named `fake` that gives the detections which a test names for each image, by its digest."""

    known: Mapping[str, Sequence[Detection]] = field(default_factory=dict)

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        self.answer = [
            one for one in self.known.get(image.digest, ()) if not request.prompts or one.label in request.prompts
        ]
        return await super().detect(image, request, call)
