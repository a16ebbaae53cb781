"""How long do masks, poses, captions and crowds take to decode and draw on a 12-megapixel photo, beside pycocotools?"""

import time
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as coco

from benchmarks.bench import Bench
from benchmarks.harness import median_s
from benchmarks.tables import Table
from dinox_mcp.drawing.annotate import annotate
from dinox_mcp.drawing.legend import make_legend
from dinox_mcp.drawing.style import Style
from dinox_mcp.drawing.views import FULL_QUALITY, annotated, encode_jpeg
from dinox_mcp.images.picture import Picture
from dinox_mcp.types import masks
from dinox_mcp.types.detection import DetectedObject, Keypoint
from dinox_mcp.types.keypoints import BODY

GOAL_S = 1.5
COUNT, CROWD = 100, 500
PREVIEW_SIDE, PREVIEW_BYTES = 1568, 500_000

_BARE = Style(keypoints=False, captions=False)
_CAPTION = "a person in a red jacket who carries a wooden box past the shelves on the left"


def measure(bench: Bench) -> Table:
    """Draw the same objects in several ways; CPU time, so that other work of the machine does not count."""
    rounds = bench.times(5, 2)
    with Image.open(bench.photo) as file:
        photo = file.convert("RGB")
    objects = _objects(photo.size)
    picture = Picture.from_bytes(encode_jpeg(photo), "photo.jpg")
    theirs = [{"size": list(found.mask.size), "counts": found.mask.counts} for found in objects if found.mask]

    def decode() -> None:
        for found in objects:
            if found.mask:
                masks.decode(found.mask)

    def draw(style: Style, what: Sequence[DetectedObject] = objects) -> Image.Image:
        return annotate(photo, what, original_size=photo.size, style=style)

    def with_legend() -> None:
        drawn, legend = draw(Style()), make_legend(photo.size, objects, Style(), original_size=photo.size)
        encode_jpeg(legend.beside(drawn) if legend else drawn, FULL_QUALITY)

    def preview() -> None:
        annotated(picture, objects, Style(), PREVIEW_SIDE, PREVIEW_BYTES)

    decoded, pycocotools = _seconds(decode, rounds), _seconds(lambda: [coco.decode(rle) for rle in theirs], rounds)
    drawn = _seconds(lambda: draw(_BARE), rounds)
    table = Table(
        f"{COUNT} objects with everything, and a crowd, on a 12-megapixel photo (painting)", ["ours", "pycocotools"]
    )
    table.add("decode all masks to the full size", _written(decoded), _written(pycocotools))
    table.add("draw masks, boxes and tags", _written(drawn))
    table.add("both", _written(decoded + drawn), goal=f"under {GOAL_S} s", met=decoded + drawn < GOAL_S)
    table.add("also poses, captions in a legend, and a JPEG of all", _written(_seconds(with_legend, rounds)))
    table.add("the same as a preview for a reply", _written(_seconds(preview, rounds)))
    crowd = _crowd(photo.size)
    counting = Style(boxes=False, labels=False)
    table.add(f"{CROWD} dots with numbers", _written(_seconds(lambda: draw(counting, crowd), rounds)))
    share = sum(masks.area(found.mask) for found in objects if found.mask) / (photo.width * photo.height)
    table.remarks.append(
        f"Medians of CPU seconds, of all threads together, of {rounds} rounds. The masks have rough edges and "
        f"cover the photo {share:.1f} times."
    )
    return table


def _seconds(work: Callable[[], object], rounds: int) -> float:
    work()
    return median_s(work, rounds, time.process_time)


def _written(seconds: float) -> str:
    return f"{seconds:.2f} s"


def _objects(size: tuple[int, int]) -> list[DetectedObject]:
    """Make objects of all sizes with masks of rough edges, bodies and captions."""
    random = np.random.default_rng(1)
    width, height = size
    angles = np.linspace(0, 2 * np.pi, 900)
    objects = []
    for number in range(1, COUNT + 1):
        x, y, radius = random.uniform(0, width), random.uniform(0, height), height * random.uniform(0.05, 0.2)
        far = radius * (1 + 0.15 * np.sin(7 * angles) + 0.05 * random.normal(size=angles.size))
        edge = np.stack([x + far * np.cos(angles), y + far * np.sin(angles)], axis=1)
        bits = np.zeros((height, width), np.uint8)
        cv2.fillPoly(bits, [edge.astype(np.int32)], (1,))
        rows, columns = np.nonzero(bits)
        box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
        spots = np.stack([random.uniform(box[0], box[2], len(BODY)), random.uniform(box[1], box[3], len(BODY))], axis=1)
        objects.append(
            DetectedObject(
                id=number,
                label=f"thing {number % 4}",
                bbox=box,
                score=0.8,
                mask=masks.encode(bits.astype(np.bool_)),
                keypoints=tuple(Keypoint(name=name, x=x, y=y) for name, (x, y) in zip(BODY, spots, strict=True)),
                caption=_CAPTION,
            )
        )
    return objects


def _crowd(size: tuple[int, int]) -> list[DetectedObject]:
    random = np.random.default_rng(2)
    side = 0.02 * size[1]
    corners = random.uniform((0, 0), (size[0] - side, size[1] - side), (CROWD, 2))
    return [
        DetectedObject(id=number, label="seed", bbox=(x, y, x + side, y + side))
        for number, (x, y) in enumerate(corners.tolist(), start=1)
    ]
