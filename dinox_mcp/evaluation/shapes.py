"""Masks and keypoints as they are compared: of annotations in COCO's format, and of detections."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, Discriminator, Field, FiniteFloat, Tag

from dinox_mcp.errors import InputError
from dinox_mcp.evaluation.overlaps import Floats, Shapes, pycocotools_mask
from dinox_mcp.types import masks
from dinox_mcp.types.detection import Detection, Mask
from dinox_mcp.types.keypoints import BODY

Rle = dict[str, Any]
"""A mask as pycocotools has it: `size` (height, width), and `counts` as bytes."""
_SURE = 0.2
"""Points that score less do not change the score of a pose."""
_UNSURE_POSE = 0.05
"""What the score of the box is multiplied by where no point is sure."""
_AROUND = 2
"""How many sizes of the image a polygon may reach out of it."""
_LONGEST = 2e6
"""Pixels along all edges of a polygon: pycocotools needs some 80 bytes for each, and crashes where it gets none."""
_MOST_PIXELS = 2**31
"""Pixels of a mask: pycocotools counts them in 32 bits."""


class Runs(BaseModel):
    """The mask of an annotation as run-length encoding, compressed or not."""

    size: tuple[int, int]
    counts: str | list[Annotated[int, Field(ge=0)]]


Polygons = list[Annotated[list[FiniteFloat], Field(min_length=6)]]
Segmentation = Annotated[
    Annotated[Runs, Tag("runs")] | Annotated[Polygons, Tag("polygons")],
    Discriminator(lambda value: "polygons" if isinstance(value, list) else "runs"),
]
"""The mask of an annotation. An empty list of polygons is an empty mask."""


def encode(segmentation: Segmentation, size: tuple[int, int]) -> Rle:
    """Encode the mask of an annotation.

    Args:
        segmentation: polygons, or runs.
        size: width and height of the image.

    Raises:
        ValueError: it does not fit the image.
        SettingsError: pycocotools is not installed.
    """
    width, height = size
    if not 0 < width * height < _MOST_PIXELS:
        raise ValueError(f"a mask in an image of {width}x{height}")
    coding = pycocotools_mask()
    if isinstance(segmentation, Runs):
        if segmentation.size != (height, width):
            raise ValueError(f"a mask of {segmentation.size[1]}x{segmentation.size[0]} in an image of {width}x{height}")
        if isinstance(segmentation.counts, str):
            return measured(Mask(size=segmentation.size, counts=segmentation.counts))[0]
        if sum(segmentation.counts) != width * height:
            raise ValueError(f"runs of {sum(segmentation.counts)} pixels in an image of {width}x{height}")
        runs: Rle = coding.frPyObjects(segmentation.model_dump(), height, width)
        return runs
    for polygon in segmentation:
        _check_polygon(polygon, size)
    if not segmentation:
        empty: Rle = coding.frPyObjects({"size": [height, width], "counts": [height * width]}, height, width)
        return empty
    merged: Rle = coding.merge(coding.frPyObjects(segmentation, height, width))
    return merged


def _check_polygon(polygon: Sequence[float], size: tuple[int, int]) -> None:
    """Refuse what pycocotools would need too much memory for.

    Raises:
        ValueError: it does not fit an image of this width and height.
    """
    if len(polygon) % 2:
        raise ValueError("a polygon with an odd number of coordinates")
    corners = np.array(polygon).reshape(-1, 2)
    if (corners / size).min() < -_AROUND or (corners / size).max() > 1 + _AROUND:
        raise ValueError(f"a polygon far outside of the image of {size[0]}x{size[1]}")
    if np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1).sum() > _LONGEST:
        raise ValueError(f"a polygon with edges of more than {_LONGEST:,.0f} pixels")


def measured(mask: Mask) -> tuple[Rle, int]:
    """Give a mask as pycocotools has it, and its area.

    Raises:
        ValueError: the string is not a mask of the size that it claims, which pycocotools does not check.
    """
    area = masks.area(mask)
    return {"size": list(mask.size), "counts": mask.counts.encode()}, area


def array_of(shapes: Iterable[Rle]) -> Shapes:
    """Put masks into an array (n,)."""
    listed = list(shapes)
    array = np.empty(len(listed), object)
    array[:] = listed
    return array


def order_of(names: Sequence[str], category: str) -> list[int]:
    """Give the places of the points of `BODY` among the keypoints of a category.

    Raises:
        InputError: it has other keypoints.
    """
    if set(names) != set(BODY) or len(names) != len(BODY):
        raise InputError(
            f"the category {category!r:.80} has other keypoints than the {len(BODY)} that COCO has of a person, which "
            "alone can be compared; use --iou bbox"
        )
    return [names.index(name) for name in BODY]


def points_of(found: Detection) -> Floats | None:
    """Give the keypoints (17, 3) of a detection as x, y and 1; None where it is not a body."""
    named = {point.name: point for point in found.keypoints}
    if not named.keys() >= set(BODY):
        return None
    return np.array([(named[name].x, named[name].y, 1.0) for name in BODY])


def pose_score(found: Detection, box_score: float) -> float:
    """Give the score of a pose: that of its box, times the mean of its points that score at least 0.2."""
    scores = [point.score for point in found.keypoints if point.score is not None]
    if not scores:
        return box_score
    sure = [score for score in scores if score > _SURE]
    return box_score * (sum(sure) / len(sure) if sure else _UNSURE_POSE)


def extent(points: Floats) -> tuple[float, float, float, float]:
    """Give the box around keypoints (n, 3) as x, y, width and height."""
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])
