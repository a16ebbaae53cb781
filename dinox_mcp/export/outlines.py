"""Masks as other tools write them: polygons, and the runs of CVAT."""

import cv2
import numpy as np

from dinox_mcp.types import masks
from dinox_mcp.types.detection import Mask

Polygon = list[tuple[float, float]]
"""The corners (x, y) of a closed outline, in pixels of the image, pixel edges at integers."""

_TOLERANCE = 0.6  # pixels by which an outline may deviate from the edges of the mask's pixels
_LEAST_CORNERS = 3
_FINE, _SMALL = 4, 1_000_000  # how much finer masks of up to so many pixels are outlined


def polygons(mask: Mask) -> list[Polygon]:
    """Outline each connected part of a mask, the largest first; holes are filled.

    Raises:
        ValueError: the mask is not a COCO RLE of its size.
    """
    left, top, bits = masks.window(mask)
    if not bits.size:
        return []
    # Contours run through the centers of pixels, and cut the corners that they run around. Each corner of a finer pixel
    # becomes a pixel of its own here, so that they run along the edges of the mask, and cut next to nothing.
    fine = _FINE if bits.size <= _SMALL else 1
    corners = np.pad(bits.astype(np.uint8).repeat(fine, axis=0).repeat(fine, axis=1), 1)
    corners = corners[:-1, :-1] | corners[1:, :-1] | corners[:-1, 1:] | corners[1:, 1:]
    contours, _ = cv2.findContours(corners, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    by_size = sorted(contours, key=cv2.contourArea, reverse=True)
    simple = (cv2.approxPolyDP(contour, _TOLERANCE * fine, closed=True)[:, 0].tolist() for contour in by_size)
    return [
        [(left + x / fine, top + y / fine) for x, y in outline] for outline in simple if len(outline) >= _LEAST_CORNERS
    ]


def cvat_runs(mask: Mask) -> dict[str, str]:
    """Write a mask as CVAT does: runs of background and foreground in turn, row by row in its window.

    Returns:
        The attributes `rle`, `left`, `top`, `width` and `height`. The mask must not be empty.

    Raises:
        ValueError: the mask is not a COCO RLE of its size.
    """
    left, top, bits = masks.window(mask)
    flat = bits.ravel()
    edges = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]))
    runs = np.diff(edges).tolist()
    if flat[0]:
        runs.insert(0, 0)
    window = {"left": left, "top": top, "width": bits.shape[1], "height": bits.shape[0]}
    return {"rle": ", ".join(map(str, runs)), **{name: str(value) for name, value in window.items()}}
