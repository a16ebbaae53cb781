"""Masks and keypoints of annotations and of detections, and how much they overlap, as COCO defines it."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, Discriminator, Field, FiniteFloat, Tag

from dinox_mcp.errors import InputError, SettingsError
from dinox_mcp.evaluation.labelled import Bools, Floats, Shapes
from dinox_mcp.types import masks
from dinox_mcp.types.detection import Detection, Mask
from dinox_mcp.types.extras import extras_command
from dinox_mcp.types.keypoints import BODY

Rle = dict[str, Any]
"""A mask as pycocotools has it: `size` (height, width), and `counts` as bytes."""
_SURE = 0.2  # points that score less do not change the score of a pose
_UNSURE_POSE = 0.05  # what the score of the box is multiplied by where no point is sure
_AROUND = 2  # how many sizes of the image a polygon may reach out of it
_LONGEST = 2e6  # pixels along a polygon: pycocotools needs some 80 bytes for each, and crashes where it gets none
_MOST_PIXELS = 2**31  # pixels of a mask: pycocotools counts them in 32 bits
_SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
"""How far annotators were apart on each point of `BODY`, as a part of the person's size (COCO)."""
_VARIANCES = (2 * _SIGMAS) ** 2


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


def pycocotools_mask() -> Any:  # noqa: ANN401 - the module has no types
    """Import the part of pycocotools that works with masks.

    Raises:
        SettingsError: it is not installed.
    """
    try:
        from pycocotools import mask
    except ImportError:
        command = extras_command(["evaluate"])
        raise SettingsError(f"masks are compared by pycocotools, which is not installed; run {command}") from None
    return mask


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
    """Refuse what pycocotools would need too much memory for in an image of this width and height."""
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


def of_boxes(found: Floats, labelled: Floats, crowd: Bools) -> Floats:
    """Give the IoU of boxes.

    Args:
        found: x, y, width and height (n, 4).
        labelled: likewise (m, 4).
        crowd: whether each labelled one (m,) is a crowd, of which the share of the found box that it covers is given.

    Returns:
        From 0 to 1 (n, m).
    """
    low = np.maximum(found[:, None, :2], labelled[None, :, :2])
    high = np.minimum(found[:, None, :2] + found[:, None, 2:], labelled[None, :, :2] + labelled[None, :, 2:])
    sides = np.maximum(high - low, 0)
    shared = sides[..., 0] * sides[..., 1]
    area, labelled_area = found[:, 2] * found[:, 3], labelled[:, 2] * labelled[:, 3]
    union = np.where(crowd, area[:, None], area[:, None] + labelled_area - shared)
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0))


def of_masks(found: Shapes, labelled: Shapes, crowd: Bools) -> Floats:
    """Give the IoU (n, m) of masks, which are run-length encodings of pycocotools; -1 where their sizes differ."""
    overlaps = pycocotools_mask().iou(found.tolist(), labelled.tolist(), crowd.astype(int).tolist())
    return np.asarray(overlaps, float)


def of_keypoints(found: Floats, labelled: Floats, bbox: Floats, area: Floats) -> Floats:
    """Give the object keypoint similarity.

    Of a person without labelled points, points inside of the box and around it, by its size, count as right.

    Args:
        found: x, y and anything (n, 17, 3), in the order of `BODY`.
        labelled: x, y and visibility (m, 17, 3).
        bbox: the labelled boxes (m, 4) as x, y, width and height.
        area: the labelled areas (m,) in square pixels.

    Returns:
        From 0 to 1 (n, m).
    """
    visible = labelled[..., 2] > 0
    known = np.asarray(visible.any(axis=1))
    from_points = found[:, None, :, :2] - labelled[None, :, :, :2]
    low = (bbox[:, :2] - bbox[:, 2:])[None, :, None]
    high = (bbox[:, :2] + 2 * bbox[:, 2:])[None, :, None]
    around = found[:, None, :, :2]
    from_box = np.maximum(low - around, 0) + np.maximum(around - high, 0)
    distance = (np.where(known[None, :, None, None], from_points, from_box) ** 2).sum(axis=-1)
    error = distance / _VARIANCES / (area + np.spacing(1))[None, :, None] / 2
    counted = np.where(known[:, None], visible, np.ones(len(BODY), bool))
    similar = np.where(counted[None], np.exp(-error), 0.0)
    return np.asarray(similar.sum(axis=-1) / counted.sum(axis=-1))
