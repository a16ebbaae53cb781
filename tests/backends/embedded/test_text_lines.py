"""Pictures of a few rows and very many columns: models pad them, and turned they fill a large square."""

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet

import numpy as np
import pytest
from PIL import Image

from dinox_mcp.backends.embedded import codes, create
from dinox_mcp.backends.embedded.findings import Finding, Pixels
from dinox_mcp.backends.embedded.pixels import MAX_SIDE
from dinox_mcp.backends.embedded.text_lines import search_size
from dinox_mcp.backends.embedded.vocabulary import Kind
from dinox_mcp.settings import Settings
from tests.backends.embedded_scenes import find, hang, qr_code, read, wall

MOST = 30_000_000
"""Pixels that any model or reader may be shown at once."""


@pytest.fixture
def largest(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Tell how many pixels the reader of codes was shown at most."""
    sizes = [0]
    stock = codes.read_symbols

    def spy(pixels: Pixels, kinds: AbstractSet[Kind]) -> Iterator[Finding]:
        sizes.append(pixels.size)
        return stock(pixels, kinds)

    monkeypatch.setattr(codes, "read", spy)
    return lambda: max(sizes)


@pytest.mark.parametrize("size", [(32_000, 1), (1, 32_000), (5000, 300)])
def test_lines_are_looked_for_in_a_bounded_number_of_pixels(size: tuple[int, int]) -> None:
    width, height = search_size(*size)
    assert width * height < 2 * 3_200_000


def test_a_side_longer_than_models_take_is_reduced(largest: Callable[[], int]) -> None:
    found = find(create(Settings.load()), Image.new("L", (2 * MAX_SIDE, 2), "white"))
    assert f"searched at {MAX_SIDE}x1 pixels; zoom in for what is smaller" in found.notes
    assert 0 < largest() < MOST


def test_codes_at_the_far_end_of_a_strip_are_read(largest: Callable[[], int]) -> None:
    strip = np.hstack([wall(1500, 150)] * 4)
    hang(strip, qr_code("4711", 2), (5800, 75))
    assert ("QR code", "4711") in read(find(create(Settings.load()), strip, "QR code", "barcode"))
    assert 0 < largest() < MOST
