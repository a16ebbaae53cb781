"""Registers two images of one scene: finds the homography that maps pixels of the first to pixels of the second.

Images of equal size, such as screenshots and those of a fixed camera, need none if they fit best as they are. Images
that fit in no way are refused.
"""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dinox_mcp.compare.comparison import Registered
from dinox_mcp.errors import InputError

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating[Any]]

_MOST_FEATURES = 3000
_RATIO = 0.8  # a feature's best counterpart is closer than this share of the distance to the second best
_REPROJECTION = 3.0  # pixels by which a matched feature may miss its counterpart
_LEAST_INLIERS = 15
_LEAST_OVERLAP = 0.2  # of the smaller image, which the other one must show
_MOST_ZOOM = 4.0
_WINDOW = 17  # pixels of the windows in which structure is compared
_LEAST_CONTRAST = 4.0  # standard deviation of the grey levels of a window that has structure
_AGREES = 0.5  # correlation of two windows that show the same
_LEAST_AGREEMENT = 0.35  # share of windows that must agree; those of different scenes do in less than 0.1
_EXACT = 0.99
_FEW_WINDOWS = 0.01
_MOST_TOLERANCE = 4


@dataclass(frozen=True)
class Registration:
    """How two images fit.

    Attributes:
        method: "identity" if pixels of equal position show the same.
        matrix: maps pixels of the first image to pixels of the second; pixel edges are at integers.
        agreement: the share of windows with structure that show the same in both.
        tolerance: pixels by which the images may still be misaligned.
    """

    method: Registered
    matrix: Floats
    agreement: float
    tolerance: int

    @property
    def scale(self) -> float:
        """Pixels of the second image for one of the first, near the origin of the matrix."""
        return math.sqrt(abs(float(np.linalg.det(self.matrix[:2, :2] / self.matrix[2, 2]))))


@dataclass(frozen=True)
class _Fit:
    """How well images fit: the share of windows that agree, their mean correlation, and the share with structure."""

    agreement: float
    correlation: float
    structured: float


def register(before: Pixels, after: Pixels) -> Registration:
    """Register two images.

    Args:
        before: the first image (height, width, 3), RGB.
        after: the second image, of any size.

    Raises:
        InputError: they do not show the same scene, or too little of it.
    """
    unmoved = _fit(before, after, np.eye(3)) if before.shape == after.shape else None
    if unmoved and unmoved.correlation >= _EXACT:
        return Registration("identity", np.eye(3), unmoved.agreement, 1)
    moved, problem = _find_homography(before, after)
    if moved is not None:
        matrix, tolerance = moved
        fit = _fit(before, after, matrix)
        if unmoved and unmoved.correlation >= fit.correlation - (1 - _EXACT):
            return Registration("identity", np.eye(3), unmoved.agreement, 1)
        if fit.agreement >= _LEAST_AGREEMENT:
            return Registration("homography", matrix, fit.agreement, tolerance)
        problem = f"only {fit.agreement:.0%} of their details agree"
    if unmoved and (unmoved.agreement >= _LEAST_AGREEMENT or unmoved.structured < _FEW_WINDOWS):
        return Registration("identity", np.eye(3), unmoved.agreement, 1)
    raise InputError(
        f"the two images cannot be registered, as {problem}; pass two images of one scene from nearly the same "
        "position, or call detect_objects on each and compare the counts"
    )


def warp(image: Pixels, matrix: Floats, size: tuple[int, int]) -> Pixels:
    """Map an image to another's pixels; `size` is the width and height of the result."""
    if np.array_equal(matrix, np.eye(3)) and size == image.shape[1::-1]:
        return image
    # OpenCV has the centers of pixels at integers.
    centers = _shift(-0.5) @ matrix @ _shift(0.5)
    return np.asarray(cv2.warpPerspective(image, centers, size, flags=cv2.INTER_LINEAR), np.uint8)


def map_points(points: Floats, matrix: Floats) -> Floats:
    """Map points (n, 2) by a homography."""
    mapped = np.column_stack((points, np.ones(len(points)))) @ matrix.T
    return np.asarray(mapped[:, :2] / mapped[:, 2:])


def _shift(by: float) -> Floats:
    return np.array([(1, 0, by), (0, 1, by), (0, 0, 1)], float)


