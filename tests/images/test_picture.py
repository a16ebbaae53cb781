"""Every kind of image becomes the same upright, opaque RGB."""

import io
import pickle
import sys
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin, PngImagePlugin

from dinox_mcp.errors import ForbiddenError, ImageError
from dinox_mcp.images.picture import Picture
from tests.images.samples import (
    BLUE,
    GREEN,
    HEIC,
    RED,
    SIZE,
    WHITE,
    encode,
    exif,
    field,
    near,
    png_chunk,
    quadrants,
    raw_png,
)

COLOURS = [RED, GREEN, BLUE, WHITE]
GREYS = [tuple([value] * 3) for value in (76, 150, 29, 255)]


BLACK = (0, 0, 0)
TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def rgb16_png() -> bytes:
    """16 bits a sample: the high bytes are the field, the low bytes noise that has to be dropped."""
    samples = np.asarray(field()).astype(">u2") * 256 + 77
    rows = b"".join(b"\0" + row.tobytes() for row in samples.astype(">u2"))
    return raw_png(*SIZE, 16, 2, rows)


def clear_corner(mode: str) -> Image.Image:
    """The field, its red quadrant fully transparent."""
    image = field(mode=mode)
    alpha = Image.new("L", SIZE, 255)
    alpha.paste(0, (0, 0, SIZE[0] // 2, SIZE[1] // 2))
    image.putalpha(alpha)
    return image


def palette_png(transparency: int | bytes) -> bytes:
    image = Image.new("P", SIZE, 3)
    image.putpalette([*RED, *GREEN, *BLUE, *WHITE])
    for index, box in enumerate([(0, 0, 32, 24), (32, 0, 64, 24), (0, 24, 32, 48)]):
        image.paste(index, box)
    return encode(image, "PNG", transparency=transparency)


def grey16(order: str = "<u2") -> Image.Image:
    samples = np.asarray(field(mode="L")).astype(np.uint16) * 256 + 200
    return Image.frombytes("I;16" if order == "<u2" else "I;16B", SIZE, samples.astype(order).tobytes())


def shades(mode: str, dark: float, bright: float) -> Image.Image:
    image = Image.new(mode, SIZE, dark)
    image.paste(bright, (SIZE[0] // 2, 0, *SIZE))
    return image


def two_frames(kind: str) -> bytes:
    return encode(field(), kind, save_all=True, append_images=[Image.new("RGB", SIZE, "black")], lossless=True)


def one_bit() -> Image.Image:
    return field(mode="L").point(lambda value: 255 * (value > 100)).convert("1")


CLEAR_CORNER = [WHITE, GREEN, BLUE, WHITE]
ANY_MODE: dict[str, tuple[Callable[[], bytes], list[tuple[int, ...]]]] = {
    "JPEG": (lambda: encode(field(), "JPEG", quality=95, subsampling=0), COLOURS),
    "progressive JPEG": (lambda: encode(field(), "JPEG", quality=95, progressive=True), COLOURS),
    "CMYK JPEG": (lambda: encode(field(mode="CMYK"), "JPEG", quality=95), COLOURS),
    "grey JPEG": (lambda: encode(field(mode="L"), "JPEG", quality=95), GREYS),
    "MPO": (lambda: encode(field(), "MPO", save_all=True, append_images=[field()]), COLOURS),
    "PNG": (lambda: encode(field()), COLOURS),
    "16-bit RGB PNG": (rgb16_png, COLOURS),
    "16-bit grey PNG": (lambda: encode(grey16()), GREYS),
    "16-bit grey PNG, one grey clear": (lambda: encode(grey16(), transparency=76 * 256 + 200), [WHITE, *GREYS[1:]]),
    "opaque RGBA PNG": (lambda: encode(field(mode="RGBA")), COLOURS),
    "RGBA PNG": (lambda: encode(clear_corner("RGB")), CLEAR_CORNER),
    "LA PNG": (lambda: encode(clear_corner("L")), [WHITE, *GREYS[1:]]),
    "RGB PNG, one colour clear": (lambda: encode(field(), transparency=RED), CLEAR_CORNER),
    "palette PNG": (lambda: palette_png(b"\xff"), COLOURS),
    "palette PNG, one colour clear": (lambda: palette_png(0), CLEAR_CORNER),
    "palette PNG with alpha": (lambda: palette_png(b"\x00\x80"), [WHITE, (127, 255, 127), BLUE, WHITE]),
    "1-bit PNG": (lambda: encode(one_bit()), [BLACK, WHITE, BLACK, WHITE]),
    "lossless WebP": (lambda: encode(field(), "WEBP", lossless=True), COLOURS),
    "WebP": (lambda: encode(field(), "WEBP", quality=95), COLOURS),
    "WebP with alpha": (lambda: encode(clear_corner("RGB"), "WEBP", lossless=True), CLEAR_CORNER),
    "GIF": (lambda: encode(field(), "GIF"), COLOURS),
    "BMP": (lambda: encode(field(), "BMP"), COLOURS),
    "TIFF": (lambda: encode(field(), "TIFF"), COLOURS),
    "LZW TIFF": (lambda: encode(field(), "TIFF", compression="tiff_lzw"), COLOURS),
    "CMYK TIFF": (lambda: encode(field(mode="CMYK"), "TIFF"), COLOURS),
    "16-bit TIFF": (lambda: encode(grey16(), "TIFF"), GREYS),
    "big-endian 16-bit TIFF": (lambda: encode(grey16(">u2"), "TIFF"), GREYS),
    "32-bit TIFF": (lambda: encode(shades("I", 1000, 5000), "TIFF"), [BLACK, WHITE, BLACK, WHITE]),
    "floating-point TIFF": (lambda: encode(shades("F", 0.25, 0.75), "TIFF"), [BLACK, WHITE, BLACK, WHITE]),
    "floating-point TIFF of one shade": (lambda: encode(shades("F", 9, 9), "TIFF"), [(9, 9, 9)] * 4),
    "AVIF": (lambda: encode(field(), "AVIF", quality=95, subsampling="4:4:4"), COLOURS),
    "first GIF frame": (lambda: two_frames("GIF"), COLOURS),
    "first WebP frame": (lambda: two_frames("WEBP"), COLOURS),
    "first APNG frame": (lambda: two_frames("PNG"), COLOURS),
    "first AVIF frame": (lambda: two_frames("AVIF"), COLOURS),
    "first TIFF page": (lambda: two_frames("TIFF"), COLOURS),
}


@pytest.mark.parametrize(("make", "expected"), ANY_MODE.values(), ids=ANY_MODE)
def test_any_mode_becomes_opaque_rgb(make: Callable[[], bytes], expected: list[tuple[int, ...]]) -> None:
    picture = Picture.from_bytes(make())
    assert (picture.width, picture.height) == SIZE
    for max_side, size in ((None, SIZE), (20, (20, 15))):
        image = picture.rgb(max_side)
        assert (image.mode, image.size) == ("RGB", size)
        assert near(quadrants(image), expected)


def stored(orientation: int) -> Image.Image:
    """The field as a camera stores it that was held in the given EXIF orientation."""
    undo = {5: 5, 6: 8, 7: 7, 8: 6}.get(orientation, orientation)
    return field() if orientation == 1 else field().transpose(TRANSPOSES[undo])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_pictures_stand_upright_in_every_orientation(kind: str, orientation: int) -> None:
    picture = Picture.from_bytes(encode(stored(orientation), kind, exif=exif(orientation), quality=95))
    assert (picture.width, picture.height) == SIZE
    for max_side, size in ((None, SIZE), (32, (32, 24))):
        image = picture.rgb(max_side)
        assert image.size == size
        assert near(quadrants(image), COLOURS, tolerance=30)  # lossy colours bleed at this size


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_ignored(orientation: int) -> None:
    assert Picture.from_bytes(encode(field(), exif=exif(orientation))).rgb().size == SIZE


def test_damaged_metadata_does_not_spoil_good_pixels() -> None:
    data = encode(field())
    broken = data[:33] + png_chunk(b"eXIf", b"MM\0*\xff\xff\xff\xff") + data[33:]
    assert near(quadrants(Picture.from_bytes(broken).rgb()), COLOURS)


def test_the_header_of_a_png_is_read_without_its_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_image: object) -> None:
        pytest.fail("decoded")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", load)
    assert Picture.from_bytes(encode(field())).width == 64


def test_a_large_jpeg_is_decoded_at_reduced_size(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    load = JpegImagePlugin.JpegImageFile.load

    def spy(image: JpegImagePlugin.JpegImageFile) -> object:
        decoded.append(image.size)
        return load(image)

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", spy)
    picture = Picture.from_bytes(encode(field((750, 1000)).transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif(6)))
    assert picture.rgb(392).size == (294, 392)
    assert set(decoded) == {(500, 375)}


@pytest.mark.parametrize(
    ("size", "max_side", "expected"),
    [
        ((64, 48), 100, (64, 48)),  # never enlarged
        ((64, 48), 64, (64, 48)),
        ((64, 48), 32, (32, 24)),
        ((1, 500), 10, (1, 10)),  # never without pixels
        ((101, 51), 50, (50, 25)),
    ],
)
def test_the_long_side_is_at_most_max_side(size: tuple[int, int], max_side: int, expected: tuple[int, int]) -> None:
    assert Picture.from_bytes(encode(Image.new("RGB", size))).rgb(max_side).size == expected


@pytest.mark.parametrize(
    ("mode", "kind"), [("L", "JPEG"), ("RGB", "JPEG"), ("CMYK", "JPEG"), ("L", "PNG"), ("RGB", "PNG"), ("RGBA", "PNG")]
)
@pytest.mark.parametrize("size", [(801, 603), (803, 607), (807, 497)])
def test_things_stay_where_they_are_when_a_picture_is_reduced(size: tuple[int, int], mode: str, kind: str) -> None:
    image = Image.new("RGB", size, "black")
    box = (size[0] - 100, size[1] - 50, size[0] - 20, size[1] - 10)
    image.paste(WHITE, box)
    small = np.asarray(Picture.from_bytes(encode(image.convert(mode), kind)).rgb(150).convert("L")).astype(float)
    weight = small.sum()
    x = (small.sum(axis=0) @ (np.arange(small.shape[1]) + 0.5)) / weight / small.shape[1] * size[0]
    y = (small.sum(axis=1) @ (np.arange(small.shape[0]) + 0.5)) / weight / small.shape[0] * size[1]
    assert (x, y) == pytest.approx(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), abs=0.25)


def test_no_metadata_leaves_with_the_pixels() -> None:
    data = Image.Exif()
    data[0x010F] = "a camera"
    image = Picture.from_bytes(encode(field(), "JPEG", exif=data, comment=b"at home", icc_profile=b"x" * 200)).rgb()
    assert not image.info
    assert not image.getexif()
    assert b"camera" not in encode(image, "PNG") + encode(image, "JPEG")


def test_a_picture_over_the_pixel_cap_is_refused() -> None:
    data = encode(field())
    assert Picture.from_bytes(data, max_pixels=64 * 48).width == 64
    with pytest.raises(
        ForbiddenError, match=r"cat\.png has 64x48 pixels, more than the 3,071 allowed; .*MAX_IMAGE_PIXELS"
    ):
        Picture.from_bytes(data, "cat.png", max_pixels=64 * 48 - 1)


def test_pictures_are_equal_when_their_bytes_are() -> None:
    one, same, other = (
        Picture.from_bytes(encode(image), name)
        for image, name in [(field(), "a.png"), (field(), "b.png"), (field(mode="L"), "a.png")]
    )
    assert one == same
    assert len({one, same, other}) == 2
    assert one.digest == same.digest != other.digest
    assert len(one.digest) == 64


def test_a_picture_travels_to_other_processes() -> None:
    picture = Picture.from_bytes(encode(field()), "a.png")
    _ = picture.digest
    assert pickle.loads(pickle.dumps(picture)) == picture  # noqa: S301 - our own bytes


def test_the_format_is_the_one_of_the_bytes() -> None:
    kinds = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"]
    assert [Picture.from_bytes(encode(field(), kind)).format for kind in kinds] == kinds
    assert Picture.from_bytes(encode(field(), "MPO", save_all=True, append_images=[field()])).format == "JPEG"


def test_heic_is_read_where_its_package_is_installed() -> None:
    pytest.importorskip("pi_heif")
    picture = Picture.from_bytes(HEIC)
    assert (picture.width, picture.height, picture.format) == (*SIZE, "HEIF")
    assert near(quadrants(picture.rgb()), COLOURS)


def test_heic_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"IMG_1\.heic is a HEIC image.*; pip install pi-heif"):
        Picture.from_bytes(HEIC, "IMG_1.heic")


def test_the_other_heif_package_serves_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    class Decoder:
        format, size = "HEIF", SIZE

        def __init__(self, file: io.BytesIO) -> None:
            assert file.getvalue() == HEIC

    monkeypatch.setitem(sys.modules, "pi_heif", None)
    monkeypatch.setitem(sys.modules, "pillow_heif", SimpleNamespace(HeifImageFile=Decoder))
    assert Picture.from_bytes(HEIC).format == "HEIF"
