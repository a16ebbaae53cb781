"""A comparison on the page: two images on each other, a divider between them, and the list of changes."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from anyio.from_thread import start_blocking_portal
from PIL import Image

from dinox_mcp.images.picture import Picture
from dinox_mcp.types.detection import Detection
from dinox_mcp.viewer.page import PageFile
from tests.compare.scenes import SIZE, Knowing, box_after, picture, put, room, take
from tests.fakes import detector_with
from tests.viewer.conftest import Show
from tests.viewer.hosting import until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Frame, Page

HERE = (90.0, 130.0, 150.0, 190.0)
THERE = (300.0, 150.0, 360.0, 210.0)
BEFORE = picture(put(room(), HERE))
AFTER = picture(take(put(room(), THERE)))
"""The same scene from a camera that turned: the parcel of one end is gone, and one stands at the other."""
HOSTILE = "</script><script>document.title='hacked'</script>\nfdp.\u202eexe"
GONE = Detection(label="parcel", bbox=HERE, score=0.9, text=HOSTILE)
CAME = Detection(label="crate", bbox=box_after(THERE), score=0.8)
SELECTED = "[...document.querySelectorAll('.mark.selected')].map((mark) => mark.className)"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page that shows the comparison, as a file."""
    path = tmp_path_factory.mktemp("pages") / "page.html"

    async def write() -> None:
        before, after = [
            Picture.from_bytes(one.data, f"/home/someone/{name}.png") for name, one in (("a", BEFORE), ("b", AFTER))
        ]
        backend = Knowing(known={BEFORE.digest: [GONE], AFTER.digest: [CAME]})
        async with detector_with(backend) as detector:
            page = PageFile(path, 2, opens=False)
            await page.add_comparison(detector, await detector.compare(before, after, ["parcel", "crate"]))
            page.finish()

    with start_blocking_portal() as portal:
        portal.call(write)
    return path


@pytest.fixture
def page(browser: "Browser", file: Path) -> Iterator["Page"]:
    """The page, open without a network."""
    context = browser.new_context(viewport={"width": 1000, "height": 700}, offline=True)
    tab = context.new_page()
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("console", lambda line: problems.append(line.text))
    tab.goto(file.as_uri())
    shown(tab)
    yield tab
    assert problems == []
    context.close()


def shown(page: "Page | Frame") -> None:
    until(page, "performance.getEntriesByName('dinox:comparison').length > 0")


def is_parcel(page: "Page", box: tuple[float, float, float, float]) -> bool:
    """Return whether a parcel's red and yellow are on screen in the middle of a box of the second image."""
    scene = page.locator("#scene").bounding_box()
    assert scene
    x = scene["x"] + scene["width"] * (box[0] + box[2]) / 2 / SIZE[0]
    y = scene["y"] + scene["height"] * (box[1] + box[3]) / 2 / SIZE[1]
    middle = Image.open(io.BytesIO(page.screenshot())).convert("RGB").crop((x - 9, y - 9, x + 9, y + 9)).resize((1, 1))
    red, _, blue = middle.getpixel((0, 0))  # type: ignore[misc]
    return red > 190 and blue < 90


def test_the_file_names_no_folder_of_the_images(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert '"source": "a.png"' in text
    assert "someone" not in text
    assert "<script>document.title" not in text


def test_the_divider_uncovers_the_first_image_where_the_second_shows_the_scene(page: "Page") -> None:
    divider = page.get_by_role("slider", name="Divider between the images")
    divider.press("Home")
    assert (is_parcel(page, box_after(HERE)), is_parcel(page, box_after(THERE))) == (False, True), "after"
    divider.press("End")
    assert (is_parcel(page, box_after(HERE)), is_parcel(page, box_after(THERE))) == (True, False), "before"
    for _ in range(5):
        divider.press("PageDown")
    assert (is_parcel(page, box_after(HERE)), is_parcel(page, box_after(THERE))) == (True, True), "half of each"
    assert divider.get_attribute("aria-valuetext") == "50 % before, 50 % after"


def test_a_pointer_drags_the_divider(page: "Page") -> None:
    scene = page.locator("#scene").bounding_box()
    assert scene
    page.mouse.move(scene["x"] + 0.5 * scene["width"], scene["y"] + 20)
    page.mouse.down()
    page.mouse.move(scene["x"] + 0.25 * scene["width"], scene["y"] + 40, steps=3)
    page.mouse.up()
    assert page.get_by_role("slider").get_attribute("aria-valuenow") == "25"


def test_a_selected_change_is_outlined_in_both_images(page: "Page") -> None:
    changes = page.get_by_role("listbox", name="Changes")
    assert page.get_by_role("heading").inner_text() == "1 appeared, 1 disappeared"
    changes.press("ArrowDown")
    assert page.locator("[aria-selected=true]").inner_text().split("\n")[1:] == ["crate appeared", "80 %"]
    assert page.evaluate(SELECTED) == ["mark absent selected", "mark selected"], "nothing is there in the first"
    changes.press("ArrowDown")
    assert page.evaluate(SELECTED) == ["mark selected", "mark absent selected"]
    assert "</script><script>" in page.locator("[aria-selected=true]").inner_text()
    assert page.title() == "a.png → b.png"
    changes.press("Escape")
    assert page.evaluate(SELECTED) == []


def test_a_change_is_selected_in_the_image_and_enlarged(page: "Page") -> None:
    outline = page.locator("#after .outline:not(.absent)")
    outline.hover()
    assert page.locator("li.hovered").get_attribute("id") == "change-1"
    outline.click()
    small = outline.bounding_box()
    page.get_by_role("button", name="Zoom to the change").click()
    large = outline.bounding_box()
    assert small
    assert large
    assert large["width"] > 2 * small["width"]


@pytest.mark.parametrize("size", [(1100, 800), (390, 760)])
def test_a_chat_shows_what_compare_images_answers(show: Show, size: tuple[int, int]) -> None:
    before, after = (f"data:image/png;base64,{base64.b64encode(one.data).decode()}" for one in (BEFORE, AFTER))
    with show([], ask=("compare_images", {"before": before, "after": after}), size=size) as seen:
        shown(seen.frame)
        assert seen.text("#title") == "2 changed"
        seen.frame.get_by_role("slider").press("End")
        assert seen.frame.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        assert [uri.split("/")[2] for uri in seen.read] == ["comparisons", "results", "results"]


def test_a_chat_without_resources_says_why_there_are_no_images(show: Show) -> None:
    before, after = (f"data:image/png;base64,{base64.b64encode(one.data).decode()}" for one in (BEFORE, AFTER))
    asked = ("compare_images", {"before": before, "after": after})
    with show([], ask=asked, capabilities={"serverTools": {}}) as seen:
        assert seen.text("#message").startswith("The images did not come through")