def _find_homography(before: Pixels, after: Pixels) -> tuple[tuple[Floats, int] | None, str]:
    """Find the homography by features: the matrix with the tolerance in pixels, or None with what is wrong."""
    sift = cv2.SIFT.create(nfeatures=_MOST_FEATURES)
    points, descriptors = [], []
    for image in (before, after):
        found, described = sift.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)
        if described is None or len(found) < _LEAST_INLIERS:
            return None, f"one of them has only {len(found)} details that can be matched"
        points.append(np.array([one.pt for one in found]) + 0.5)
        descriptors.append(described)
    pairs = cv2.BFMatcher().knnMatch(descriptors[0], descriptors[1], k=2)
    good = [best for best, second in pairs if best.distance < _RATIO * second.distance]
    if len(good) < _LEAST_INLIERS:
        return None, f"only {len(good)} details of one are found in the other"
    source = points[0][[one.queryIdx for one in good]]
    target = points[1][[one.trainIdx for one in good]]
    fitted, chosen = cv2.findHomography(source, target, cv2.USAC_MAGSAC, _REPROJECTION, maxIters=5000, confidence=0.999)
    inliers = np.zeros(len(good), bool) if chosen is None else chosen.ravel().astype(bool)
    if fitted is None or inliers.sum() < _LEAST_INLIERS:
        return None, f"only {int(inliers.sum())} details fit together"
    matrix = np.asarray(fitted, float)
    if problem := _degenerate(matrix, before, after):
        return None, problem
    misses = np.linalg.norm(map_points(source[inliers], matrix) - target[inliers], axis=1)
    tolerance = math.ceil(1 + float(np.percentile(misses, 80)))
    return (matrix, min(_MOST_TOLERANCE, max(2, tolerance))), ""


def _degenerate(matrix: Floats, before: Pixels, after: Pixels) -> str:
    """Say what makes a homography impossible for two photographs of one scene; empty if it is possible."""
    size, other = before.shape[1::-1], after.shape[1::-1]
    corners = _corners(size)
    depths = np.column_stack((corners, np.ones(4))) @ matrix[2]
    if not np.isfinite(matrix).all() or depths.min() * depths.max() <= 0:
        return "the homography between them is degenerate"
    quad = map_points(corners, matrix).astype(np.float32)
    if not cv2.isContourConvex(quad) or cv2.contourArea(quad, oriented=True) <= 0:
        return "the homography between them folds or mirrors the image"
    area = cv2.contourArea(quad)
    zoom = math.sqrt(area / (size[0] * size[1]))
    if not 1 / _MOST_ZOOM <= zoom <= _MOST_ZOOM:
        return f"the scene is {zoom:.2g} times as large in the second"
    shared, _ = cv2.intersectConvexConvex(quad, _corners(other).astype(np.float32))
    share = shared / min(area, other[0] * other[1])
    return "" if share >= _LEAST_OVERLAP else f"they share only {share:.0%} of the scene"


def _corners(size: tuple[int, ...]) -> Floats:
    width, height = size
    return np.array([(0, 0), (width, 0), (width, height), (0, height)], float)


def _fit(before: Pixels, after: Pixels, matrix: Floats) -> _Fit:
    """Compare the structure of two images, whatever the light: windows where both have structure."""
    size = after.shape[1::-1]
    first = warp(before, matrix, size)
    shown = warp(np.full(before.shape[:2], 255, np.uint8), matrix, size)
    inside = cv2.erode(shown, np.ones((_WINDOW, _WINDOW), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=255)
    correlations, contrasts, either = _correlate(first, after)
    seen = inside > 0
    structured = seen & (contrasts > _LEAST_CONTRAST)
    values = correlations[structured]
    share = len(values) / max(1, int(seen.sum()))
    if not len(values):  # only windows without structure can agree: an empty page is not like a full one
        plain = float((either[seen] <= _LEAST_CONTRAST).mean()) if seen.any() else 1.0
        return _Fit(plain, plain, 0.0)
    return _Fit(float((values > _AGREES).mean()), float(np.maximum(values, 0).mean()), share)


def _correlate(first: Pixels, second: Pixels) -> tuple[Floats, Floats, Floats]:
    """Correlate two images of one size window by window, pixel for pixel.

    Returns:
        The correlations from -1 to 1, and the lower and the higher of the two standard deviations in grey levels.
    """

    def mean(values: Floats) -> Floats:
        return np.asarray(cv2.boxFilter(values, -1, (_WINDOW, _WINDOW)), float)

    a, b = _blurred_grey(first), _blurred_grey(second)
    mean_a, mean_b = mean(a), mean(b)
    spread_a = np.sqrt(np.maximum(mean(a * a) - mean_a**2, 0))
    spread_b = np.sqrt(np.maximum(mean(b * b) - mean_b**2, 0))
    shared = mean(a * b) - mean_a * mean_b
    correlations = shared / np.maximum(spread_a * spread_b, 1e-3)
    return correlations, np.minimum(spread_a, spread_b), np.maximum(spread_a, spread_b)


def _blurred_grey(image: Pixels) -> Floats:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), 1.5), float)
