"""Codes of all symbologies, written by ZXing-C++ and hung rotated, small, dim and side by side on a wall."""

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet

import anyio
import cv2
import numpy as np
import pytest
import zxingcpp
from PIL import Image
from zxingcpp import BarcodeFormat as Symbology

from dinox_mcp.backends.base import Backend
from dinox_mcp.backends.embedded import codes, readings
from dinox_mcp.backends.embedded.backend import EmbeddedBackend
from dinox_mcp.backends.embedded.prompts import Kind
from dinox_mcp.backends.embedded.readings import Pixels, Reading
from dinox_mcp.detector import Detector
from dinox_mcp.settings import Settings
from dinox_mcp.types import boxes
from dinox_mcp.types.detection import Detection, DetectionResult
from tests.backends.embedded.walls import Gray, barcode, find, hang, picture, qr_code, read, sign, stripes, wall

SSCC, LOT = "(00)340123450000000016", "(01)09506000134352(10)ABC(21)12"
GS1 = (SSCC, LOT)
MOST = 30_000_000
"""Pixels that the reader may get at once."""
# What is written, and what it is found as: label, category, text where it is another.
CODES = {
    "QR": (Symbology.QRCode, "4711", "QR code", None),
    "Micro QR": (Symbology.MicroQRCode, "4711", "QR code", "Micro QR Code"),
    "EAN-13": (Symbology.EAN13, "4006381333931", "barcode", "EAN-13"),
    "EAN-8": (Symbology.EAN8, "96385074", "barcode", "EAN-8"),
    "UPC-A": (Symbology.UPCA, "036000291452", "barcode", "UPC-A"),
    "Code 128": (Symbology.Code128, "SHELF-4711-B", "barcode", "Code 128"),
    "SSCC": (Symbology.Code128, SSCC, "barcode", "Code 128"),
    "Code 39": (Symbology.Code39, "BIN-0815", "barcode", "Code 39"),
    "Code 93": (Symbology.Code93, "TEST93", "barcode", "Code 93"),
    "Codabar": (Symbology.Codabar, "A40156B", "barcode", "Codabar"),
    "ITF": (Symbology.ITF, "00012345600012", "barcode", "ITF"),
    "DataBar": (Symbology.DataBarOmni, "(01)09506000134352", "barcode", "DataBar"),
    "Data Matrix": (Symbology.DataMatrix, "LOT 4711-B EXP 2027", "Data Matrix", None),
    "GS1 Data Matrix": (Symbology.DataMatrix, LOT, "Data Matrix", None),
    "Aztec": (Symbology.Aztec, "M1MILLER/ADA EABC123", "Aztec code", None),
    "PDF417": (Symbology.PDF417, "SMITH JOHN 4711 PORT AMBER", "PDF417", None),
}


