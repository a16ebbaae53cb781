import io

import numpy as np
import pytest
from PIL import Image

from dinox_mcp import views
from dinox_mcp.drawing.style import Style
from dinox_mcp.images.picture import Picture
from dinox_mcp.schema import DetectedObject

GREEN = (10, 200, 10)
SENTENCE = "a man in a red shirt holding a wooden bat above his left shoulder while the catcher waits"
PLAIN = Style(boxes=False, numbers=False, labels=False)


def picture(width: int, height: int) -> Picture:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), GREEN).save(buffer, "PNG")
    return Picture.from_bytes(buffer.getvalue(), "field.png")


def told(caption: str | None = SENTENCE) -> DetectedObject:
    return DetectedObject(id=1, label="person", bbox=(10, 10, 40, 40), caption=caption)


def green(data: bytes) -> tuple[int, int]:
    """Measure the part of an encoded picture that shows the field: its width and height."""
    with Image.open(io.BytesIO(data)) as image:
        rows, columns = np.nonzero((np.asarray(image) == GREEN).all(axis=2))
    assert (rows.min(), columns.min()) == (0, 0)
    return int(columns.max()) + 1, int(rows.max()) + 1


@pytest.mark.parametrize("size", [(1000, 600), (3000, 2000), (600, 1000), (2000, 2000), (4000, 500), (60, 40)])
def test_a_legend_lies_outside_of_the_frame(size: tuple[int, int]) -> None:
    view = views.annotated(picture(*size), [told()], PLAIN, 1200, 500_000)
    assert max(view.width, view.height) <= 1200
    assert view.frame == (0, 0, *size)
    assert view.picture_size
    assert (view.width, view.height) != view.picture_size
    assert view.scale == pytest.approx(size[0] / view.picture_size[0])
    assert view.scale == pytest.approx(size[1] / view.picture_size[1], rel=0.02)
    with Image.open(io.BytesIO(view.data)) as image:
        assert image.size == (view.width, view.height)
        width, height = view.picture_size
        assert image.getpixel((width // 2, height - 4)) == pytest.approx(GREEN, abs=12)
        outside = (width // 2, height + 4) if height < view.height else (width + 4, height // 2)
        assert min(image.getpixel(outside)) > 200


def test_a_budget_of_bytes_shrinks_picture_and_legend_alike() -> None:
    large, small = (views.annotated(picture(1000, 600), [told()], PLAIN, 1200, budget) for budget in (500_000, 12_000))
    assert small.width < large.width
    assert large.picture_size
    assert small.picture_size
    assert small.picture_size[0] / small.width == pytest.approx(large.picture_size[0] / large.width, rel=0.01)
    assert small.scale == pytest.approx(1000 / small.picture_size[0])


@pytest.mark.parametrize("found", [told(None), told("a boy")])
def test_without_a_legend_the_frame_fills_the_view(found: DetectedObject) -> None:
    view = views.annotated(picture(2000, 1000), [found], Style(), 500, 500_000)
    assert (view.width, view.height, view.picture_size, view.scale) == (500, 250, None, 4)


def test_the_full_size_has_its_legend_too() -> None:
    data = views.annotated_file(picture(1000, 600), [told()], PLAIN, views.PNG)
    assert green(data) == (1000, 600)
    with Image.open(io.BytesIO(data)) as image:
        assert image.width == 1000
        assert image.height > 620
