"""What is found in one image: things of all kinds, large and small; and what is written in given boxes."""

import runpy
from pathlib import Path

import anyio
import cv2
import numpy as np
import pytest
from PIL import Image, ImageChops, ImageStat

from dinox_mcp.backends.base import Backend, Call, Describer
from dinox_mcp.backends.embedded import create, readings
from dinox_mcp.errors import DeadlineError
from dinox_mcp.settings import Settings
from dinox_mcp.types import boxes
from dinox_mcp.types.detection import BBox, Detection, Detections, Output
from tests.backends.embedded.scenes import marker, paper, picture, qr, write
from tests.backends.embedded.walls import Gray, barcode, find, hang, qr_code, read, sign, wall
from tests.backends.embedded.walls import marker as marker_on_paper

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
SAMPLE = runpy.run_path(str(EXAMPLES / "make_sample.py"))
TEXT: frozenset[Output] = frozenset({"text"})


def ean_13(digits: str) -> str:
    row = SAMPLE["ean_bars"](digits, 1).tobytes()
    return "".join("0" if pixel else "1" for pixel in row).strip("0")


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


def test_small_things_in_a_large_photo(backend: Backend) -> None:
    scene = wall(2600, 2000)
    hang(scene, qr_code("far away", 4), (2200, 1700), turned=10)
    hang(scene, barcode(ean_13("4006381333931"), 2), (500, 1700), turned=5)
    hang(scene, marker_on_paper(cv2.aruco.DICT_APRILTAG_36h11, 7, 40), (2000, 300))
    hang(scene, marker_on_paper(cv2.aruco.DICT_5X5_50, 3, 700), (700, 600))
    at = hang(scene, sign("SMALL PRINT", 20), (1500, 700))
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
    monkeypatch.setattr(readings, "MAX_PIXELS", 500_000)
    scene = wall(2000, 1000)
    paper = hang(scene, marker_on_paper(cv2.aruco.DICT_4X4_50, 7, 180), (1500, 600))
    found = find(backend, scene, "marker")
    assert found.notes == ("searched at 1000x500 pixels; zoom in for what is smaller",)
    assert boxes.iou(found.objects[0].bbox, paper) > 0.5


def test_a_photo_taken_sideways_is_searched_upright(backend: Backend) -> None:
    scene = wall(1000, 600)
    hang(scene, qr_code("turn me"), (800, 150))
    (code,) = find(backend, Image.fromarray(scene).transpose(Image.Transpose.ROTATE_90), "QR code", turned=6).objects
    assert code.text == "turn me"
    assert boxes.iou(code.bbox, (760, 110, 840, 190)) > 0.5


def test_a_minimum_score_drops_what_has_a_lower_one(backend: Backend) -> None:
    scene = wall(300, 200)
    hang(scene, sign("blurred words", 14), (100, 40))
    hang(scene, qr_code("no score"), (200, 130))
    scene = np.asarray(cv2.GaussianBlur(scene, (0, 0), 1.2), np.uint8)
    code, words = find(backend, scene, "QR code", "text").objects
    assert words.score is not None
    assert find(backend, scene, "text", min_score=words.score).objects == (words,)
    assert find(backend, scene, "QR code", "text", min_score=words.score + 0.001).objects == (code,)