def written(symbology: Symbology, content: str | bytes, module: int = 3) -> Gray:
    """Print a code on paper."""
    options = {"gs1": True} if content in GS1 else {}
    code = zxingcpp.create_barcode(content, symbology, **options)
    image = np.array(zxingcpp.write_barcode_to_image(code))
    return np.pad(np.kron(image, np.ones((module, module), np.uint8)), 2 * module, constant_values=255)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "module", "turned"),
    [
        *((name, 3, 4) for name in CODES if name not in {"SSCC", "GS1 Data Matrix"}),
        *(("Code 128", 2, turned) for turned in (0, 30, 45, 90, 270)),
        ("PDF417", 3, 30),
        ("Data Matrix", 2, 45),
    ],
)
def test_a_code_is_read_at_any_angle(backend: Backend, name: str, module: int, turned: float) -> None:
    symbology, content, label, category = CODES[name]
    scene = wall(520, 460)
    paper = hang(scene, written(symbology, content, module), (260, 230), turned)
    (code,) = find(backend, scene, "QR code", "barcode", "Data Matrix", "Aztec code", "PDF417").objects
    assert (code.label, code.category, code.text, code.score) == (label, category, content, None)
    assert boxes.intersection(code.bbox, paper) > 0.8 * boxes.area(code.bbox)
    assert code.bbox[2] - code.bbox[0] > 0.4 * (paper[2] - paper[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "look"),
    [
        *((name, "inverted") for name in ("QR", "EAN-13", "Data Matrix", "Aztec")),
        *((name, "noisy") for name in ("QR", "Code 128")),
        ("EAN-13", "dim"),
    ],
)
def test_a_code_that_is_hard_to_see_is_read(backend: Backend, name: str, look: str) -> None:
    symbology, content, label, _ = CODES[name]
    paper = written(symbology, content)
    scene = wall(700, 300)
    hang(scene, {"dim": 110 + paper // 5, "inverted": 255 - paper}.get(look, paper), (350, 150), turned=5)
    if look == "noisy":
        scene = np.random.default_rng(3).normal(scene, 12).clip(0, 255).astype(np.uint8)
    assert read(find(backend, scene, label)) == [(label, content)]


@pytest.mark.slow
def test_a_pallet_label_is_read_whole(backend: Backend) -> None:
    scene = wall(640, 520, 235)
    hang(scene, sign("NORTHWIND PARCELS", 30), (320, 50))
    hang(scene, written(Symbology.Code128, SSCC), (320, 180), turned=2)
    hang(scene, written(Symbology.DataMatrix, "LOT 4711-B", 5), (140, 390))
    hang(scene, written(Symbology.EAN13, "4006381333931"), (430, 390), turned=-3)
    assert set(read(find(backend, scene, "text", "barcode", "Data Matrix"))) == {
        ("text", "NORTHWIND PARCELS"),
        ("barcode", SSCC),
        ("Data Matrix", "LOT 4711-B"),
        ("barcode", "4006381333931"),
    }


@pytest.mark.slow
def test_equal_codes_side_by_side_are_counted(backend: Backend) -> None:
    scene = wall()
    for x in (200, 500, 800):
        for y in (150, 350, 550):
            hang(scene, written(Symbology.EAN8, "96385074", 2), (x, y))
    assert read(find(backend, scene, "barcode")) == [("barcode", "96385074")] * 9


def test_a_barcode_too_blurred_to_be_read_is_found(backend: Backend) -> None:
    scene = wall()
    paper = hang(scene, written(Symbology.Code128, "SHELF-4711-B"), (500, 350), turned=20)
    found = find(backend, np.asarray(cv2.GaussianBlur(scene, (0, 0), 3), np.uint8), "barcode")
    assert read(found) == [("barcode", None)]
    assert boxes.iou(found.objects[0].bbox, paper) > 0.4
    assert found.notes == ("codes found but not read: 1 (too small, blurred or damaged; zoom in)",)


def test_a_code_that_an_edge_cuts_off_is_not_said_to_be_unread() -> None:
    code = Detection(label="barcode", bbox=(2, 100, 82, 140))
    complete = code.model_copy(update={"bbox": (50, 100, 130, 140)})
    notes = EmbeddedBackend(Settings.load()).notes_for([code, complete], (1000, 700))
    assert notes == ("codes found but not read: 1 (too small, blurred or damaged; zoom in)",)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Straße 5, 日本", "Straße 5, 日本"),
        ("line one\nline two", "line one\nline two"),
        ("Straße".encode("latin-1"), "Straße"),
        (b"\x00\x01\x80abc", "<NUL><SOH><U+80>abc"),
        (b"\x1d0112\x1d21", "<GS>0112<GS>21"),
    ],
    ids=["UTF-8", "lines", "Latin-1", "binary", "separators"],
)
def test_contents_are_written_readably(backend: Backend, content: str | bytes, text: str) -> None:
    scene = wall(400, 400)
    hang(scene, written(Symbology.QRCode, content, 5), (200, 200))
    assert read(find(backend, scene, "QR code")) == [("QR code", text)]


def unnamed(content: str, encoding: str) -> Gray:
    """Print a QR code of bytes whose encoding it does not name, as many programs do."""
    raw = content.encode(encoding).decode("latin-1")  # which is written byte by byte
    return written(Symbology.QRCode, raw, 5)


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("你好 世界 零件", "gb18030"),
        ("台北市信義區", "big5"),
        ("서울특별시 부품", "euc-kr"),
        ("Привет мир", "cp1251"),
        ("Zażółć gęślą", "iso8859-2"),
        ("Αθήνα", "iso8859-7"),
    ],
)
@pytest.mark.slow
def test_the_encoding_of_a_code_that_names_none_is_recognized_by_its_text(
    backend: Backend, content: str, encoding: str
) -> None:
    scene = wall(400, 400)
    hang(scene, unnamed(content, encoding), (200, 200))
    found = find(backend, scene, "QR code")
    assert read(found) == [("QR code", content)]
    assert found.notes == (f"a code does not name its encoding: its text was decoded as {encoding}, which fits best",)


