"""From heatmaps to points finer than a heatmap's cell.

DARK (Zhang et al., CVPR 2020, arXiv:1910.06278) fits a parabola to the logarithm of the blurred map around its peak;
coordinates are unbiased (Huang et al., CVPR 2020, arXiv:1911.07524). The same steps as transformers' ViTPose, which
needs SciPy for them.
"""

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

Array = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

_SIGMA, _RADIUS = 0.8, 5
_LEAST, _MOST = 0.001, 50
_FAR = 2.0
"""Cells. A peak that the fit moves further is no peak: it stays where it is."""


def decode(heatmaps: Array) -> tuple[Array, Array]:
    """Find the peak of each map: where it is (n, points, 2), x and y in cells, and how high (n, points).

    `heatmaps` is (n, points, height, width).
    """
    maps, points, height, width = heatmaps.shape
    flat = heatmaps.reshape(maps, points, height * width)
    highest = flat.argmax(-1)
    x, y = highest % width, highest // width
    offset = _offset(np.log(np.clip(_blurred(heatmaps), _LEAST, _MOST)), x, y)
    far = ~(np.abs(offset).max(-1, keepdims=True) <= _FAR)  # nowhere at all is far, too
    peaks = np.stack((x, y), axis=-1) - np.where(far, 0, offset)
    return peaks.astype(np.float32), flat.max(-1)


def _offset(logs: Array, x: Places, y: Places) -> npt.NDArray[np.float64]:
    """Give how far each peak (n, points) lies from the vertex of the parabola through it: (n, points, 2)."""
    around = np.pad(logs.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    maps, points = np.ogrid[: logs.shape[0], : logs.shape[1]]

    def at(right: int, down: int) -> npt.NDArray[np.float64]:
        values: npt.NDArray[np.float64] = around[maps, points, y + 1 + down, x + 1 + right]
        return values

    here, left, right, above, below = at(0, 0), at(-1, 0), at(1, 0), at(0, -1), at(0, 1)
    slope_x, slope_y = (right - left) / 2, (below - above) / 2
    tiny = np.finfo(np.float32).eps
    bend_x, bend_y = right - 2 * here + left + tiny, below - 2 * here + above + tiny
    twist = (at(1, 1) - right - below + 2 * here - left - above + at(-1, -1)) / 2
    determinant = bend_x * bend_y - twist * twist
    moved = np.stack((bend_y * slope_x - twist * slope_y, bend_x * slope_y - twist * slope_x), axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):  # where the map is flat
        return moved / determinant[..., None]


def _blurred(heatmaps: Array) -> Array:
    """Blur with a Gaussian; beyond the edge a map is mirrored."""
    steps = np.arange(-_RADIUS, _RADIUS + 1)
    weights = np.exp(-0.5 * (steps / _SIGMA) ** 2)
    weights /= weights.sum()
    for axis in (2, 3):
        border = [(_RADIUS, _RADIUS) if each == axis else (0, 0) for each in range(4)]
        wide = np.pad(heatmaps, border, mode="symmetric")
        heatmaps = (sliding_window_view(wide, weights.size, axis=axis) @ weights).astype(np.float32)
    return heatmaps
