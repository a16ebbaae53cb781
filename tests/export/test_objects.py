"""Crops and cut-outs show the object alone; the pixels of redacted objects are gone, and all else is as it was."""

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from dinox_mcp.detector import Detector
from dinox_mcp.export.objects import CELLS, LEAST_MARGIN, crop, cutout, frame_of, redacted
from dinox_mcp.export.options import MAX_PADDING, METHODS, Method
from dinox_mcp.settings import Settings
from dinox_mcp.types import masks
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import DetectedObject
from tests.export.conftest import BITS, OBJECTS
from tests.fakes import FakeBackend, detector_with

CAT, TEXT, CAR = OBJECTS
SECRET = b"Ada lives at 12 Example Road"


@pytest.mark.parametrize(
    ("bbox", "padding", "frame"),
    [
        ((60.4, 20.5, 90, 70), 0.0, (60, 20, 90, 70)),
        ((60, 20, 90, 70), 0.1, (57, 15, 93, 75)),
        ((0, 0, 30, 10), 1.0, (0, 0, 60, 20)),
        ((99.5, 79.5, 120, 90), 0.0, (99, 79, 100, 80)),
        ((100, 80, 120, 90), 0.0, None),
    ],
)
def test_a_box_becomes_full_pixels_of_the_image(bbox: Box, padding: float, frame: tuple[int, ...] | None) -> None:
    assert frame_of(bbox, (100, 80), padding) == frame


def test_a_crop_has_the_pixels_of_the_image(colorful: Image.Image) -> None:
    assert (np.asarray(crop(colorful, CAR, 0.0)) == np.asarray(colorful)[20:70, 60:90]).all()


def test_a_cutout_shows_the_mask_and_nothing_of_the_background(colorful: Image.Image) -> None:
    pixels = np.asarray(cutout(colorful, CAT))
    window = BITS[15:46, 15:46]
    assert pixels.shape == (31, 31, 4)
    assert (pixels[..., 3] == window * 255).all()
    assert (pixels[window][:, :3] == np.asarray(colorful)[15:46, 15:46][window]).all()
    assert not pixels[~window].any(), "the background is gone, not only transparent"


def test_a_cutout_without_a_mask_is_the_box(colorful: Image.Image) -> None:
    pixels = np.asarray(cutout(colorful, TEXT))
    assert pixels.shape == (10, 30, 4)
    assert (pixels[..., 3] == 255).all()


def test_what_is_outside_or_empty_is_one_transparent_or_black_pixel(colorful: Image.Image) -> None:
    nothing = CAT.model_copy(update={"mask": masks.encode(np.zeros((80, 100), np.bool_))})
    outside = CAR.model_copy(update={"bbox": (100.0, 80.0, 110.0, 90.0)})
    assert cutout(colorful, nothing).getpixel((0, 0)) == (0, 0, 0, 0)
    assert crop(colorful, outside, 0.0).getcolors() == [(1, (0, 0, 0))]


@pytest.mark.parametrize("method", METHODS)
def test_all_else_is_as_it_was(colorful: Image.Image, method: Method) -> None:
    before, after = np.asarray(colorful), np.asarray(redacted(colorful, [CAR], method, padding=LEAST_MARGIN))
    inside = np.zeros((80, 100), np.bool_)
    inside[13:78, 53:98] = True
    assert (after[~inside] == before[~inside]).all()
    assert (after[inside] != before[inside]).any(axis=1).mean() > 0.95


def test_fill_leaves_one_color(colorful: Image.Image) -> None:
    assert not np.asarray(redacted(colorful, [CAR]))[20:70, 60:90].any()


@pytest.mark.parametrize("side", [8, 40, 400])
def test_pixelate_leaves_a_handful_of_colors_however_large_the_object_is(side: int) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8)
    found = DetectedObject(id=1, label="face", bbox=(0, 0, side, side))
    after = redacted(Image.fromarray(noise), [found], "pixelate")
    assert len(after.getcolors(side * side)) <= CELLS * CELLS


def test_blur_depends_on_nothing_but_these_colors() -> None:
    """Two images with equal averages in each cell are equal after it: what differed cannot be computed back."""
    chance = np.random.default_rng(2)
    side = 16 * CELLS
    noise = chance.integers(0, 256, (side, side, 3), np.uint8)
    cells = noise.reshape(CELLS, 16, CELLS, 16, 3).swapaxes(1, 2).reshape(CELLS * CELLS, 256, 3)
    shuffled = np.stack([chance.permutation(cell) for cell in cells])
    other = shuffled.reshape(CELLS, CELLS, 16, 16, 3).swapaxes(1, 2).reshape(side, side, 3)
    found = DetectedObject(id=1, label="face", bbox=(0, 0, side, side))
    first, second = (np.asarray(redacted(Image.fromarray(one), [found], "blur")) for one in (noise, other))
    assert (noise != other).any()
    assert (first == second).all()


def test_a_wide_line_of_text_is_not_averaged_letter_by_letter() -> None:
    stripes = np.zeros((10, 200, 3), np.uint8)
    stripes[:, ::7] = 255
    line = DetectedObject(id=1, label="text", bbox=(0, 0, 200, 10))
    assert len(redacted(Image.fromarray(stripes), [line], "pixelate").getcolors()) <= CELLS