def test_a_code_that_may_be_western_or_central_european_says_both(backend: Backend) -> None:
    scene = wall(400, 400)
    hang(scene, unnamed("Poznań", "iso8859-2"), (200, 200))
    found = find(backend, scene, "QR code")
    assert read(found) == [("QR code", "Poznañ")]
    assert found.notes == ("a code does not name its encoding: it says 'Poznañ' in cp1252, or 'Poznań' in iso8859-2",)


def test_long_binary_content_is_cut(backend: Backend) -> None:
    scene = wall()
    hang(scene, written(Symbology.QRCode, bytes(range(256)) * 2, 4), (500, 350))
    ((_, text),) = read(find(backend, scene, "QR code"))
    assert text is not None
    assert text.startswith("<NUL><SOH>")
    assert text.endswith("... (512 bytes)")
    assert len(text) < 450


@pytest.mark.slow
@pytest.mark.parametrize(("prompt", "labels"), [("barcodes", ["barcodes", "barcodes"]), ("2D code", ["2D code"] * 4)])
def test_words_for_codes(backend: Backend, prompt: str, labels: list[str]) -> None:
    scene = wall(1300, 900)
    for at, name in zip(
        [(250, 200), (700, 200), (250, 600), (600, 600), (950, 600)],
        ["EAN-13", "PDF417", "QR", "Data Matrix", "Aztec"],
        strict=True,
    ):
        symbology, content, _, _ = CODES[name]
        hang(scene, written(symbology, content), at)
    assert [found.label for found in find(backend, scene, prompt).objects] == labels


def test_a_upc_e_code_is_read_as_the_number_that_it_is_short_for(backend: Backend) -> None:
    scene = wall(400, 300)
    hang(scene, written(Symbology.UPCE, "01234565"), (200, 150))
    assert [(item.text, item.category) for item in find(backend, scene, "UPC").objects] == [("012345000065", "UPC-E")]


def test_a_word_for_one_symbology_says_where_it_is_reported(backend: Backend) -> None:
    scene = wall(600, 300)
    hang(scene, written(Symbology.Code128, SSCC), (300, 150))
    found = find(backend, scene, "SSCC")
    assert [item.category for item in found.objects] == ["Code 128"]
    assert found.notes == ("'SSCC' lists every barcode: the category of each says of which kind it is",)


@pytest.mark.slow
def test_a_long_strip_is_searched_in_parts(backend: Backend) -> None:
    scene = wall(6_000, 300)
    for x in (150, 3000, 5_850):
        hang(scene, written(Symbology.EAN8, "96385074", 2), (x, 150), turned=45)
    assert read(find(backend, scene, "barcode")) == [("barcode", "96385074")] * 3


