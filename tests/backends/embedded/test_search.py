"""What the embedded backend sees: pictures made on the spot, and what must be found in them."""

import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageChops, ImageStat

from dinox_mcp.backends.base import Backend
from dinox_mcp.backends.embedded import create, pixels, text
from dinox_mcp.settings import Settings
from dinox_mcp.types import boxes
from tests.backends.embedded_scenes import (
    Gray,
    barcode,
    find,
    gradients,
    hang,
    marker,
    qr_code,
    read,
    sign,
    stripes,
    wall,
)

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SAMPLE = runpy.run_path(str(EXAMPLES / "make_sample.py"))
EAN_8 = "1010001011010111101111010110111010101001110111001010001001011100101"  # 96385074


def ean_13(digits: str) -> str:
    row = SAMPLE["ean_bars"](digits, 1).tobytes()
    return "".join("0" if pixel else "1" for pixel in row).strip("0")


@pytest.fixture(scope="module")
def backend() -> Backend:
    """One for all tests here: it keeps its models loaded."""
    return create(Settings.load())


# The picture of the demo


def test_everything_in_the_sample_is_found_and_read(backend: Backend) -> None:
    with Image.open(EXAMPLES / "sample.png") as sample:
        found = find(backend, sample)
    assert [item for item in read(found) if item[0] != "text"] == [
        ("QR code", "https://example.com/parcel/4711"),
        ("marker", "DICT_6X6_50 id 23"),
        ("barcode", "2000000047119"),
        ("marker", "AprilTag 36h11 id 7"),
    ]
    assert {item[1] for item in read(found) if item[0] == "text"} == {
        *(f"A-{number:02d}" for number in range(1, 10)),
        *("LOADING BAY 3", "EXIT", "FRAGILE", "THIS SIDE UP", "CAUTION", "FORKLIFT", "TRAFFIC"),
        *("NORTHWIND PARCELS", "To: Ada Miller", "12 Harbour Street", "Port Amber", "ORDER 4711", "2.5 kg", "1 of 1"),
        "2 000000 047119",
    }
    assert found.model.startswith("PP-OCRv6 small + OpenCV 5")
    assert "ZXing-C++ 3" in found.model
    assert found.notes == ()


def test_the_sample_is_what_its_script_paints() -> None:
    with Image.open(EXAMPLES / "sample.png") as sample:
        difference = ImageChops.difference(sample, SAMPLE["scene"]())
    assert max(ImageStat.Stat(difference).mean) < 0.5  # releases of Pillow may smooth an edge differently


# Text


@pytest.mark.parametrize(
    ("words", "look", "turned"),
    [
        ("LOADING BAY 3", {"size": 40}, 0),
        ("gate 12 is closed", {"size": 14}, 0),
        ("EXIT", {"size": 60, "ink": 250, "paper": 60}, 4),
        ("Order No. 4711-B", {"size": 30, "ink": 120}, -25),
        ("THIS SIDE UP", {"size": 36}, 90),
        ("UPSIDE DOWN", {"size": 36}, 180),
        ("7", {"size": 60}, 0),
    ],
)
def test_a_line_of_text(backend: Backend, words: str, look: dict[str, int], turned: float) -> None:
    scene = wall()
    paper = hang(scene, sign(words, **look), (500, 350), turned)
    (line,) = find(backend, scene, "text").objects
    assert (line.label, line.text) == ("text", words)
    assert line.score is not None
    assert line.score > 0.8
    assert boxes.intersection(line.bbox, paper) > 0.8 * boxes.area(line.bbox)


@pytest.mark.parametrize(
    ("words", "other"),
    [
        ("", True),
        ("Aπκη", True),
        ("E三OΔOΣ", True),
        ("Lagerhalle Süd", False),
        ("第3倉庫のネジ", False),
        ("ø 5 μm, 2 kΩ", False),
        ("A区 12", False),
    ],
)
def test_a_line_in_other_letters_is_known_by_what_is_read_into_it(words: str, *, other: bool) -> None:
    strip = np.zeros((40, 400, 3), np.uint8)
    assert text._is_of_unknown_letters(strip, text._Reading(words, 0.9)) is other


