"""What transparent pixels show, and what is said of an image that shows nothing."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageDraw

from dinox_mcp.images.depth import Facts
from dinox_mcp.images.picture import Picture
from dinox_mcp.images.pixels import flatten, raster_of
from tests.images.samples import BLUE, RED, WHITE, encode, field, near, quadrants

BLACK = (0, 0, 0)
ON_BLACK = "its transparent parts are shown black, as what borders on them is light"
ON_GREY = "its transparent parts are shown grey, as what borders on them is light and dark"


def drawing(*shades: int, mode: str = "RGBA") -> Image.Image:
    """Bars of shades on transparent ground."""
    image = Image.new("LA", (200, 100), (0, 0))
    for number, shade in enumerate(shades):
        ImageDraw.Draw(image).rectangle((10 + 40 * number, 20, 30 + 40 * number, 80), fill=(shade, 255))
    if mode == "P":
        indexed = Image.new("P", image.size, 0)
        indexed.putpalette([255, 255, 255] * 2)
        indexed.paste(1, mask=image.getchannel("A"))
        return indexed
    return image.convert(mode)


@pytest.mark.parametrize(
    ("shades", "ground", "notes"),
    [
        ((0,), 255, ()),
        ((0, 120), 255, ()),
        ((255,), 0, (ON_BLACK,)),
        ((235, 255), 0, (ON_BLACK,)),
        ((0, 255), 128, (ON_GREY,)),
    ],
)
def test_the_ground_contrasts_with_what_is_visible(
    shades: tuple[int, ...], ground: int, notes: tuple[str, ...]
) -> None:
    for mode in ("LA", "RGBA"):
        picture = Picture.from_bytes(encode(drawing(*shades, mode=mode)))
        image = picture.rgb().convert("L")
        assert image.getpixel((0, 0)) == ground
        assert image.getpixel((20, 50)) == shades[0]
        assert picture.notes == notes


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_white_on_a_transparent_colour_of_a_palette(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {"transparency": 0}
    image = drawing(255, mode="RGBA" if kind == "WEBP" else "P")
    picture = Picture.from_bytes(encode(image, kind, **options))
    assert picture.rgb().getpixel((0, 0)) == BLACK
    assert picture.rgb().getpixel((20, 50)) == WHITE


def test_soft_white_on_transparent_ground_is_seen() -> None:
    alpha = Image.fromarray(np.tile(np.linspace(0, 60, 200, dtype=np.uint8), (100, 1)))
    image = Image.new("RGB", (200, 100), "white")
    image.putalpha(alpha)
    assert Picture.from_bytes(encode(image)).rgb().getpixel((0, 0)) == BLACK


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_that_is_0_everywhere_is_ignored(kind: str) -> None:
    image = field()
    image.putalpha(0)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    picture = Picture.from_bytes(encode(image, kind, **options))
    assert near(quadrants(picture.rgb()), quadrants(field()))
    assert picture.notes == ("its alpha is 0 everywhere and was ignored",)


@pytest.mark.parametrize("header", [108, 124])
def test_a_bmp_whose_alpha_nobody_filled_in(header: int) -> None:
    pixels = np.dstack([np.asarray(field())[::-1, :, ::-1], np.zeros((48, 64), np.uint8)]).tobytes()
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    head = struct.pack("<IiiHHIIiiII", header, 64, 48, 1, 32, 3, len(pixels), 0, 0, 0, 0) + masks
    start = 14 + header
    data = struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start) + head.ljust(header, b"\0") + pixels
    assert Image.open(io.BytesIO(data)).mode == "RGBA"
    assert quadrants(Picture.from_bytes(data).rgb()) == [RED, (0, 255, 0), BLUE, WHITE]


# Blank images


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_a_blank_picture_is_said_to_be_blank(kind: str) -> None:
    for size in ((64, 48), (900, 700)):
        picture = Picture.from_bytes(encode(Image.new("RGB", size, "white"), kind))
        assert picture.notes == ("the image is blank: all of it has the colour #ffffff",)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_a_picture_with_one_small_thing_is_not_blank(kind: str) -> None:
    image = Image.new("RGB", (900, 700), "white")
    image.paste("black", (500, 400, 508, 408))
    assert not Picture.from_bytes(encode(image, kind)).notes


# Bands of rows

# Neither so dark nor so light that a filter's overshoot is cut off.
NOISE = np.random.default_rng(0).integers(90, 160, (700, 90, 4), dtype=np.uint8)
OPAQUE = Image.fromarray(NOISE[..., :3])


@pytest.mark.parametrize("size", [(90, 700), (89, 693), (60, 467), (45, 350), (22, 171), (3, 20), (1, 1), (90, 1)])
def test_bands_have_no_seams(size: tuple[int, int]) -> None:
    factor = max(1, min(90 // size[0], 700 // size[1]) // 2)
    for mode in ("RGB", "L", "P"):
        image = OPAQUE.convert(mode)
        found, _ = flatten(raster_of(image, Facts()), size)
        reduced = image.convert("RGB").reduce(factor)
        expected = reduced.resize(size, Image.Resampling.BICUBIC, box=(0, 0, 90 / factor, 700 / factor))
        assert np.abs(np.asarray(found).astype(int) - np.asarray(expected)).max() <= 2


def test_transparent_bands_are_made_opaque_before_they_are_resized() -> None:
    image = Image.fromarray(NOISE)
    flat, _ = flatten(raster_of(image, Facts()), image.size)
    small, _ = flatten(raster_of(image, Facts()), (45, 350))
    assert np.abs(np.asarray(small).astype(int) - np.asarray(flat.resize((45, 350)))).max() <= 2
