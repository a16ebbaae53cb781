"""How long does it take to read 100 masks of a reply into a 12-megapixel photo, and to draw them there?"""

import json
from typing import Any

import cv2
import numpy as np
from PIL import Image

from benchmarks.bench import Bench
from benchmarks.harness import median_s
from benchmarks.tables import Table
from dinox_mcp.backends.dinox.models import DINO_X
from dinox_mcp.backends.dinox.objects import read_objects
from dinox_mcp.backends.dinox.request import Frames, ObjectRequest, label_by_category
from dinox_mcp.drawing.annotate import annotate
from dinox_mcp.types import masks
from dinox_mcp.types.detection import DetectedObject

GOAL_S = 1.5
CROWD = 100
SENT = (1536, 1152)


def measure(bench: Bench) -> Table:
    """Read and draw the same reply several times."""
    rounds = bench.times(7, 3)
    with Image.open(bench.photo) as opened:
        photo = opened.convert("RGB")
    reply = json.dumps({"objects": [_ragged(number) for number in range(CROWD)]}).encode()
    targets = ("bbox", "mask", "pose_keypoints", "hand_keypoints")
    request = ObjectRequest(DINO_X, b"", Frames(photo.size, SENT), label_by_category({}), targets)
    reading = median_s(lambda: read_objects(json.loads(reply), request), rounds)
    found = read_objects(json.loads(reply), request)
    things = [DetectedObject(id=number, **dict(one)) for number, one in enumerate(found.objects, start=1)]
    bare = [one.model_copy(update={"keypoints": ()}) for one in things]
    drawing = median_s(lambda: annotate(photo, bare, original_size=photo.size), rounds)
    skeletons = median_s(lambda: annotate(photo, things, original_size=photo.size), rounds)

    table = Table(f"{CROWD} masks on a 12-megapixel photo (masks)", ["ours"])
    table.add("read, checked and mapped back, with 3,800 keypoints", f"{reading:.2f} s")
    table.add("drawn at full size", f"{drawing:.2f} s")
    table.add("both", f"{reading + drawing:.2f} s", goal=f"under {GOAL_S} s", met=reading + drawing < GOAL_S)
    table.add("both, with a body and a hand on each", f"{reading + skeletons:.2f} s")
    table.remarks.append(
        f"Medians of {rounds}. The masks ({len(reply):,} bytes as sent) are ragged, of {SENT[0]}x{SENT[1]} pixels."
    )
    return table


def _ragged(number: int) -> dict[str, Any]:
    """Make an object whose outline is as rough as that of a bush."""
    width, height = SENT
    random = np.random.default_rng(number)
    noise = cv2.resize(random.normal(0, 1, (height // 12, width // 12)).astype(np.float32), SENT)
    row, column = divmod(number, 10)
    left, top = (column + 0.1) * width / 10, (row + 0.1) * height / 10
    radius_x, radius_y = (0.25 + number % 7 / 8) * width / 10, (0.25 + number % 5 / 8) * height / 10
    y, x = np.ogrid[0.5 : height + 0.5, 0.5 : width + 0.5]
    inside = ((x - left) / radius_x - 1) ** 2 + ((y - top) / radius_y - 1) ** 2 < 1 + noise / 4
    rows, columns = np.nonzero(inside)
    bbox = [int(edge) for edge in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]
    mask = {"counts": masks.encode(inside).counts, "size": [height, width], "format": "coco_rle"}
    places = random.uniform((bbox[0], bbox[1]), (bbox[2], bbox[3]), (38, 2))
    points = [value for px, py in places.tolist() for value in (px, py, 2, 0.5)]
    return {"category": "person", "score": 0.5, "bbox": bbox, "mask": mask, "pose": points[:68], "hand": points[68:]}
