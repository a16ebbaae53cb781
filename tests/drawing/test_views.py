import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dinox_mcp.drawing import views
from dinox_mcp.drawing.style import Style
from dinox_mcp.drawing.views import encode_jpeg, encode_png, fit_bytes
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


def described(caption: str | None = SENTENCE) -> DetectedObject:
    return DetectedObject(id=1, label="person", bbox=(10, 10, 40, 40), caption=caption)


def green(data: bytes) -> tuple[int, int]:
    """Measure the part of an encoded image that shows the field: its width and height."""
    with Image.open(io.BytesIO(data)) as image:
        rows, columns = np.nonzero((np.asarray(image) == GREEN).all(axis=2))
    assert (rows.min(), columns.min()) == (0, 0)
    return int(columns.max()) + 1, int(rows.max()) + 1


@pytest.mark.parametrize("size", [(1000, 600), (2000, 1400), (600, 1000), (1300, 1300), (4000, 500), (60, 40)])
@pytest.mark.slow
def test_a_legend_lies_outside_of_the_frame(size: tuple[int, int]) -> None:
    view = views.annotated(picture(*size), [described()], PLAIN, 1200, 500_000)
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
    large, small = (
        views.annotated(picture(1000, 600), [described()], PLAIN, 1200, budget) for budget in (500_000, 12_000)
    )
    assert small.width < large.width
    assert large.picture_size
    assert small.picture_size
    assert small.picture_size[0] / small.width == pytest.approx(large.picture_size[0] / large.width, rel=0.01)
    assert small.scale == pytest.approx(1000 / small.picture_size[0])


@pytest.mark.parametrize("found", [described(None), described("a boy")])
def test_without_a_legend_the_frame_fills_the_view(found: DetectedObject) -> None:
    view = views.annotated(picture(2000, 1000), [found], Style(), 500, 500_000)
    assert (view.width, view.height, view.picture_size, view.scale) == (500, 250, None, 4)


def test_the_full_size_has_its_legend_too() -> None:
    data = views.annotated_file(picture(1000, 600), [described()], PLAIN, views.PNG)
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
    with pytest.raises(InputError, match="empty or outside the 400x300 image"):
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
        assert image.mode == "1"
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


# Crops

PHOTO = Image.linear_gradient("L").resize((2000, 1500)).convert("RGB")


def test_a_crop_shows_the_box_with_its_margin() -> None:
    image, frame = views.crop(PHOTO, (500, 300, 1500, 900), padding=0.1)
    assert frame == (400, 240, 1600, 960)
    assert image == PHOTO.crop((400, 240, 1600, 960))


def test_a_margin_ends_at_the_border() -> None:
    assert views.crop(PHOTO, (0, 0, 1000, 1000), padding=0.2)[1] == (0, 0, 1200, 1200)


@pytest.mark.parametrize(
    ("bbox", "size"),
    [
        ((100, 100, 356, 228), (512, 256)),  # to 512 on the long side
        ((100, 100, 160, 148), (240, 192)),  # at most four times
        ((100, 100, 700, 500), (600, 400)),  # large enough
    ],
)
def test_small_crops_are_enlarged(bbox: tuple[int, ...], size: tuple[int, int]) -> None:
    assert views.crop(PHOTO, bbox, padding=0)[0].size == size


def test_a_tiny_box_is_shown_with_what_is_around_it() -> None:
    assert views.crop(PHOTO, (1000, 700, 1002, 702), padding=0)[1] == (977, 677, 1025, 725)
    assert views.crop(PHOTO, (0, 0, 1, 1), padding=0)[1] == (0, 0, 48, 48)
    assert views.crop(PHOTO, (1999, 1499, 2000, 1500), padding=0)[1] == (1952, 1452, 2000, 1500)


def test_a_point_can_be_looked_at() -> None:
    assert views.crop(PHOTO, (1000, 700, 1000, 700), padding=0)[1] == (976, 676, 1024, 724)


def test_a_picture_smaller_than_the_least_region_is_shown_whole() -> None:
    image, frame = views.crop(Image.new("RGB", (20, 10)), (5, 5, 6, 6), padding=0.1)
    assert frame == (0, 0, 20, 10)
    assert image.size == (80, 40)


def test_a_boundless_box_is_the_whole_picture() -> None:
    infinity = float("inf")
    assert views.crop(PHOTO, (-infinity, -infinity, infinity, infinity), padding=0)[1] == (0, 0, 2000, 1500)


def test_large_pictures_are_not_enlarged() -> None:
    assert views.enlarge(PHOTO) is PHOTO
    assert views.enlarge(Image.new("RGB", (1, 1))).size == (4, 4)


NOISE = Image.fromarray(np.random.default_rng(7).integers(0, 256, (300, 400, 3), dtype=np.uint8))


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_png_is_lossless() -> None:
    assert opened(encode_png(NOISE)).convert("RGB") == NOISE


def test_jpeg_is_baseline() -> None:
    image = opened(encode_jpeg(NOISE))
    assert image.format == "JPEG"
    assert "progressive" not in image.info


@pytest.mark.parametrize("budget", [200_000, 60_000, 20_000, 3_000, 1_000])
def test_a_picture_fits_its_budget(budget: int) -> None:
    data, mime, size = fit_bytes(NOISE, budget)
    assert len(data) <= budget
    assert mime == "image/jpeg"
    assert opened(data).size == size


def test_quality_goes_before_size() -> None:
    best = len(encode_jpeg(NOISE))
    assert fit_bytes(NOISE, best) == (encode_jpeg(NOISE), "image/jpeg", (400, 300))
    data, _, size = fit_bytes(NOISE, best - 1)
    assert len(data) < best
    assert size == (400, 300)


def test_the_budget_is_used() -> None:
    data, _, _ = fit_bytes(NOISE, 20_000)
    assert len(data) > 12_000


def test_the_long_side_is_limited() -> None:
    assert fit_bytes(NOISE, 10**6, max_side=100)[2] == (100, 75)
    assert fit_bytes(NOISE, 10**6, max_side=400)[2] == (400, 300)


@pytest.mark.parametrize("size", [(1, 1), (3000, 1)])
def test_an_impossible_budget_ends_with_a_small_picture(size: tuple[int, int]) -> None:
    data, _, _ = fit_bytes(Image.new("RGB", size), 10)
    assert max(opened(data).size) <= 16
