import cv2
import numpy as np
import pytest

from dinox_mcp.export.outlines import Polygon, cvat_runs, polygons
from dinox_mcp.types import masks
from tests.export.conftest import BITS, disk


def drawn(outlines: list[Polygon]) -> np.ndarray:
    """Fill polygons in an image of 100x80 pixels, eight times as fine, and take the centers of pixels."""
    fine = np.zeros((640, 800), np.uint8)
    for outline in outlines:
        cv2.fillPoly(fine, [np.round(np.array(outline) * 8).astype(np.int32)], 1)
    return fine[4::8, 4::8] > 0


@pytest.mark.parametrize("bits", [BITS, disk(0, 0, 20), disk(30, 30, 8) | disk(70, 50, 20)], ids=["one", "cut", "two"])
def test_outlines_enclose_the_pixels_of_the_mask(bits: np.ndarray) -> None:
    shape = drawn(polygons(masks.encode(bits)))
    assert (shape & bits).sum() / (shape | bits).sum() > 0.97


def test_a_rectangle_has_four_corners_at_the_edges_of_its_pixels() -> None:
    bits = np.zeros((80, 100), np.bool_)
    bits[20:40, 10:50] = True
    (outline,) = polygons(masks.encode(bits))
    assert sorted(outline) == [(10, 20), (10, 40), (50, 20), (50, 40)]


def test_the_largest_part_is_first() -> None:
    first, second = polygons(masks.encode(disk(10, 10, 4) | disk(70, 50, 20)))
    assert max(x for x, _ in first) > 80
    assert max(x for x, _ in second) < 20


def test_a_mask_without_pixels_has_no_outline() -> None:
    assert polygons(masks.encode(np.zeros((80, 100), np.bool_))) == []


@pytest.mark.parametrize("bits", [BITS, ~BITS, disk(0, 0, 20)], ids=["disk", "hole", "corner"])
def test_runs_are_those_of_cvat(bits: np.ndarray) -> None:
    """Decode them as CVAT does: background first, row by row, in the window."""
    given = cvat_runs(masks.encode(bits))
    left, top, width = (int(given[name]) for name in ("left", "top", "width"))
    again = np.zeros((80, 100), np.bool_)
    value, offset = False, 0
    for run in map(int, given["rle"].split(",")):
        for _ in range(run):
            y, x = divmod(offset, width)
            again[y + top, x + left] = value
            offset += 1
        value = not value
    assert offset == width * int(given["height"])
    assert (again == bits).all()