NOISE = np.random.default_rng(7)
BLOBS = cv2.normalize(cv2.GaussianBlur(NOISE.random((200, 270)), (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX)


@pytest.mark.parametrize(
    "scene",
    [
        np.full((1, 1), 128, np.uint8),
        np.full((3, 900), 128, np.uint8),
        NOISE.integers(0, 256, (200, 270), np.uint8),
        BLOBS.astype(np.uint8),
        np.tile(np.repeat(np.array([30, 220], np.uint8), 12), (200, 12)),
        np.kron(np.indices((6, 8)).sum(axis=0) % 2, np.full((40, 40), 255)).astype(np.uint8),
    ],
    ids=["a pixel", "a line", "noise", "blobs", "stripes", "chessboard"],
)
def test_nothing_is_found_where_nothing_is(backend: Backend, scene: Gray) -> None:
    assert read(find(backend, scene)) == []


# What is written in boxes


def crate(bbox: BBox, text: str | None = None) -> Detection:
    return Detection(label="crate", bbox=bbox, score=0.8, text=text)


async def describe(backend: Backend, sheet: Image.Image, *objects: Detection) -> Detections:
    assert isinstance(backend, Describer)
    return await backend.describe(picture(sheet), objects, TEXT, Call())


def texts(found: Detections) -> list[str | None]:
    return [thing.text for thing in found.objects]


@pytest.mark.anyio
async def test_of_boxes_it_reads_text_and_estimates_poses(backend: Backend) -> None:
    assert backend.capabilities().describes == TEXT | {"pose"}


@pytest.mark.anyio
async def test_each_box_gets_what_is_written_in_it_from_top_to_bottom(backend: Backend) -> None:
    sheet = paper(360, 200)
    write(sheet, "SECOND LINE", (20, 80))
    write(sheet, "FIRST LINE", (20, 30))
    write(sheet, "OTHER", (250, 50))
    boxes: list[BBox] = [(230, 30, 350, 110), (10, 15, 220, 120), (10, 140, 220, 190)]
    found = await describe(backend, sheet, *map(crate, boxes))
    assert texts(found) == ["OTHER", "FIRST LINE\nSECOND LINE", None]
    assert [thing.bbox for thing in found.objects] == boxes
    assert {(thing.label, thing.score) for thing in found.objects} == {("crate", 0.8)}
    assert found.model.startswith("PP-OCRv6 small + OpenCV")


@pytest.mark.anyio
async def test_codes_are_read_too_and_their_pattern_is_not_text(backend: Backend) -> None:
    sheet = paper()
    sheet.paste(qr("parcel 4711"), (20, 20))
    sheet.paste(marker("DICT_5X5_100", 9), (180, 20))
    write(sheet, "SHELF 12", (15, 130))
    found = await describe(backend, sheet, crate((5, 5, 150, 180)), crate((170, 10, 290, 130)))
    assert texts(found) == ["parcel 4711\nSHELF 12", None]
    assert found.notes == ("no text was found in 1 of 2 boxes",)


@pytest.mark.anyio
async def test_boxes_in_boxes_each_get_their_lines(backend: Backend) -> None:
    sheet = paper()
    write(sheet, "UPPER", (50, 30))
    write(sheet, "LOWER", (50, 130))
    boxes: list[BBox] = [(0, 0, 300, 200), (30, 10, 180, 80), (40, 20, 160, 70), (0, 0, 8, 8)]
    found = await describe(backend, sheet, *map(crate, boxes))
    assert texts(found) == ["UPPER\nLOWER", "UPPER", "UPPER", None]


@pytest.mark.anyio
async def test_a_line_that_only_reaches_into_a_box_is_not_its_text(backend: Backend) -> None:
    sheet = paper()
    write(sheet, "LOADING BAY SEVEN", (20, 60))
    boxes: list[BBox] = [(5, 40, 90, 110), (5, 40, 295, 110)]
    assert texts(await describe(backend, sheet, *map(crate, boxes)))[1] == "LOADING BAY SEVEN"


@pytest.mark.anyio
async def test_what_has_a_text_keeps_it(backend: Backend) -> None:
    sheet = paper()
    write(sheet, "NEW", (60, 60))
    found = await describe(backend, sheet, crate((40, 40, 180, 110), "old"), crate((30, 30, 180, 110)))
    assert texts(found) == ["old", "NEW"]
    assert found.notes == ()


@pytest.mark.anyio
async def test_small_print_in_a_large_picture_is_read(backend: Backend) -> None:
    sheet = paper(2400, 1800)
    write(sheet, "lot 4711", (1500, 1200), size=14)
    assert texts(await describe(backend, sheet, crate((1480, 1190, 1580, 1225)))) == ["lot 4711"]


@pytest.mark.anyio
async def test_empty_and_outside_boxes_stay_as_they_are(backend: Backend) -> None:
    objects = [crate((10, 10, 10, 10)), crate((2000, 2000, 3000, 3000))]
    assert list((await describe(backend, paper(), *objects)).objects) == objects
    assert (await describe(backend, paper())).objects == ()


@pytest.mark.anyio
async def test_only_what_is_requested_is_reported(backend: Backend) -> None:
    assert isinstance(backend, Describer)
    sheet = paper()
    write(sheet, "HELLO", (50, 50))
    objects = [crate((30, 30, 200, 100))]
    assert list((await backend.describe(picture(sheet), objects, frozenset(), Call())).objects) == objects


@pytest.mark.anyio
async def test_many_small_boxes_are_read(backend: Backend) -> None:
    sheet = paper(700, 420)
    boxes: list[BBox] = []
    for number in range(9):
        x, y = 30 + 225 * (number % 3), 30 + 130 * (number // 3)
        write(sheet, f"BAY{number + 11}", (x + 10, y + 10))
        boxes.append((x, y, x + 120, y + 50))
    assert texts(await describe(backend, sheet, *map(crate, boxes))) == [f"BAY{number + 11}" for number in range(9)]


@pytest.mark.anyio
async def test_a_description_that_takes_too_long_is_given_up() -> None:
    with pytest.raises(DeadlineError):
        await describe(create(Settings.load(timeout_s=0.001)), paper(), crate((0, 0, 100, 100)))


@pytest.mark.anyio
async def test_a_cancelled_description_frees_its_slot(backend: Backend) -> None:
    sheet = paper(2000, 1500)
    with anyio.move_on_after(0.1) as scope:
        await describe(backend, sheet, *(crate((x, 0, x + 900, 1400)) for x in range(0, 1000, 50)))
    assert scope.cancelled_caught
    with anyio.fail_after(60):
        await describe(backend, paper(200, 100), crate((0, 0, 200, 100)))
