"""What the emulated models see: boxes at fixed fractions of any picture, and things of one colour."""

from typing import Any

import cv2
import numpy as np

from tests.emulator.embeddings import Colours, colours_of, embedding_of
from tests.emulator.pixels import ellipse, picture_size, pixels_of

FRACTIONS = (
    (0.10, 0.20, 0.50, 0.60),
    (0.55, 0.10, 0.90, 0.45),
    (0.30, 0.65, 0.75, 0.95),
    (0.05, 0.70, 0.25, 0.90),
)
"""Where the nth prompt's object stands, as parts of the picture: x_min, y_min, x_max, y_max."""
UNIVERSAL = ("person", "car", "tree")
"""What the prompt-free question finds."""
PEOPLE = {"person": ("pose", "hand"), "man": ("pose", "hand"), "hand": ("hand",)}
"""Labels of what has a body or hands."""
POINTS = {"pose": 17, "hand": 21}
_TARGETS = {"pose": "pose_keypoints", "hand": "hand_keypoints"}
_SAME_COLOUR = 40.0
_LEAST_PIXELS = 12


def detect(body: dict[str, Any]) -> dict[str, Any]:
    """Answer a detection: one object a label, scores 0.9, 0.8, …, nothing below `bbox_threshold`.

    Categories come back in lower case, as a model that folds its vocabulary would answer; XSeek gives none.
    """
    width, height = picture_size(body["image"])
    prompt = body["prompt"]
    nameless = body["model"] == "DINO-XSeek-1.0"
    if prompt["type"] == "universal":
        labels = list(UNIVERSAL)
    else:
        labels = [prompt["text"]] if nameless else prompt["text"].split(".")
    objects = []
    for number, label in enumerate(labels):
        score = max(0.9 - 0.1 * number, 0.3)
        if score < body.get("bbox_threshold", 0.25):
            continue
        left, top, right, bottom = FRACTIONS[number % len(FRACTIONS)]
        bbox = [left * width, top * height, right * width, bottom * height]
        found: dict[str, Any] = {"category": label.strip().lower(), "score": score, "bbox": bbox}
        if nameless:
            del found["category"]
        if "mask" in body["targets"]:
            found["mask"] = ellipse(bbox, width, height)
        for part in PEOPLE.get(label.strip().lower(), ()):
            if _TARGETS[part] in body["targets"]:
                found[part] = _points(bbox, POINTS[part])
        objects.append(found)
    return {"objects": objects}


def place_of(number: int, count: int) -> tuple[float, float]:
    """Say where the nth of so many points is, as parts of its box."""
    return (number + 0.5) / count, (number * 7 % count + 0.5) / count


def describe(body: dict[str, Any]) -> dict[str, Any]:
    """Tell of each region where it is, in percent of the picture; every third has no text in it."""
    width, height = picture_size(body["image"])
    objects = []
    for number, region in enumerate(body["regions"]):
        x1, y1, x2, y2 = (round(100 * part / side) for part, side in zip(region, (width, height) * 2, strict=True))
        told = {
            "caption": f"a thing from {x1}% {y1}% to {x2}% {y2}%",
            "roc": f"thing {number}",
            "ocr": f"No. {number}" if number % 3 else "",
        }
        objects.append({"region": region, **{name: told[name] for name in body["targets"]}})
    return {"objects": objects}


def match(body: dict[str, Any]) -> dict[str, Any]:
    """Find what has the colour of an example: each connected area of it is an object."""
    prompt = body["prompt"]
    if prompt["type"] == "embedding":
        categories = {0: colours_of(prompt["embedding"])}
    else:
        categories = _colours(prompt["visual_images"])
    result: dict[str, Any] = {}
    if "embedding" in body["targets"]:
        result["embedding"] = embedding_of([colour for colours in categories.values() for colour in colours])
    if "bbox" in body["targets"]:
        found = [one for number, colours in categories.items() for one in _alike(body["image"], number, colours)]
        result["objects"] = [one for one in found if one["score"] >= body.get("bbox_threshold", 0.25)]
    return result


def _points(bbox: list[float], count: int) -> list[float]:
    """Spread points over a box, each of another place, visibility and score."""
    left, top, right, bottom = bbox
    values: list[float] = []
    for number in range(count):
        x, y = place_of(number, count)
        values += [left + x * (right - left), top + y * (bottom - top), number % 3, number / count]
    return values


def _colours(shown: list[dict[str, Any]]) -> dict[int, Colours]:
    """Look at each example: the mean colour of a box, the colour at a point; by category."""
    categories: dict[int, Colours] = {}
    for picture in shown:
        pixels = pixels_of(picture["image"])
        height, width, _ = pixels.shape
        for one in picture["interactions"]:
            x1, y1, x2, y2 = one["rect"] if one["type"] == "rect" else (*one["point"], *one["point"])
            left, top = min(int(x1), width - 1), min(int(y1), height - 1)
            area = pixels[top : max(int(y2), top + 1), left : max(int(x2), left + 1)]
            categories.setdefault(one["category_id"], []).append(area.mean(axis=(0, 1)).tolist())
    return categories


def _alike(uri: str, number: int, colours: Colours) -> list[dict[str, Any]]:
    pixels = pixels_of(uri).astype(np.float32)
    distance = np.min([np.abs(pixels - np.asarray(colour, np.float32)).max(axis=2) for colour in colours], axis=0)
    count, _, areas, _ = cv2.connectedComponentsWithStats((distance < _SAME_COLOUR).astype(np.uint8))
    boxes = [areas[place, :5].tolist() for place in range(1, count)]
    return [
        {"category_id": number, "score": 0.9 - 0.01 * place, "bbox": [float(x), float(y), float(x + w), float(y + h)]}
        for place, (x, y, w, h, size) in enumerate(boxes[:50])
        if size >= _LEAST_PIXELS
    ]
