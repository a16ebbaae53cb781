"""Bytes made to crash, stall, flood or mislead a decoder."""

import io
import struct
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dinox_mcp.errors import ForbiddenError, ImageError
from dinox_mcp.images.formats import silence
from dinox_mcp.images.picture import Picture
from dinox_mcp.images.structure import check_structure
from tests.images.samples import HEIC, encode, exif, field, near, png_chunk, quadrants, raw_png, raw_tiff

KINDS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"]
SECRET = b"root:x:0:0:hunter2"


@contextmanager
def quickly() -> Iterator[None]:
    """Fail when the block takes this thread seconds of processor time; a busy machine does not matter."""
    start = time.thread_time()
    yield
    assert time.thread_time() - start < 3


def noise(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)).convert(mode)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(SECRET, id="text"),
        pytest.param(b"<html><img src='a.png'>" + SECRET, id="web page"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>" + SECRET, id="SVG"),
        pytest.param(b"%PDF-1.7\n" + SECRET, id="PDF"),
        pytest.param(b"\x7fELF" + SECRET, id="program"),
        pytest.param(b"\0\0\0\x18ftypisom" + SECRET, id="video"),
        pytest.param(b"RIFF\0\0\0\0WAVE" + SECRET, id="sound"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n" + SECRET, id="EPS"),
        pytest.param(b"8BPS\0\1" + SECRET, id="PSD"),
        pytest.param(b"P6 1 1 255 abc", id="PPM, which Pillow reads"),
        pytest.param(encode(field(), "TGA"), id="TGA, which Pillow reads"),
        pytest.param(encode(field(), "ICO"), id="ICO, which Pillow reads"),
        pytest.param(encode(field(), "JPEG2000"), id="JPEG 2000, which Pillow reads"),
    ],
)
def test_what_is_no_picture_is_refused_and_not_quoted(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"^passwd is not an image; pass a JPEG, PNG, .* file$") as error:
        Picture.from_bytes(data, "passwd")
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "beginning", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"RIFF\0\0\0\0WEBP"]
)
def test_what_only_begins_like_a_picture_is_refused_and_not_quoted(beginning: bytes) -> None:
    with pytest.raises(ImageError, match="header is damaged; pass an intact file") as error:
        Picture.from_bytes(beginning + SECRET, "passwd")
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "JPEG"])  # see test_cut_off.py
def test_a_truncated_picture_is_an_error_not_half_a_picture(kind: str, share: float) -> None:
    data = encode(noise(), kind)

    def show() -> None:
        Picture.from_bytes(data[: int(len(data) * share)], "cut.bin").rgb()

    with pytest.raises(ImageError, match=r"cut\.bin .* pass an intact file$"):
        show()


def with_scans(count: int, size: tuple[int, int] = (1200, 900)) -> bytes:
    """A progressive JPEG whose last scan comes again and again: each costs a pass over all pixels."""
    data = encode(field(size), "JPEG", progressive=True)
    last = data[data.rfind(b"\xff\xda") : -2]
    return data[:-2] + last * (count - data.count(b"\xff\xda")) + data[-2:]


def with_segments(count: int) -> bytes:
    data = encode(field(), "JPEG")
    return data[:2] + b"\xff\xfe\0\2" * count + data[2:]


def with_comments(count: int) -> bytes:
    data = encode(field(), "GIF")
    start = 13 + (3 << (data[10] & 7) + 1)
    return data[:start] + b"!\xfe\1x\0" * (count // 2) + data[start:]


def with_rubbish(count: int) -> bytes:
    """A GIF with bytes between its blocks that mean nothing."""
    data = encode(field(), "GIF")
    start = 13 + (3 << (data[10] & 7) + 1)
    return data[:start] + b"\1" * count + data[start:]


def with_strips(count: int) -> bytes:
    """A grey TIFF of one pixel a row, one row a strip."""
    tags = [(256, 1, 1), (257, 1, count), (258, 1, 8), (259, 1, 1), (262, 1, 1), (273, count, 126), (277, 1, 1),
            (278, 1, 1), (279, count, 126 + 4 * count)]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, number, value) for tag, number, value in tags)
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(8)
    return head + struct.pack("<I", 126) * count + struct.pack("<I", 1) * count


def with_riff_chunks(count: int) -> bytes:
    data = encode(field(), "WEBP", exif=exif(1))
    return data[:4] + struct.pack("<I", len(data) - 8 + 8 * count) + data[8:] + b"abCd\0\0\0\0" * count


