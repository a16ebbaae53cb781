"""What the emulated model sees: boxes at fixed fractions of whatever picture it is sent."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from dinox_mcp import masks

FRACTIONS = (
    (0.10, 0.20, 0.50, 0.60),
    (0.55, 0.10, 0.90, 0.45),
    (0.30, 0.65, 0.75, 0.95),
    (0.05, 0.70, 0.25, 0.90),
)
"""Where the nth prompt's object stands, as parts of the picture: x_min, y_min, x_max, y_max."""
UNIVERSAL = ("person", "car", "tree")
"""What the prompt-free question finds."""


def picture_size(uri: str) -> tuple[int, int]:
    """Decode a data: URI completely and give width and height.

    Raises:
        ValueError, OSError: it is not an intact picture.
    """
    header, _, data = uri.partition(",")
    if not header.startswith("data:image/") or not header.endswith(";base64"):
        raise ValueError(f"image is no data: URI of a picture: {header[:40]!r}")
    with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as image:
        image.load()
        return image.size


def detect(body: dict[str, Any]) -> dict[str, Any]:
    """Answer a detection: one object a label, scores 0.9, 0.8, …, nothing below `bbox_threshold`.

    Categories come back in lower case, as a model that folds its vocabulary would answer.
    """
    width, height = picture_size(body["image"])
    prompt = body["prompt"]
    labels = prompt["text"].split(".") if prompt["type"] == "text" else UNIVERSAL
    objects = []
    for number, label in enumerate(labels):
        score = max(0.9 - 0.1 * number, 0.3)
        if score < body.get("bbox_threshold", 0.25):
            continue
        left, top, right, bottom = FRACTIONS[number % len(FRACTIONS)]
        bbox = [left * width, top * height, right * width, bottom * height]
        found: dict[str, Any] = {"category": label.strip().lower(), "score": score, "bbox": bbox}
        if "mask" in body["targets"]:
            found["mask"] = _ellipse(bbox, width, height)
        objects.append(found)
    return {"objects": objects}


def _ellipse(bbox: list[float], width: int, height: int) -> dict[str, Any]:
    """Encode the ellipse that fills a box."""
    y, x = np.ogrid[0.5 : height + 0.5, 0.5 : width + 0.5]
    middle_x, middle_y = (bbox[0] + bbox[2]) / 2, (bbox[1] + bbox[3]) / 2
    inside = ((x - middle_x) / (bbox[2] - middle_x)) ** 2 + ((y - middle_y) / (bbox[3] - middle_y)) ** 2 <= 1
    return {"counts": masks.encode(inside).counts, "size": [height, width], "format": "coco_rle"}
