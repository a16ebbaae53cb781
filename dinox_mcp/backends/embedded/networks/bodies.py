"""The poses of persons in given boxes, estimated by MoveNet Thunder."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from dinox_mcp.backends.embedded.networks.crops import Crop
from dinox_mcp.backends.embedded.networks.runtime import Network
from dinox_mcp.backends.embedded.worker import Report, ignore
from dinox_mcp.types.boxes import Box

FAMILY = "MoveNet Thunder"
_SIDE = 256
_CROP = 1.2  # side of the crop, in longer sides of the person's box; as in Google's demo


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """A person's pose.

    Attributes:
        bbox: The person's box in pixels of the image, as given.
        points: The 17 points of `types.keypoints.BODY` in that order, as an array (17, 3) of x and y in pixels
            and a score from 0 to 1. Points that are hidden or outside the image are guesses with a low
            score.
    """

    bbox: Box
    points: npt.NDArray[np.float64]


class PoseEstimator:
    """Finds the points of bodies."""

    def __init__(self) -> None:
        """Load the network.

        Raises:
            BackendError: its file is missing or damaged.
        """
        self._network = Network("movenet-thunder")

    def estimate(self, image: Image.Image, boxes: Sequence[Box], report: Report = ignore) -> list[Body]:
        """Find the pose of each person.

        Args:
            image: The image, RGB.
            boxes: The persons' boxes in pixels of the image.
            report: Called before each person.

        Returns:
            One body for each box, in the same order.
        """
        bodies = []
        for done, bbox in enumerate(boxes):
            report(done / len(boxes))
            crop = Crop.around(bbox, _CROP)
            rows = self._network(crop.pixels(image, _SIDE)[None].astype(np.int32))["Identity"].reshape(17, 3)
            places = crop.to_picture(rows[:, 1::-1])  # the network gives y before x
            bodies.append(Body(bbox, np.column_stack([places, rows[:, 2]])))
        return bodies
