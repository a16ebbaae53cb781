"""How much found objects and labelled ones overlap: boxes and masks by IoU, keypoints by OKS, as COCO defines them."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dinox_mcp.errors import SettingsError
from dinox_mcp.types.extras import extras_command
from dinox_mcp.types.keypoints import BODY

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Shapes = npt.NDArray[Any]
Iou = Literal["bbox", "segm", "keypoints"]
"""What can be compared, by the names that pycocotools has for it."""

_SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
"""How far annotators were apart on each point of `BODY`, as a part of the person's size (COCO)."""
_VARIANCES = (2 * _SIGMAS) ** 2


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
