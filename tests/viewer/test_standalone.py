"""The page as a file, opened in a browser: everything is in it, and nothing leaves it."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from anyio.from_thread import start_blocking_portal

from dinox_mcp.detector import Detector
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import Detection
from dinox_mcp.types.video import VideoResult
from dinox_mcp.viewer.page import carry, carry_video, write_page
from tests.fakes import FakeBackend
from tests.viewer.hosting import EVERYTHING, until
from tests.viewer.scenes import body, ellipse, photo
from tests.viewer.test_video import RESULT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BOX = (100.0, 100.0, 300.0, 300.0)
PERSON = Detection(label="person", bbox=BOX, score=0.9, mask=ellipse(BOX, 800, 600), keypoints=body(BOX))
HOSTILE = Detection(
    label="=sign", bbox=(400, 50, 500, 90), text="</script><script>document.title='hacked'</script>\nfdp.\u202eexe"
)


# What the page needs nothing of.
REST = {"request": {}, "every_s": 0.5, "timeline": [], "calls": {"planned": 9, "made": 9, "memory": 0}}


@pytest.fixture
def page(browser: "Browser", tmp_path: Path) -> Iterator["Page"]:
    """A page of two pictures, open."""

    async def write() -> None:
        backend = FakeBackend([PERSON, HOSTILE], able=EVERYTHING)
        async with Detector(Settings.load(backend="fake"), backends=[backend]) as detector:
            carried = []
            for name in ("first.jpg", "second.jpg"):
                picture = Picture.from_bytes(photo(seed=len(name)), name)
                result = await detector.detect(picture, include=("masks", "pose"))
                carried.append(carry(detector.result(result.result_id), 2))
            write_page(tmp_path / "page.html", carried)

    with start_blocking_portal() as portal:
        portal.call(write)
    context = browser.new_context(viewport={"width": 1000, "height": 700}, accept_downloads=True, offline=True)
    tab = context.new_page()
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("console", lambda line: line.type in ("error", "warning") and problems.append(line.text))
    requests: list[str] = []
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto((tmp_path / "page.html").as_uri())
    tab.get_by_role("heading", name="2 objects").wait_for()
    yield tab
    assert problems == []
    assert [url for url in requests if not url.startswith(("file:", "blob:"))] == []
    context.close()


def test_everything_is_shown_from_the_file_alone(page: "Page") -> None:
    assert page.locator("#layers button:visible").all_inner_texts() == ["Boxes", "Masks", "Skeletons", "Tags"]
    page.locator("#object-2").click()
    assert "</script><script>" in page.locator("#detail").inner_text()
    assert "\nfdp. exe" in page.locator("#detail").inner_text(), "nothing turns it around"
    assert page.title() == "first.jpg"
    assert page.get_by_label("Question about this object").count() == 0, "there is no chat to ask in"


def test_another_picture_is_chosen(page: "Page") -> None:
    page.locator("#pictures").select_option("1")
    until(page, "document.title === 'second.jpg'")


@pytest.mark.parametrize("kind", ["Picture (PNG)", "COCO JSON", "Table (CSV)"])
def test_files_are_saved_by_the_browser(page: "Page", tmp_path: Path, kind: str) -> None:
    page.locator("#save summary").click()
    with page.expect_download() as download:
        page.get_by_role("button", name=kind).click()
    target = tmp_path / download.value.suggested_filename
    download.value.save_as(target)
    if kind == "COCO JSON":
        person, _ = json.loads(target.read_text())["annotations"]
        assert person["segmentation"]["size"] == [600, 800]
        assert person["num_keypoints"] == 17
        assert person["area"] == 31415
    elif kind == "Table (CSV)":
        with target.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert rows[1]["label"] == "'=sign", "no spreadsheet runs it"
        assert rows[1]["text"] == HOSTILE.text
    else:
        assert Picture.from_bytes(target.read_bytes()).width == 800


def test_a_video_is_shown_from_a_file_as_well(browser: "Browser", tmp_path: Path) -> None:
    answer = VideoResult.model_validate({**RESULT, **REST, "result_id": "abc"})
    write_page(tmp_path / "page.html", [carry_video(answer, photo(900, 500))])
    tab = browser.new_page()
    tab.goto((tmp_path / "page.html").as_uri())
    tab.get_by_role("heading", name="3 tracks").wait_for()
    until(tab, "performance.getEntriesByName('dinox:picture').length > 0")
    tab.locator("#object-2").click()
    assert "0:05.0 to 1:10.0" in tab.locator("#detail").inner_text()
    tab.close()