@pytest.mark.parametrize("words", ["ВХОД", "вход"])
def test_a_word_in_other_letters_of_which_nothing_is_read_is_told(backend: Backend, words: str) -> None:
    scene = np.dstack([wall(shade=235)] * 3)
    cv2.putText(scene, words, (250, 400), (20, 20, 20), cv2.FontFace("sans"), 120)  # which has Cyrillic
    found = find(backend, Image.fromarray(scene), "text")
    assert not found.objects
    assert "letters that cannot be read here" in " ".join(found.notes)


@pytest.mark.parametrize("turned", [0, 90])
def test_the_box_of_letters_that_fill_a_picture_is_their_ink(backend: Backend, turned: int) -> None:
    paper = sign("EXIT", 300, ink=0, paper=255)
    ink = np.argwhere(np.rot90(paper, turned // 90) < 128)
    (line,) = find(backend, np.ascontiguousarray(np.rot90(paper, turned // 90)), "text").objects
    assert line.text == "EXIT"
    top, left, bottom, right = *ink.min(axis=0).tolist(), *(ink.max(axis=0) + 1).tolist()
    assert boxes.iou(line.bbox, (left, top, right, bottom)) > 0.9


def test_lines_come_in_reading_order_also_on_a_slanted_page(backend: Backend) -> None:
    scene = wall()
    for row in range(3):
        for column, word in enumerate(("left", "middle", "right")):
            at = 200 + 300 * column, 200 + 130 * row + 24 * column
            hang(scene, sign(f"{word} {row + 1}"), at, turned=4.6)
    assert [item.text for item in find(backend, scene, "text").objects] == [
        f"{word} {row}" for row in (1, 2, 3) for word in ("left", "middle", "right")
    ]


def test_a_long_page_stays_legible(backend: Backend) -> None:
    page = wall(500, 4000, 235)
    for row in range(5):
        hang(page, sign(f"chapter {row} begins here", 15), (150 + 40 * row, 300 + 850 * row))
    assert [item.text for item in find(backend, page, "text").objects] == [
        f"chapter {row} begins here" for row in range(5)
    ]


def test_lines_past_the_limit_are_counted(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MAX_LINES", 1)
    scene = wall()
    hang(scene, sign("first"), (300, 200))
    hang(scene, sign("second"), (300, 400))
    found = find(backend, scene, "text")
    assert read(found) == [("text", "first")]
    assert found.notes == ("1 more lines of text were not read; zoom in for them",)


def test_letters_seen_into_a_code_are_not_text(backend: Backend) -> None:
    scene = wall()
    hang(scene, qr_code("A QR code with much in it. " * 8, 8), (500, 350))
    hang(scene, sign("below"), (500, 660))
    (_, content), line = read(find(backend, scene))
    assert str(content).startswith("A QR code")
    assert line == ("text", "below")


# QR codes


@pytest.mark.parametrize(
    ("content", "module", "turned", "slant"),
    [
        ("https://example.com/parcel/4711", 4, 0, 0),
        ("https://example.com/parcel/4711", 2, 10, 0),
        ("https://example.com/parcel/4711", 3, 45, 0.1),
        ("https://example.com/parcel/4711", 9, 200, 0.2),
        ("4711", 5, 90, 0),
        ("Straße 5, 日本", 5, 3, 0),
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


# Barcodes


@pytest.mark.parametrize(
    ("modules", "digits"),
    [
        (ean_13("4006381333931"), "4006381333931"),
        (ean_13("9780201379624"), "9780201379624"),
        (ean_13("0036000291452"), "036000291452"),
        (EAN_8, "96385074"),
    ],
    ids=["EAN-13", "EAN-13 of a book", "UPC-A", "EAN-8"],
)
@pytest.mark.parametrize(("module", "turned"), [(2, 0), (3, 20), (2, 90), (4, 180)])
def test_a_barcode(backend: Backend, modules: str, digits: str, module: int, turned: float) -> None:
    scene = wall()
    paper = hang(scene, barcode(modules, module), (500, 350), turned)
    (code,) = find(backend, scene, "barcode").objects
    assert (code.label, code.text, code.score) == ("barcode", digits, None)
    assert boxes.iou(code.bbox, paper) > 0.4


def test_bars_of_another_kind_are_found_and_never_misread(backend: Backend) -> None:
    for seed in range(12, 24):
        widths = np.random.default_rng(seed).choice([1, 1, 2, 2, 3, 4], 79)
        scene = wall()
        hang(scene, barcode(stripes(widths), 3), (500, 350), turned=7 * seed)
        assert read(find(backend, scene, "barcode")) == [("barcode", None)]


# Markers


@pytest.mark.parametrize(
    ("dictionary", "number", "text"),
    [
        (cv2.aruco.DICT_4X4_50, 7, "DICT_4X4_50 id 7"),
        (cv2.aruco.DICT_5X5_250, 240, "DICT_5X5_250 id 240"),
        (cv2.aruco.DICT_6X6_250, 23, "DICT_6X6_50 id 23"),
        (cv2.aruco.DICT_7X7_1000, 999, "DICT_7X7_1000 id 999"),
        (cv2.aruco.DICT_ARUCO_ORIGINAL, 300, "DICT_ARUCO_ORIGINAL id 300"),
        (cv2.aruco.DICT_ARUCO_MIP_36h12, 5, "DICT_ARUCO_MIP_36h12 id 5"),
        (cv2.aruco.DICT_APRILTAG_16h5, 3, "AprilTag 16h5 id 3"),
        (cv2.aruco.DICT_APRILTAG_25h9, 9, "AprilTag 25h9 id 9"),
        (cv2.aruco.DICT_APRILTAG_36h10, 2000, "AprilTag 36h10 id 2000"),
        (cv2.aruco.DICT_APRILTAG_36h11, 500, "AprilTag 36h11 id 500"),
    ],
)
@pytest.mark.parametrize(("side", "turned", "slant"), [(24, 0, 0), (60, 33, 0.3), (200, 170, 0.1)])
def test_a_marker(
    backend: Backend, dictionary: int, number: int, text: str, side: int, turned: float, slant: float
) -> None:
    scene = wall()
    hang(scene, marker(dictionary, number, side), (500, 350), turned, slant)
    (found,) = find(backend, scene, "marker").objects
    assert (found.label, found.text) == ("marker", text)
    assert found.score is not None
    assert found.score > 0.9
    assert found.bbox == pytest.approx((500, 350, 500, 350), abs=side)


def test_a_pattern_of_two_dictionaries_is_named_after_both(backend: Backend) -> None:
    scene = wall()
    hang(scene, marker(cv2.aruco.DICT_APRILTAG_16h5, 16), (500, 350))
    assert read(find(backend, scene, "marker")) == [("marker", "DICT_4X4_250 id 227 or AprilTag 16h5 id 16")]
    assert read(find(backend, scene, "AprilTag")) == [("AprilTag", "AprilTag 16h5 id 16")]


@pytest.mark.parametrize("dictionary", [cv2.aruco.DICT_4X4_50, cv2.aruco.DICT_6X6_250, cv2.aruco.DICT_APRILTAG_36h11])
@pytest.mark.parametrize("border", [0, 1, 2, 3, 6, 20])
@pytest.mark.parametrize("inverted", [False, True])
def test_a_marker_on_dark_ground_is_found_and_boxed_whole(
    backend: Backend, dictionary: int, border: int, *, inverted: bool
) -> None:
    code = cv2.aruco.generateImageMarker(cv2.aruco.getPredefinedDictionary(dictionary), 7, 120)
    paper = np.pad(code, border, constant_values=255)
    scene = np.full((480, 640), 60, np.uint8)
    hang(scene, 255 - paper if inverted else paper, (300, 240))
    (found,) = find(backend, scene, "marker").objects
    assert found.text is not None
    assert found.text.endswith("id 7")
    assert boxes.iou(found.bbox, (240, 180, 360, 300)) > 0.95


# Sizes, scores, and what is not there


def test_small_things_in_a_12_megapixel_photo(backend: Backend) -> None:
    scene = wall(4000, 3000)
    hang(scene, qr_code("far away", 4), (3300, 2500), turned=10)
    hang(scene, barcode(ean_13("4006381333931"), 2), (700, 2400), turned=5)
    hang(scene, marker(cv2.aruco.DICT_APRILTAG_36h11, 7, 40), (2600, 400))
    hang(scene, marker(cv2.aruco.DICT_5X5_50, 3, 1200), (1300, 1000))
    at = hang(scene, sign("SMALL PRINT", 20), (3000, 1500))
    found = find(backend, scene)
    assert set(read(found)) == {
        ("QR code", "far away"),
        ("barcode", "4006381333931"),
        ("marker", "AprilTag 36h11 id 7"),
        ("marker", "DICT_5X5_50 id 3"),
        ("text", "SMALL PRINT"),
    }
    assert boxes.iou(found.objects[-1].bbox, at) > 0.3


def test_a_huge_picture_is_searched_smaller_and_says_so(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "MAX_PIXELS", 500_000)
    scene = wall(2000, 1000)
    paper = hang(scene, marker(cv2.aruco.DICT_4X4_50, 7, 180), (1500, 600))
    found = find(backend, scene, "marker")
    assert found.notes == ("searched at 1000x500 pixels; zoom in for what is smaller",)
    assert boxes.iou(found.objects[0].bbox, paper) > 0.5


def test_a_photo_taken_sideways_is_searched_upright(backend: Backend) -> None:
    scene = wall(1000, 600)
    hang(scene, qr_code("turn me"), (800, 150))
    (code,) = find(backend, Image.fromarray(scene).transpose(Image.Transpose.ROTATE_90), "QR code", turned=6).objects
    assert code.text == "turn me"
    assert boxes.iou(code.bbox, (760, 110, 840, 190)) > 0.5


def test_boxes_stay_in_the_picture(backend: Backend) -> None:
    found = find(backend, np.ascontiguousarray(sign("EDGE TO EDGE", 60)[28:-28, 28:-28]), "text")
    (line,) = found.objects
    assert line.text == "EDGE TO EDGE"
    assert line.bbox[0] >= 0
    assert line.bbox[1] >= 0


def test_a_minimum_score_drops_what_has_a_lower_one(backend: Backend) -> None:
    scene = wall()
    hang(scene, sign("blurred words", 14), (300, 200))
    hang(scene, qr_code("no score"), (700, 400))
    scene = np.asarray(cv2.GaussianBlur(scene, (0, 0), 1.2), np.uint8)
    (score,) = [item.score for item in find(backend, scene).objects if item.score is not None]
    assert score < 1
    assert read(find(backend, scene, min_score=1)) == [("QR code", "no score")]


NOISE = np.random.default_rng(7)
BLOBS = cv2.normalize(cv2.GaussianBlur(NOISE.random((600, 800)), (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX)


@pytest.mark.parametrize(
    "scene",
    [
        np.full((1, 1), 128, np.uint8),
        np.full((3, 900), 128, np.uint8),
        wall(),
        gradients([0, 255, 40, 200]),
        NOISE.integers(0, 256, (500, 700), np.uint8),
        BLOBS.astype(np.uint8),
        np.where(BLOBS > 128, 230, 20).astype(np.uint8),
        np.tile(np.repeat(np.array([30, 220], np.uint8), 12), (500, 30)),
        np.kron(np.indices((15, 20)).sum(axis=0) % 2, np.full((40, 40), 255)).astype(np.uint8),
    ],
    ids=["a pixel", "a line", "wall", "gradient", "noise", "blobs", "stains", "stripes", "chessboard"],
)
def test_nothing_is_found_where_nothing_is(backend: Backend, scene: Gray) -> None:
    assert read(find(backend, scene)) == []