def test_a_mask_is_redacted_with_a_margin_and_its_surroundings_stay(colorful: Image.Image) -> None:
    before = np.asarray(colorful)
    exact = np.asarray(redacted(colorful, [CAT], "fill", "mask"))
    assert (exact.any(axis=2) == ~BITS).all()
    wide = np.asarray(redacted(colorful, [CAT], "fill", "mask", 0.1))
    black = ~wide.any(axis=2)
    assert (black[BITS]).all()
    assert BITS.sum() < black.sum() < 31 * 31 * 1.3
    assert (wide[~black] == before[~black]).all()


def test_the_widest_margin_around_a_mask_takes_no_more_memory_than_the_image() -> None:
    bits = np.zeros((600, 600), np.bool_)
    bits[50:550, 50:550] = True
    found = DetectedObject(id=1, label="x", bbox=(50, 50, 550, 550), mask=masks.encode(bits))
    tracemalloc.start()
    try:
        after = redacted(Image.new("RGB", (600, 600), "white"), [found], "fill", "mask", MAX_PADDING)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert not np.asarray(after).any()
    assert most < 20 * bits.size


def test_an_object_without_a_mask_is_redacted_by_its_box(colorful: Image.Image) -> None:
    assert not np.asarray(redacted(colorful, [CAR], "fill", "mask"))[20:70, 60:90].any()


def test_a_margin_is_redacted_too_and_an_object_at_the_edge_is_fine(colorful: Image.Image) -> None:
    assert not np.asarray(redacted(colorful, [TEXT], "fill", "box", 0.5))[0:15, 0:35].any()


def test_an_object_within_another_is_redacted_with_it(colorful: Image.Image) -> None:
    part = CAR.model_copy(update={"id": 4, "bbox": (65.0, 30.0, 80.0, 45.0)})
    assert not np.asarray(redacted(colorful, [part, CAR]))[20:70, 60:90].any()


def telling_photo(kind: str) -> bytes:
    """Encode a photograph whose metadata has a name, a position and a preview of the full image."""
    image = Image.new("RGB", (400, 300), "white")
    preview = io.BytesIO()
    Image.new("RGB", (160, 120), "red").save(preview, "JPEG", comment=SECRET)
    exif = Image.Exif()
    exif[0x010E], exif[0x013B] = SECRET.decode(), SECRET.decode()
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 15.0), 3: "E", 4: (11.0, 34.0, 30.0)})
    buffer = io.BytesIO()
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + SECRET + b"</x:xmpmeta>"
    if kind == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_text("Comment", SECRET.decode())
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        image.save(buffer, "PNG", exif=exif, pnginfo=info)
        return buffer.getvalue()
    image.save(buffer, "JPEG", exif=exif, xmp=xmp, comment=SECRET)
    data = buffer.getvalue()
    # After the end of the image, where phones put a film or a second image.
    return data + preview.getvalue()


@pytest.mark.anyio
@pytest.mark.parametrize(("kind", "ending"), [("JPEG", ".jpg"), ("PNG", ".png")])
@pytest.mark.parametrize("as_file", [True, False], ids=["file", "resource"])
async def test_no_metadata_is_in_the_copy(tmp_path: Path, kind: str, ending: str, as_file: bool) -> None:
    photo = tmp_path / f"photo{ending}"
    photo.write_bytes(telling_photo(kind))
    assert photo.read_bytes().count(SECRET) >= 3
    async with detector_with(FakeBackend()) as detector:
        result = await detector.detect(str(photo), ["dog", "cat"])
        done = await detector.export(result, "redacted", tmp_path if as_file else None)
        (file,) = done.files
        data = (tmp_path / file).read_bytes() if as_file else (await detector.load(file)).data
    assert SECRET not in data
    assert b"xmpmeta" not in data
    with Image.open(io.BytesIO(data)) as copy:
        copy.load()
        assert not copy.getexif()
        assert copy.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        assert copy.size == (400, 300)
    end = b"\xff\xd9" if data.startswith(b"\xff\xd8") else b"IEND\xaeB`\x82"
    assert data.endswith(end)
    assert data.count(end) == 1, "there is no second image"


@pytest.mark.anyio
@pytest.mark.slow
async def test_our_own_detectors_recover_nothing(tmp_path: Path) -> None:
    """The benchmark `redaction` does the same with many faces and texts."""
    photo = Path(__file__).parents[1] / "pictures" / "astronaut.jpg"
    sign = tmp_path / "sign.png"
    Image.open(Path(__file__).parents[2] / "examples" / "sample.png").crop((90, 90, 600, 260)).save(sign)
    async with Detector(Settings(backend="embedded")) as detector:
        for source, kind in ((photo, "face"), (sign, "text")):
            before = await detector.detect(str(source), kind, max_objects=1000)
            assert before.objects
            for method in METHODS:
                done = await detector.export(before, "redacted", tmp_path, method=method, overwrite=True)
                after = await detector.detect(str(tmp_path / done.files[0]), kind)
                assert after.objects == (), method