def with_items(count: int) -> bytes:
    """An AVIF that announces items beside its own."""
    data = encode(field(), "AVIF")
    meta, table = data.index(b"meta") - 4, data.index(b"iinf") - 4
    size, there = (int.from_bytes(data[at : at + 4]) for at in (meta, table))
    known = int.from_bytes(data[table + 12 : table + 14])
    more = b"".join(struct.pack(">I4sIHH5s", 21, b"infe", 2 << 24, 100 + n, 0, b"mime\0") for n in range(count))
    grown = (
        struct.pack(">I4sIH", there + len(more), b"iinf", 0, known + count) + data[table + 14 : table + there] + more
    )
    data = data[:table] + grown + data[table + there :]
    return data[:meta] + struct.pack(">I", size + len(more)) + data[meta + 4 :]


def with_exif(tiff: bytes) -> bytes:
    data = encode(field())
    return data[:33] + png_chunk(b"eXIf", tiff) + data[33:]


def with_chunks(count: int) -> bytes:
    data = encode(field())
    return data[:33] + png_chunk(b"abCd") * count + data[33:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "honest", "hostile", "reason"),
    [
        pytest.param(with_scans, 100, 101, "more than 100 scans", id="JPEG scans"),
        pytest.param(with_segments, 3900, 4001, "more than 4,000 segments", id="JPEG segments"),
        pytest.param(with_chunks, 90_000, 100_001, "more than 100,000 chunks", id="PNG chunks"),
        pytest.param(with_riff_chunks, 90_000, 100_001, "more than 100,000 chunks", id="WebP chunks"),
    ],
)
def test_a_picture_of_absurdly_many_parts_is_refused(
    make: Callable[[int], bytes], honest: int, hostile: int, reason: str
) -> None:
    assert Picture.from_bytes(make(honest)).width in {64, 1200}
    with pytest.raises(ForbiddenError, match=f"is built to break a decoder \\({reason}\\)"):
        Picture.from_bytes(make(hostile), "bomb")


def test_a_small_jpeg_may_have_many_scans() -> None:
    data = with_scans(1000, (64, 48))
    assert near(quadrants(Picture.from_bytes(data).rgb()), quadrants(field()))


@pytest.mark.parametrize(
    ("make", "hostile", "reason"),
    [
        pytest.param(with_comments, 9_000_000, "more than 100,000 blocks before the first frame", id="GIF comments"),
        pytest.param(with_rubbish, 20_000_000, "more than 100,000 blocks before the first frame", id="GIF rubbish"),
        pytest.param(with_strips, 3_000_000, "3,000,000 strips, more than 100,000", id="TIFF strips"),
        pytest.param(with_riff_chunks, 3_000_000, "more than 100,000 chunks", id="WebP chunks"),
        pytest.param(with_items, 60_000, "60,001 items, more than 5,000", id="AVIF items"),
    ],
)
def test_counting_parts_is_quick_for_every_format(make: Callable[[int], bytes], hostile: int, reason: str) -> None:
    data = make(hostile)
    with quickly(), pytest.raises(ForbiddenError, match=reason):
        Picture.from_bytes(data, "bomb")


@pytest.mark.parametrize(
    ("make", "honest"), [(with_comments, 90_000), (with_rubbish, 9_000), (with_riff_chunks, 90_000)]
)
def test_many_parts_that_are_not_absurd_are_read(make: Callable[[int], bytes], honest: int) -> None:
    assert Picture.from_bytes(make(honest)).rgb().size == (64, 48)


@pytest.mark.slow
def test_a_tiff_of_one_row_a_strip_is_read() -> None:
    assert Picture.from_bytes(with_strips(50_000)).rgb().size == (1, 50_000)


