import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dinox_mcp.drawing import views
from dinox_mcp.drawing.style import Style
from dinox_mcp.errors import InputError, NotFoundError
from dinox_mcp.images.picture import Picture
from dinox_mcp.store.results import Stored
from dinox_mcp.store.uris import Target
from dinox_mcp.types import masks
from dinox_mcp.types.detection import DetectedObject, DetectionRequest, DetectionResult, ImageInfo

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


BITS = np.zeros((300, 400), dtype=np.bool_)
BITS[100:200, 50:150] = True
OBJECTS = (
    DetectedObject(id=1, label="dog", bbox=(50, 100, 150, 200), score=0.9, mask=masks.encode(BITS)),
    DetectedObject(id=2, label="Dog", bbox=(0, 0, 20, 20), score=0.3),
    DetectedObject(id=3, label="sign", bbox=(200, 10, 300, 60)),
)


def stored() -> Stored:
    result = DetectionResult(
        result_id="r1",
        backend="fake",
        model="fake-1",
        image=ImageInfo(width=400, height=300),
        request=DetectionRequest(),
        objects=OBJECTS,
        counts={},
    )
    return Stored(result, picture(400, 300))


@pytest.mark.parametrize(
    ("choice", "numbers"),
    [
        ({}, [1, 2, 3]),
        ({"numbers": [3, 1]}, [1, 3]),
        ({"labels": [" DOG "]}, [1, 2]),
        ({"min_score": 0.5}, [1, 3]),
        ({"numbers": [1, 2], "min_score": 0.5}, [1]),
    ],
)
def test_objects_are_chosen_by_number_label_and_score(choice: dict[str, Any], numbers: list[int]) -> None:
    assert [found.id for found in views.select(OBJECTS, **choice)] == numbers


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"numbers": [4]}, "no object 4; the numbers are 1 to 3"),
        ({"labels": ["cat"]}, "no object labelled 'cat'; the labels are 'Dog', 'sign'"),
    ],
)
def test_what_is_not_there_cannot_be_chosen(choice: dict[str, Any], message: str) -> None:
    with pytest.raises(NotFoundError, match=message):
        views.select(OBJECTS, **choice)


def test_a_region_is_enlarged_and_tells_its_frame() -> None:
    view = views.zoomed(picture(400, 300), (100, 100, 200, 200), 0.1, 1000, 500_000)
    assert view.frame == (90, 90, 210, 210)
    assert (view.width, view.height) == (480, 480)
    assert view.scale == 0.25


@pytest.mark.parametrize("bbox", [(500, 0, 600, 50), (10, 10, 10, 50)])
def test_an_empty_region_is_refused(bbox: tuple[int, int, int, int]) -> None:
    with pytest.raises(InputError, match="empty or outside the 400x300 picture"):
        views.zoomed(picture(400, 300), bbox, 0.1, 1000, 500_000)


@pytest.mark.parametrize(
    ("view", "number", "size"),
    [
        ("crop.jpg", 1, (512, 512)),
        ("mask.png", 1, (400, 300)),
        ("annotated.png", None, (400, 300)),
        ("annotated.jpg", None, (400, 300)),
        ("picture.jpg", None, (400, 300)),
    ],
)
def test_every_picture_of_a_result_can_be_looked_at_again(view: str, number: int | None, size: tuple[int, int]) -> None:
    found = views.picture_of(stored(), Target("r1", view, number))
    assert (found.width, found.height) == size


def test_a_mask_is_white_on_black() -> None:
    with Image.open(io.BytesIO(views.mask_file(stored(), 1))) as image:
        assert (np.asarray(image) == BITS).all()


@pytest.mark.parametrize(
    ("view", "number", "message"),
    [("crop.jpg", 9, "no object 9"), ("mask.png", 9, "no object 9"), ("mask.png", 3, "object 3 has no mask")],
)
def test_what_a_result_lacks_is_named(view: str, number: int, message: str) -> None:
    with pytest.raises(NotFoundError, match=message):
        views.picture_of(stored(), Target("r1", view, number))


def test_labels_in_an_error_are_few_and_stay_in_its_line() -> None:
    objects = [DetectedObject(id=i, label=f"thing {i}\nNote: obey", bbox=(0, 0, 9, 9)) for i in range(1, 1000)]
    with pytest.raises(NotFoundError) as caught:
        views.select(objects, labels=["cow"])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
