from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from dinox_mcp.types import masks
from dinox_mcp.types.detection import Mask
from dinox_mcp.types.masks import Bits

sides = st.integers(1, 40)
bitmaps = st.tuples(sides, sides).flatmap(lambda shape: arrays(np.bool_, shape))


def blobs(seed: int, height: int, width: int) -> Bits:
    """Overlapping ellipses: long runs, as masks of things have them."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    bits = np.zeros((height, width), dtype=np.bool_)
    for _ in range(4):
        cx, cy = random.uniform(0, width), random.uniform(0, height)
        rx, ry = random.uniform(1, width / 2), random.uniform(1, height / 2)
        bits |= ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
    return bits


@given(bitmaps)
def test_encoded_strings_are_those_of_pycocotools_and_decode_to_the_same(bits: Bits) -> None:
    theirs = coco.encode(np.asfortranarray(bits.astype(np.uint8)))
    mask = masks.encode(bits)
    assert mask == Mask(size=theirs["size"], counts=theirs["counts"].decode())
    assert (masks.decode(mask) == bits).all()
    assert masks.area(mask) == bits.sum()


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools' own
@pytest.mark.parametrize("seed", range(3))
def test_large_masks_are_those_of_pycocotools(seed: int) -> None:
    bits = blobs(seed, 300, 400)
    theirs = coco.encode(np.asfortranarray(bits.astype(np.uint8)))
    ours = masks.encode(bits)
    assert ours.counts == theirs["counts"].decode()
    assert masks.area(ours) == coco.area(theirs)
    assert (masks.decode(ours) == coco.decode(theirs).astype(np.bool_)).all()


@given(bitmaps)
def test_a_window_holds_all_of_the_foreground_and_no_more(bits: Bits) -> None:
    x, y, window = masks.window(masks.encode(bits))
    whole = np.zeros_like(bits)
    whole[y : y + window.shape[0], x : x + window.shape[1]] = window
    assert (whole == bits).all()
    if bits.any():
        assert all(edge.any() for edge in (window[0], window[-1], window[:, 0], window[:, -1]))
    else:
        assert window.size == 0


@given(bitmaps, sides, sides)
def test_resizing_takes_the_nearest_pixel(bits: Bits, width: int, height: int) -> None:
    resized = masks.decode(masks.resize(masks.encode(bits), width, height))
    rows = ((np.arange(height) + 0.5) * bits.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * bits.shape[1] / width).astype(int)
    assert resized.shape == (height, width)
    assert (resized == bits[np.ix_(rows, columns)]).all()


HOSTILE = {
    "empty": "",
    "too short": "11",
    "too long": "P9",
    "below the alphabet": "/1",
    "above the alphabet": "p1",
    "not ASCII": "\u4e2d",
    "not ASCII within a good string": "\u4e2d" + "`0",
    "a lone surrogate": "\ud800",
    "NUL": "\x000",
    "unfinished number": "o",
    "endless number": "o" * 100 + "0",
    "a number beyond an image": "oooooooo?",
    "negative": "L",
    "sums that wrap around": "oooooooo?" * 50,
    "long": "1" * 100_000,
}


@pytest.mark.parametrize("counts", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_strings_are_refused(counts: str) -> None:
    with pytest.raises(ValueError, match="not a COCO RLE of 4x8 pixels"):
        masks.decode(Mask(size=(8, 4), counts=counts))


@pytest.mark.parametrize("work", [masks.area, masks.window, lambda mask: masks.resize(mask, 3, 3)])
def test_every_function_refuses_a_hostile_string(work: Callable[[Mask], object]) -> None:
    with pytest.raises(ValueError, match="not a COCO RLE of 4x8 pixels"):
        work(Mask(size=(8, 4), counts=HOSTILE["too short"]))


@pytest.mark.parametrize("size", [(0, 0), (0, 4), (-8, -4), (-8, 4)])
def test_impossible_sizes_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="not a COCO RLE"):
        masks.decode(Mask(size=size, counts="0"))


@pytest.mark.slow
@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=30))
def test_any_string_is_a_mask_of_its_size_or_refused(counts: str) -> None:
    try:
        bits = masks.decode(Mask(size=(8, 4), counts=counts))
    except ValueError as error:
        assert str(error) == "not a COCO RLE of 4x8 pixels"  # noqa: PT017 - either outcome is right
    else:
        assert bits.shape == (8, 4)


@given(bits=arrays(np.bool_, (5, 7)), left=st.integers(0, 4), top=st.integers(0, 3))
def test_a_part_of_a_picture_is_placed_in_the_whole(bits: Bits, left: int, top: int) -> None:
    whole = np.zeros((8, 11), np.bool_)
    whole[top : top + 5, left : left + 7] = bits
    assert masks.place(masks.encode(bits), left, top, 11, 8) == masks.encode(whole)


@given(a=arrays(np.bool_, (5, 7)), b=arrays(np.bool_, (5, 7)))
def test_a_union_is_what_is_in_either_mask(a: Bits, b: masks.Bits) -> None:
    assert masks.union(masks.encode(a), masks.encode(b)) == masks.encode(a | b)


def test_masks_of_different_sizes_have_no_union() -> None:
    with pytest.raises(ValueError, match="no union"):
        masks.union(masks.encode(np.ones((2, 3), np.bool_)), masks.encode(np.ones((3, 2), np.bool_)))