def test_the_runs_of_a_bmp_are_unpacked_fast() -> None:
    """Pillow takes a minute: it unpacks them in Python."""
    width, height = 2000, 2000
    runs = b"\1\1\1\2" * (width // 2) * height
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
    palette = b"".join(struct.pack("<BBBB", n, n, n, 0) for n in range(256))
    data = struct.pack("<2sIHHI", b"BM", 0, 0, 0, 14 + 40 + 1024) + header + palette + runs
    with quickly():
        assert Picture.from_bytes(data).rgb().getpixel((1, 0)) == (2, 2, 2)


def test_a_heic_that_crashes_pi_heif_is_refused() -> None:
    with pytest.raises(ForbiddenError, match=r"is built to break a decoder \(an item without a proper name\)"):
        Picture.from_bytes(HEIC.replace(b"Exif", b"\xffxif", 1))


def test_what_follows_the_items_of_a_heic_may_be_anything() -> None:
    item = b"\0\0\0\x15infe\x02\0\0\0\0\x01\0\0hvc1\0"
    check_structure(item + b"\xff\xff\xff\xf0iprp" + bytes(64), "HEIF", "IMG_1.heic")
    with pytest.raises(ForbiddenError):
        check_structure(item.replace(b"hvc1", b"hvc\xb1"), "HEIF", "IMG_1.heic")


@pytest.mark.slow
@pytest.mark.parametrize(
    "filler",
    [
        pytest.param(b"\xff" * 300_000, id="fill bytes"),
        pytest.param(b"\xff\xd0" * 150_000, id="restart markers"),
        pytest.param(b"\xff\x00" * 150_000, id="stuffed bytes"),
        pytest.param(b"\xff\xda\0\2" * 300_000, id="empty scans"),
    ],
)
def test_counting_the_parts_of_a_jpeg_is_quick_itself(filler: bytes) -> None:
    data = encode(field(), "JPEG")
    at = data.rfind(b"\xff\xda")
    with quickly(), suppress(ImageError):
        Picture.from_bytes(data[:at] + filler)


def test_a_film_after_a_photograph_is_no_part_of_it() -> None:
    data = encode(field(), "JPEG") + b"\xff\xda\0\2" * 100_000  # as motion photos carry
    assert Picture.from_bytes(data).rgb().size == (64, 48)


def huge(kind: str) -> bytes:
    """A few bytes that claim billions of pixels."""
    if kind == "PNG":
        return raw_png(100_000, 100_000, 1, 0, b"\0")
    if kind == "BMP":
        data = bytearray(encode(field(), "BMP"))
        data[18:26] = struct.pack("<ii", 100_000, 100_000)
        return bytes(data)
    if kind == "GIF":
        data = bytearray(encode(field(), "GIF"))
        data[6:10] = struct.pack("<HH", 60_000, 60_000)
        return bytes(data)
    return bytes(encode(field(), "JPEG")).replace(struct.pack(">HH", 48, 64), struct.pack(">HH", 60_000, 60_000), 1)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "JPEG"])
def test_a_bomb_is_refused_by_its_header(kind: str) -> None:
    with pytest.raises(ForbiddenError, match=r"tiny has (60000x60000|100000x100000) pixels, more than the 100,000,000"):
        Picture.from_bytes(huge(kind), "tiny")


def test_a_frame_larger_than_its_screen_is_refused_too() -> None:
    data = bytearray(encode(field(), "GIF"))
    at = data.rfind(b",\0\0\0\0" + struct.pack("<HH", 64, 48))
    data[at + 5 : at + 9] = struct.pack("<HH", 60_000, 60_000)
    with pytest.raises(ForbiddenError, match="more pixels than any decoder takes"):
        Picture.from_bytes(bytes(data))


def test_a_tile_larger_than_its_picture_takes_no_memory() -> None:
    tags = [
        (256, 64),
        (257, 48),
        (258, 8),
        (259, 8),
        (262, 1),
        (277, 1),
        (322, 60_000),
        (323, 60_000),
        (324, 200),
        (325, 99),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    data = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(600)
    picture = Picture.from_bytes(data)
    with pytest.raises(ImageError, match="is damaged and cannot be decoded"):
        picture.rgb()


def test_tags_that_share_their_bytes_take_no_memory() -> None:
    """3000 tags, each of the same megabyte: 3 GB in Pillow before 13."""
    count, size = 3000, 1_000_000
    entries = b"".join(struct.pack("<HHII", 0x9000 + n, 1, size, 12 * count + 14) for n in range(count))
    tiff = struct.pack("<2sHIH", b"II", 42, 8, count) + entries + bytes(4 + size)
    with quickly():
        assert Picture.from_bytes(with_exif(tiff)).width == 64


PACKED = zlib.compress(bytes(50_000_000))


@pytest.mark.parametrize("after_the_pixels", [False, True])
@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([(b"zTXt", b"a\0\0" + PACKED)], id="zTXt"),
        pytest.param([(b"iTXt", b"a\0\1\0\0\0" + PACKED)], id="iTXt"),
        pytest.param([(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + PACKED)], id="XMP"),
        pytest.param([(b"tEXt", b"a\0" + b"x" * 2_000_000)], id="tEXt"),
        pytest.param([(b"iCCP", b"a\0\0" + PACKED)], id="iCCP"),
        pytest.param([(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000)))] * 70, id="70 zTXt"),
    ],
)
def test_text_that_unpacks_to_gigabytes_is_left_out(
    chunks: list[tuple[bytes, bytes]], *, after_the_pixels: bool
) -> None:
    data = encode(field())
    at = len(data) - 12 if after_the_pixels else 33
    text = b"".join(png_chunk(*chunk) for chunk in chunks)
    picture = Picture.from_bytes(data[:at] + text + data[at:])
    assert picture.rgb().tobytes() == field().tobytes()


