"""What is written in given boxes, whoever found them."""

import anyio
import pytest
from PIL import Image

from dinox_mcp.backends.base import Backend, Call, Describer
from dinox_mcp.backends.embedded import create, phrases
from dinox_mcp.errors import DeadlineError
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import BBox, Detection, Detections, Output
from tests.backends.embedded.scenes import marker, paper, picture, qr, write

pytestmark = pytest.mark.anyio
TEXT: frozenset[Output] = frozenset({"text"})


@pytest.fixture(scope="module")
def backend() -> Backend:
    return create(Settings.load())


def crate(bbox: BBox, text: str | None = None) -> Detection:
    return Detection(label="crate", bbox=bbox, score=0.8, text=text)


async def describe(backend: Backend, sheet: Image.Image, *objects: Detection) -> Detections:
    assert isinstance(backend, Describer)
    return await backend.describe(picture(sheet), objects, TEXT, Call())


def texts(found: Detections) -> list[str | None]:
    return [thing.text for thing in found.objects]


async def test_of_boxes_it_reads_text_and_estimates_poses(backend: Backend) -> None:
    assert backend.capabilities().describes == TEXT | {"pose"}


async def test_each_box_gets_what_is_written_in_it_from_top_to_bottom(backend: Backend) -> None:
    sheet = paper()
    write(sheet, "SECOND LINE", (60, 200))
    write(sheet, "FIRST LINE", (60, 100))
    write(sheet, "OTHER", (600, 140))
    boxes: list[BBox] = [(550, 100, 850, 250), (30, 60, 500, 300), (30, 350, 500, 550)]
    found = await describe(backend, sheet, *map(crate, boxes))
    assert texts(found) == ["OTHER", "FIRST LINE\nSECOND LINE", None]
    assert [thing.bbox for thing in found.objects] == boxes
    assert {(thing.label, thing.score) for thing in found.objects} == {("crate", 0.8)}
    assert found.model.startswith("PP-OCRv6 small + OpenCV")


async def test_columns_are_read_one_after_the_other(backend: Backend) -> None:
    sheet = paper()
    write(sheet, "A TITLE ABOVE BOTH OF THE COLUMNS", (60, 40))
    for row, number in enumerate(("one", "two", "three", "four")):
        write(sheet, f"left line {number}", (60, 120 + 60 * row))
        write(sheet, f"right line {number}", (480, 120 + 60 * row))
    (text,) = texts(await describe(backend, sheet, crate((0, 0, 900, 600))))
    assert text is not None
    numbers = ("one", "two", "three", "four")
    assert text.splitlines() == [
        "A TITLE ABOVE BOTH OF THE COLUMNS",
        *(f"left line {number}" for number in numbers),
        *(f"right line {number}" for number in numbers),
    ]


async def test_a_table_is_read_row_by_row(backend: Backend) -> None:
    sheet = paper()
    for row, (name, number) in enumerate([("ORDER", "4711"), ("WEIGHT", "2.5 kg"), ("PIECES", "12"), ("BAY", "7B")]):
        write(sheet, name, (60, 120 + 60 * row))
        write(sheet, number, (600, 120 + 60 * row))
    (text,) = texts(await describe(backend, sheet, crate((0, 0, 900, 600))))
    assert text is not None
    assert text.split() == ["ORDER", "4711", "WEIGHT", "2.5", "kg", "PIECES", "12", "BAY", "7B"]


async def test_codes_are_read_too_and_their_pattern_is_no_text(backend: Backend) -> None:
    sheet = paper()
    sheet.paste(qr("parcel 4711"), (100, 100))
    sheet.paste(marker("DICT_5X5_100", 9), (650, 60))
    write(sheet, "SHELF 12", (90, 300))
    found = await describe(backend, sheet, crate((60, 60, 350, 380)), crate((620, 40, 860, 240)))
    assert texts(found) == ["parcel 4711\nSHELF 12", None]


async def test_boxes_in_boxes_each_get_their_lines(backend: Backend) -> None:
    sheet = paper()
    write(sheet, "UPPER", (100, 100))
    write(sheet, "LOWER", (100, 400))
    found = await describe(
        backend,
        sheet,
        crate((0, 0, 900, 600)),
        crate((60, 60, 400, 200)),
        crate((80, 80, 300, 170)),
        crate((0, 0, 8, 8)),
    )
    assert texts(found) == ["UPPER\nLOWER", "UPPER", "UPPER", None]


