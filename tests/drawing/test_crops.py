import pytest
from PIL import Image

from dinox_mcp.drawing.crops import crop, enlarge
from dinox_mcp.errors import InputError

PHOTO = Image.linear_gradient("L").resize((2000, 1500)).convert("RGB")


def test_a_crop_shows_the_box_with_its_margin() -> None:
    cut = crop(PHOTO, (500, 300, 1500, 900), padding=0.1)
    assert cut.frame == (400, 240, 1600, 960)
    assert cut.image.size == (1200, 720)
    assert cut.image == PHOTO.crop((400, 240, 1600, 960))
    assert cut.scale == 1


def test_a_margin_ends_at_the_border() -> None:
    assert crop(PHOTO, (0, 0, 1000, 1000), padding=0.2).frame == (0, 0, 1200, 1200)


@pytest.mark.parametrize(
    ("bbox", "size"),
    [
        ((100, 100, 356, 228), (512, 256)),  # to 512 on the long side
        ((100, 100, 160, 148), (240, 192)),  # at most four times
        ((100, 100, 700, 500), (600, 400)),  # large enough
    ],
)
def test_small_crops_are_enlarged(bbox: tuple[int, ...], size: tuple[int, int]) -> None:
    assert crop(PHOTO, bbox, padding=0).image.size == size


def test_a_tiny_box_is_shown_with_what_is_around_it() -> None:
    assert crop(PHOTO, (1000, 700, 1002, 702), padding=0).frame == (977, 677, 1025, 725)
    assert crop(PHOTO, (0, 0, 1, 1), padding=0).frame == (0, 0, 48, 48)
    assert crop(PHOTO, (1999, 1499, 2000, 1500), padding=0).frame == (1952, 1452, 2000, 1500)


def test_a_point_can_be_looked_at() -> None:
    assert crop(PHOTO, (1000, 700, 1000, 700)).frame == (976, 676, 1024, 724)


def test_a_picture_smaller_than_the_least_region_is_shown_whole() -> None:
    cut = crop(Image.new("RGB", (20, 10)), (5, 5, 6, 6))
    assert cut.frame == (0, 0, 20, 10)
    assert cut.image.size == (80, 40)


def test_pixels_of_a_crop_map_back() -> None:
    cut = crop(PHOTO, (100, 200, 164, 232), padding=0, min_side=1)
    assert cut.scale == 4
    assert cut.to_original((0, 0, 256, 128)) == (100, 200, 164, 232)
    assert cut.to_original((40, 8, 44, 16)) == (110, 202, 111, 204)


def test_corners_in_any_order_name_the_same_box() -> None:
    assert crop(PHOTO, (1500, 900, 500, 300)).frame == crop(PHOTO, (500, 300, 1500, 900)).frame


@pytest.mark.parametrize("bbox", [(2000, 0, 2100, 50), (-50, 0, 0, 50), (0, 1500, 9, 1600), (float("nan"),) * 4])
def test_a_box_outside_is_refused_with_the_size(bbox: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="outside the image of 2000x1500 pixels; pass"):
        crop(PHOTO, bbox)


def test_a_boundless_box_is_the_whole_picture() -> None:
    infinity = float("inf")
    assert crop(PHOTO, (-infinity, -infinity, infinity, infinity)).frame == (0, 0, 2000, 1500)


def test_large_pictures_are_not_enlarged() -> None:
    assert enlarge(PHOTO) is PHOTO
    assert enlarge(Image.new("RGB", (1, 1))).size == (4, 4)