def test_text_that_says_how_a_png_is_turned_is_kept() -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    data = encode(field())
    for packed in (b"\0\0\0\0" + xmp, b"\1\0\0\0" + zlib.compress(xmp)):
        turned = data[:33] + png_chunk(b"iTXt", b"XML:com.adobe.xmp\0" + packed) + data[33:]
        assert Picture.from_bytes(turned).rgb().size == (48, 64)


def warn_like_pillow() -> None:
    warnings.warn_explicit("Truncated File Read", UserWarning, "TiffImagePlugin.py", 1, module="PIL.TiffImagePlugin")


def with_a_cut_off_tag(kind: str) -> bytes:
    cut_off, turned = struct.pack("<HHII", 0x0131, 2, 9999, 9999), struct.pack("<HHII", 0x0112, 3, 1, 6)
    if kind == "PNG":
        return with_exif(struct.pack("<2sHIH", b"II", 42, 8, 2) + turned + cut_off + bytes(4))
    data = encode(field(), kind, exif=exif(6), software="x" * 20)
    at = data.find(cut_off[:4])
    return data[:at] + cut_off + data[at + 12 :]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_warnings_of_decoders_do_not_reach_the_user(kind: str) -> None:
    data = with_a_cut_off_tag(kind)
    with pytest.warns(UserWarning, match="Tag data larger than file"):
        Image.open(io.BytesIO(data)).getexif()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert Picture.from_bytes(data).rgb().size == (48, 64)
    assert not seen


def test_a_thread_that_is_done_does_not_wake_the_warnings_of_another() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        before = warnings.filters[:]
        with silence:
            other = threading.Thread(target=lambda: silence.__enter__() or silence.__exit__(None, None, None))
            other.start()
            other.join()
            warn_like_pillow()
        assert not seen
        assert warnings.filters[:] == before
        warn_like_pillow()
        assert len(seen) == 1


SEEDS = {
    "JPEG": encode(noise(), "JPEG", exif=exif(6)),
    "progressive JPEG": encode(noise("L"), "JPEG", progressive=True),
    "PNG": encode(field(mode="P"), "PNG", transparency=b"\x00\x80", exif=exif(3)),
    "WEBP": encode(noise("RGBA"), "WEBP", exif=exif(5)),
    "GIF": encode(field(), "GIF", save_all=True, append_images=[noise()]),
    "BMP": encode(field(mode="P"), "BMP"),
    "TIFF": encode(field(), "TIFF", compression="tiff_lzw", exif=exif(8)),
    "raw TIFF": encode(field(mode="L"), "TIFF"),
    "TIFF of floats": raw_tiff(np.asarray(field(), np.float32), 32, kind=3),
    "TIFF of 12 bits": raw_tiff(np.asarray(field()).astype(np.uint16) * 16, 12),
    "AVIF": encode(field(), "AVIF", exif=exif(7)),
    "HEIC": HEIC,
}
EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=0, max_size=4)), min_size=1, max_size=6
)


@pytest.mark.parametrize("kind", SEEDS)
@given(edits=EDITS, keep=st.floats(0.5, 1))
@pytest.mark.slow
def test_odd_bytes_make_a_picture_or_an_image_error(kind: str, edits: list[tuple[float, bytes]], keep: float) -> None:
    data = bytearray(SEEDS[kind])
    for place, replacement in edits:
        at = int(place * len(data))
        data[at : at + max(1, len(replacement))] = replacement
    with suppress(ImageError):
        picture = Picture.from_bytes(bytes(data[: max(1, int(keep * len(data)))]), max_pixels=1_000_000)
        image = picture.rgb(40)
        assert max(image.size) <= 40
        assert image.mode == "RGB"


@given(st.binary(max_size=300))
def test_any_bytes_make_a_picture_or_an_image_error(data: bytes) -> None:
    with pytest.raises(ImageError):
        Picture.from_bytes(data).rgb(40)