async def test_a_line_that_only_reaches_into_a_box_is_not_its_text(backend: Backend) -> None:
    sheet = paper()
    write(sheet, "LOADING BAY SEVEN", (100, 100))
    assert texts(await describe(backend, sheet, crate((20, 60, 260, 200)), crate((20, 60, 700, 200))))[1] == (
        "LOADING BAY SEVEN"
    )


async def test_what_has_a_text_keeps_it(backend: Backend) -> None:
    sheet = paper()
    write(sheet, "NEW", (100, 100))
    found = await describe(backend, sheet, crate((60, 60, 400, 200), "old"), crate((50, 50, 400, 200)))
    assert texts(found) == ["old", "NEW"]


async def test_small_print_in_a_large_picture_is_read(backend: Backend) -> None:
    sheet = paper(4000, 3000)
    write(sheet, "lot 4711", (3000, 2200), size=14)
    assert texts(await describe(backend, sheet, crate((2980, 2190, 3080, 2225)))) == ["lot 4711"]


async def test_empty_and_outside_boxes_stay_as_they_are(backend: Backend) -> None:
    objects = [crate((10, 10, 10, 10)), crate((2000, 2000, 3000, 3000))]
    assert list((await describe(backend, paper(), *objects)).objects) == objects
    assert (await describe(backend, paper())).objects == ()


async def test_only_what_is_asked_for_is_told(backend: Backend) -> None:
    assert isinstance(backend, Describer)
    sheet = paper()
    write(sheet, "HELLO", (100, 100))
    objects = [crate((60, 60, 400, 200))]
    assert list((await backend.describe(picture(sheet), objects, frozenset(), Call())).objects) == objects


async def test_a_hundred_boxes_take_few_looks(backend: Backend) -> None:
    sheet = paper(2400, 1800)
    boxes: list[BBox] = []
    for number in range(100):
        x, y = 30 + 235 * (number % 10), 30 + 175 * (number // 10)
        write(sheet, f"BAY{number:02d}", (x + 10, y + 10), size=24)
        boxes.append((x, y, x + 120, y + 50))
    found = await describe(backend, sheet, *map(crate, boxes))
    right = [text == f"BAY{number:02d}" for number, text in enumerate(texts(found))]
    assert sum(right) >= 98


@pytest.mark.parametrize(
    "boxes",
    [
        [(0.0, 0.0, 4000.0, 3000.0)] * 100,
        [(i * 20.0, 0.0, 1500.0 + i * 20, 900.0) for i in range(100)],
        [(0.0, i * 30.0, 4000.0, i * 30.0 + 25) for i in range(100)],
        [(i * 40.0, 0.0, i * 40.0 + 3, 3000.0) for i in range(100)],
        [(i * 3.0, i * 2.0, i * 3.0 + 0.5, i * 2.0 + 0.5) for i in range(1000)],
    ],
)
def test_looking_at_boxes_is_bounded_and_none_is_left_out(boxes: list[BBox]) -> None:
    looks = phrases.look_at(4000, 3000, boxes)
    parts = [part for part, _ in looks]
    for x1, y1, x2, y2 in boxes:
        assert any(p[0] <= x1 and p[1] <= y1 and x2 <= p[2] and y2 <= p[3] for p in parts)
    assert all(0 <= p[0] < p[2] <= 4000 and 0 <= p[1] < p[3] <= 3000 for p in parts)
    pixels = [(p[2] - p[0]) * (p[3] - p[1]) * factor**2 for p, factor in looks if factor is not None]
    assert sum(pixels) <= phrases.MOST_LOOKED_AT


async def test_a_description_that_takes_too_long_is_given_up() -> None:
    with pytest.raises(DeadlineError):
        await describe(create(Settings.load(timeout_s=0.001)), paper(), crate((0, 0, 100, 100)))


async def test_a_cancelled_description_frees_its_place(backend: Backend) -> None:
    sheet = paper(3000, 2000)
    with anyio.move_on_after(0.1) as scope:
        await describe(backend, sheet, *(crate((x, 0, x + 900, 1900)) for x in range(0, 2000, 50)))
    assert scope.cancelled_caught
    with anyio.fail_after(20):
        await describe(backend, paper(200, 100), crate((0, 0, 200, 100)))
