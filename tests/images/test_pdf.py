"""Pages of PDFs, rendered by the process that renders them for users."""

import inspect
import sys
from pathlib import Path

import anyio
import pytest

from dinox_mcp.errors import ForbiddenError, ImageError
from dinox_mcp.images import pdf_page
from dinox_mcp.images.loader import ImageLoader
from dinox_mcp.images.pdf import PdfRenderer, is_pdf
from dinox_mcp.images.sources import Page
from dinox_mcp.settings import Settings
from tests.images import pdfs
from tests.images.samples import BLUE, GREEN, RED, WHITE, encode, field, near, quadrants

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
FIELD = [RED, GREEN, BLUE, WHITE]
THREE = pdfs.of_images(field((200, 100)), field((200, 100)).rotate(180), field((100, 50)))


@pytest.fixture
def report(tmp_path: Path) -> str:
    path = tmp_path / "report.pdf"
    path.write_bytes(THREE)
    return str(path)


async def test_a_pdf_is_its_first_page_and_says_how_many_there_are(report: str) -> None:
    picture = await ImageLoader(Settings()).load(report)
    assert (picture.width, picture.height) == (417, 209)
    assert picture.source == f"{report}#page=1"
    assert near(quadrants(picture.rgb()), FIELD)
    note = "page 1 of 3 of a PDF at 150 dpi, 2.083 pixels a PDF point; another page: add #page=2 to the image"
    assert picture.notes == (f"{note} (417x209 pixels)",)


async def test_a_page_is_chosen_with_its_resolution(report: str) -> None:
    picture = await ImageLoader(Settings()).load(f"{report}#page=2&dpi=72")
    assert (picture.width, picture.height, picture.pixels_per_point) == (200, 100, 1)
    assert near(quadrants(picture.rgb()), [WHITE, BLUE, GREEN, RED])
    assert picture.notes == ("page 2 of 3 of a PDF at 72 dpi, 1 pixels a PDF point (200x100 pixels)",)


async def test_a_page_is_rendered_as_a_reader_shows_it() -> None:
    """It lies on its side, and only the left half of what is drawn is shown."""
    red_and_blue = b"1 0 0 rg 0 0 100 100 re f 0 0 1 rg 100 0 100 100 re f"
    data = pdfs.written(red_and_blue, page=b"/Rotate 90/CropBox[0 0 100 50]")
    rendered = await PdfRenderer(Settings()).render(data, "turned.pdf", Page(1, 72))
    facts, png = pdf_page.render(data, 1, 72, 10_000)
    assert (facts, png) == ({"pages": 1}, rendered.data)
    picture = await ImageLoader(Settings()).read(data, "turned.pdf", Page(1, 72))
    assert (picture.width, picture.height) == (50, 100)
    assert quadrants(picture.rgb()) == [RED] * 4


@pytest.mark.parametrize(
    ("data", "page", "message"),
    [
        (THREE, Page(4), "^a.pdf has no page 4; it has pages 1 to 3, as in #page=3$"),
        (pdfs.written(), Page(2), "it has only page 1, as in #page=1$"),
        (pdfs.written(trailer=pdfs.ENCRYPTED), None, "^a.pdf is encrypted; pass a PDF without a password"),
        (b"%PDF-1.7 and nothing else", None, "^a.pdf begins like a PDF but is damaged; pass an intact file$"),
        (THREE[:300], None, "is damaged"),
    ],
)
async def test_what_cannot_be_rendered_is_explained(data: bytes, page: Page | None, message: str) -> None:
    with pytest.raises(ImageError, match=message) as error:
        await ImageLoader(Settings()).read(data, "a.pdf", page)
    assert error.value.remedy


