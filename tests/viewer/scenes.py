"""Pictures and objects to show, made on the spot."""

import io
import math
import random

import numpy as np
from PIL import Image

from dinox_mcp.types import masks
from dinox_mcp.types.detection import Detection, Keypoint, Mask
from dinox_mcp.types.keypoints import BODY


def photo(width: int = 800, height: int = 600, seed: int = 1) -> bytes:
    """Make a picture with the structure of a photograph: smooth light, shapes, and noise."""
    x = np.linspace(0, 5, width)[None, :, None]
    y = np.linspace(0, 4, height)[:, None, None]
    channel = np.arange(3)[None, None, :]
    light = 110 + 50 * np.sin(x + channel) * np.cos(y - channel / 2)
    noise = np.random.default_rng(seed).normal(0, 6, (height, width, 1))
    image = Image.fromarray(np.clip(light + noise, 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def crowd(count: int, width: int, height: int, *, masked: bool = True) -> list[Detection]:
    """Make many objects of several labels, most with masks, some with poses."""
    rng = random.Random(7)  # noqa: S311 - a scene, not a secret
    labels = ["person", "car", "bicycle", "traffic light", "dog", "handbag"]
    side = math.sqrt(width * height / count)
    made = []
    for place in range(count):
        w, h = side * rng.uniform(0.3, 1.1), side * rng.uniform(0.4, 1.3)
        x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
        label = labels[place % len(labels)]
        box = (round(x, 1), round(y, 1), round(x + w, 1), round(y + h, 1))
        made.append(
            Detection(
                label=label,
                bbox=box,
                score=round(rng.uniform(0.05, 1), 3),
                mask=ellipse(box, width, height) if masked else None,
                keypoints=body(box) if label == "person" else (),
            )
        )
    return made


def ellipse(box: tuple[float, float, float, float], width: int, height: int) -> Mask:
    """Make the mask of an ellipse in a box."""
    x1, y1, x2, y2 = (round(edge) for edge in box)
    part = np.zeros((height, width), bool)
    y, x = np.ogrid[y1:y2, x1:x2]
    inside = ((x - (x1 + x2) / 2) / ((x2 - x1) / 2)) ** 2 + ((y - (y1 + y2) / 2) / ((y2 - y1) / 2)) ** 2 <= 1
    part[y1:y2, x1:x2] = inside
    return masks.encode(part)


def body(box: tuple[float, float, float, float]) -> tuple[Keypoint, ...]:
    """Make a standing body that fills a box."""
    places = [(50, 8), (55, 6), (45, 6), (60, 8), (40, 8), (68, 22), (32, 22), (78, 38), (22, 38), (84, 52), (16, 52)]
    places += [(60, 55), (40, 55), (62, 75), (38, 75), (63, 96), (37, 96)]
    x1, y1, x2, y2 = box
    return tuple(
        Keypoint(
            name=name,
            x=round(x1 + (x2 - x1) * x / 100, 1),
            y=round(y1 + (y2 - y1) * y / 100, 1),
            visibility=1 if name == "left_wrist" else 2,
            score=0.9,
        )
        for name, (x, y) in zip(BODY, places, strict=True)
    )