@pytest.mark.slow
def test_nothing_is_read_into_clutter(backend: Backend) -> None:
    rng = np.random.default_rng(0)
    scene = wall(shade=235)
    for _ in range(90):
        words = "".join(rng.choice(list("HIlL1|/0O8B#=EFT.-"), int(rng.integers(3, 15))))
        at = int(rng.integers(0, 1000)), int(rng.integers(0, 700))
        hang(scene, sign(words, int(rng.integers(12, 50))), at, int(rng.integers(0, 360)))
    assert read(find(backend, scene, "code")) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "turned"),
    [
        *((name, 12) for name in ("EAN-13", "ITF", "DataBar")),
        ("EAN-13", 0),
        ("Code 128", 90),
    ],
)
def test_a_barcode_on_white_is_boxed_to_its_bars(backend: Backend, name: str, turned: int) -> None:
    symbology, content, _, _ = CODES[name]
    paper = written(symbology, content)
    rows, columns = np.nonzero(paper < 128)
    inked = paper[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    scene = np.full((560, 440), 255, np.uint8)
    truth = hang(scene, inked, (220, 280), turned)
    (code,) = find(backend, scene, "barcode").objects
    assert boxes.iou(code.bbox, truth) > 0.9


@pytest.mark.slow
def test_codes_in_tiles_are_counted_as_in_the_full_image() -> None:
    sheet = np.full((1060, 1260), 255, np.uint8)
    for place in range(20):
        hang(sheet, written(Symbology.QRCode, "PALLET-4711", 4), (150 + 240 * (place % 5), 150 + 240 * (place // 5)))
    found = anyio.run(in_tiles, sheet, "QR code", 2)
    assert [item.text for item in found.objects] == ["PALLET-4711"] * 20
    assert not any("not read" in note for note in found.notes)


@pytest.mark.slow
@pytest.mark.parametrize(("symbology", "tiles"), [(Symbology.Code128, 3), (Symbology.QRCode, 4)])
def test_a_code_larger_than_a_tile_is_counted_once(symbology: Symbology, tiles: int) -> None:
    sheet = np.full((700, 1200), 255, np.uint8)
    content = "x" * 300 if symbology is Symbology.QRCode else LOT
    hang(sheet, written(symbology, content, 4), (520, 330))
    found = anyio.run(in_tiles, sheet, "code", tiles)
    assert [item.text for item in found.objects] == [content]
    assert not any("not read" in note for note in found.notes)


async def in_tiles(scene: Gray, prompt: str, tiles: int) -> DetectionResult:
    async with Detector(Settings.load(backend="embedded")) as detector:
        return await detector.detect(picture(scene), [prompt], tiles=tiles)


@pytest.mark.parametrize(
    ("content", "module", "turned", "slant"),
    [
        ("https://example.com/parcel/4711", 2, 10, 0),
        ("https://example.com/parcel/4711", 3, 45, 0.1),
        ("https://example.com/parcel/4711", 9, 200, 0.2),
        ("line one\nline two " * 8, 4, 0, 0),
    ],
)
def test_a_qr_code(backend: Backend, content: str, module: int, turned: float, slant: float) -> None:
    scene = wall()
    paper = hang(scene, qr_code(content, module), (420, 330), turned, slant)
    (code,) = find(backend, scene, "QR code").objects
    assert (code.label, code.text, code.score) == ("QR code", content, None)
    assert boxes.iou(code.bbox, paper) > 0.45  # the paper is wider than the code, by its margin


def test_several_qr_codes_in_reading_order(backend: Backend) -> None:
    scene = wall()
    for number, at in enumerate([(200, 200), (500, 210), (800, 190), (300, 500), (700, 520)]):
        hang(scene, qr_code(f"parcel {number}"), at, turned=12 * number)
    assert read(find(backend, scene, "QR codes")) == [("QR codes", f"parcel {number}") for number in range(5)]


def test_a_damaged_code_is_found_without_text(backend: Backend) -> None:
    scene = wall()
    hang(scene, qr_code("https://example.com/parcel/4711", 6), (500, 350))
    scene[320:400, 470:560] = 255
    found = find(backend, scene, "QR code")
    assert read(found) == [("QR code", None)]
    assert found.notes[0].startswith("codes found but not read: 1")


@pytest.mark.slow
def test_bars_of_another_kind_are_found_and_never_misread(backend: Backend) -> None:
    for seed in range(12, 15):
        widths = np.random.default_rng(seed).choice([1, 1, 2, 2, 3, 4], 79)
        scene = wall(700, 700)
        hang(scene, barcode(stripes(widths), 3), (350, 350), turned=7 * seed)
        assert read(find(backend, scene, "barcode")) == [("barcode", None)]


@pytest.fixture
def largest(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Return the most pixels that the reader of codes gets at once."""
    sizes = [0]
    stock = codes.read_symbols

    def spy(pixels: Pixels, kinds: AbstractSet[Kind]) -> Iterator[Reading]:
        sizes.append(pixels.size)
        return stock(pixels, kinds)

    monkeypatch.setattr(codes, "read_symbols", spy)
    return lambda: max(sizes)


@pytest.mark.slow
def test_a_thin_picture_is_read_in_a_bounded_number_of_pixels(
    backend: Backend, largest: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "MAX_SIDE", 8000)  # rotated by 45 degrees, it would fill 32 million pixels
    found = find(backend, Image.new("L", (16_000, 2), "white"), "barcode")
    assert "searched at 8000x1 pixels; zoom in for what is smaller" in found.notes
    assert 0 < largest() < MOST


@pytest.mark.slow
def test_codes_at_the_far_end_of_a_strip_are_read(backend: Backend, largest: Callable[[], int]) -> None:
    strip = np.hstack([wall(1500, 150)] * 4)
    hang(strip, qr_code("4711", 2), (5800, 75))
    assert ("QR code", "4711") in read(find(backend, strip, "QR code", "barcode"))
    assert 0 < largest() < MOST