async def test_a_page_of_too_many_pixels_is_refused_with_the_resolution_that_fits() -> None:
    poster = pdfs.written(box=(0, 0, 1440, 720))
    loader = ImageLoader(Settings(max_image_pixels=100_000))
    with pytest.raises(
        ForbiddenError, match="have 3000x1500 pixels at 150 dpi, more than the 100,000 allowed"
    ) as error:
        await loader.read(poster, "poster.pdf")
    assert error.value.remedy == "pass #page=1&dpi=22"
    picture = await loader.read(poster, "poster.pdf", Page(1, 22))
    assert picture.width * picture.height <= 100_000


async def test_a_page_too_large_at_any_resolution_is_refused() -> None:
    with pytest.raises(ForbiddenError, match="pass a smaller page"):
        await ImageLoader(Settings(max_image_pixels=100)).read(pdfs.written(), "a.pdf")


async def test_a_page_that_never_ends_is_given_up_and_others_are_rendered() -> None:
    endless = pdfs.written(b"0 0 200 100 re f " * 3_000_000)
    renderer = PdfRenderer(Settings(), limit_s=0.05)
    for _ in range(3):  # more than may run at a time
        with pytest.raises(ForbiddenError, match=r"page 1 of slow\.pdf takes more than 0\.05 s to render; "):
            await renderer.render(endless, "slow.pdf", None)
    assert (await PdfRenderer(Settings()).render(THREE, "a.pdf", None)).number == 1


async def test_a_crash_of_the_renderer_is_an_error_of_one_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = tmp_path / "crash.py"
    crash.write_text("import os; os.abort()")
    monkeypatch.setattr(pdf_page, "__file__", str(crash))
    with pytest.raises(
        ImageError, match=r"page 2 of a\.pdf cannot be rendered \(the renderer ended with status -?\d+\)"
    ):
        await PdfRenderer(Settings()).render(THREE, "a.pdf", Page(2))


async def test_the_renderer_knows_no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = tmp_path / "spy.py"
    spy.write_text("import os, sys; sys.exit(sum(name.startswith('DINOX_') for name in os.environ))")
    monkeypatch.setattr(pdf_page, "__file__", str(spy))
    monkeypatch.setenv("DINOX_API_KEY", "secret")
    monkeypatch.setenv("DINOX_MCP_TOKEN", "secret")
    with pytest.raises(ImageError, match="ended with status 0"):
        await PdfRenderer(Settings()).render(THREE, "a.pdf", None)


async def test_a_cancelled_call_ends_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeper, sign = tmp_path / "sleeper.py", tmp_path / "started"
    sleeper.write_text(f"import pathlib, time; pathlib.Path({str(sign)!r}).touch(); time.sleep(600)")
    monkeypatch.setattr(pdf_page, "__file__", str(sleeper))
    renderer = PdfRenderer(Settings())
    async with anyio.create_task_group() as group:
        group.start_soon(renderer.render, THREE * 1000, "a.pdf", None)  # more than a pipe holds
        while not sign.exists():  # noqa: ASYNC110 - another process makes it
            await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    monkeypatch.undo()
    assert (await renderer.render(THREE, "a.pdf", None)).number == 1


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (THREE, True),
        (b"\0" * 100 + THREE, True),
        (b"\0" * 2000 + THREE, False),
        (encode(field())[:200] + b"%PDF-1.7", False),
        (b"", False),
    ],
)
def test_what_counts_as_a_pdf(data: bytes, expected: bool) -> None:
    assert is_pdf(data) is expected


async def test_an_image_has_no_pages(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode(field()))
    with pytest.raises(ImageError, match=r"a\.png is not a PDF and has no pages; leave #page=2 out"):
        await ImageLoader(Settings()).load(f"{tmp_path}/a.png#page=2")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the limit on memory is not kept")
async def test_a_page_that_takes_too_much_memory_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    greedy = tmp_path / "greedy.py"
    greedy.write_text(inspect.getsource(pdf_page).replace("import pypdfium2", "bytearray(3 << 30)"))
    monkeypatch.setattr(pdf_page, "__file__", str(greedy))
    with pytest.raises(ImageError, match="cannot be rendered"):
        await PdfRenderer(Settings()).render(THREE, "a.pdf", None)
