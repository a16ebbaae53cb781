"""Results as pages on disk, and the images that the page loads, which stay within what hosts carry."""

import io
import json
import re
import stat
import tempfile
import webbrowser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dinox_mcp.detector import Detector
from dinox_mcp.errors import InputError, SettingsError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.store.results import Stored
from dinox_mcp.types.detection import Detection
from dinox_mcp.types.video import VideoFiles
from dinox_mcp.viewer.page import MAX_PICTURES, PageFile, carry, preview, region, standalone, write_page
from tests.fakes import DOG, VIDEO, FakeBackend, picture
from tests.viewer.scenes import ellipse, photo

pytestmark = pytest.mark.anyio


async def stored(*detections: Detection, source: str = "folder/dog.jpg", width: int = 100) -> Stored:
    async with Detector(Settings.load(backend="fake"), backends=[FakeBackend(detections)]) as detector:
        picture = Picture.from_bytes(photo(width, width), source)
        result = await detector.detect(picture)
        return detector.result(result.result_id)


def data_in(page: str) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="dinox-data">(.*?)</script>', page)
    assert match
    return json.loads(match[1])  # type: ignore[no-any-return]


async def test_a_page_carries_result_picture_and_masks() -> None:
    masked = DOG.model_copy(update={"mask": ellipse(DOG.bbox, 100, 100)})
    (entry,) = data_in(standalone([carry(await stored(masked))]))["results"]
    (found,) = entry["result"]["objects"]
    assert found["label"] == "dog"
    assert found["mask"]["size"] == [100, 100]
    assert found["mask_area"] == 2345
    assert entry["picture"].startswith("/9j/"), "JPEG as base64"


async def test_of_where_a_picture_came_from_only_the_name_is_told() -> None:
    page = standalone([carry(await stored(DOG, source="/home/someone/private/dog.jpg?key=hunter2"))])
    assert data_in(page)["results"][0]["result"]["image"]["source"] == "dog.jpg"
    assert "someone" not in page
    assert "hunter2" not in page


async def test_words_of_a_picture_cannot_end_the_script() -> None:
    hostile = DOG.model_copy(update={"text": "</script><script>alert(1)</script><!--"})
    page = standalone([carry(await stored(hostile))])
    assert "<script>alert(1)" not in page
    assert data_in(page)["results"][0]["result"]["objects"][0]["text"] == hostile.text


async def test_only_the_pages_own_script_and_style_may_run() -> None:
    page = standalone([carry(await stored(DOG))])
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    assert re.fullmatch(
        r"default-src 'none'; script-src 'sha256-[\w+/=]+'; style-src 'sha256-[\w+/=]+'; "
        r"base-uri 'none'; form-action 'none'",
        policy[1],
    )


async def test_many_pictures_share_the_room_of_a_page() -> None:
    one = await stored(DOG, width=800)
    assert len(carry(one, 200)["picture"]) < len(carry(one)["picture"])
    assert len(carry(one, 200)["picture"]) < 160_000


async def test_a_page_is_written_where_it_is_wanted(tmp_path: Path) -> None:
    backend = FakeBackend()
    async with Detector(Settings.load(backend="fake"), backends=[backend]) as detector:
        page = PageFile(tmp_path / "new" / "page.html", 1, opens=False)
        await page.add(detector, await detector.detect(Picture.from_bytes(photo(), "a.jpg"), ["dog"]))
        assert page.finish() == f"page: {tmp_path}/new/page.html"
    assert "dinox-data" in (tmp_path / "new" / "page.html").read_text()


async def test_an_unnamed_page_is_the_users_own_and_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with Detector(Settings.load(backend="fake"), backends=[FakeBackend()]) as detector:
        page = PageFile(None, 1, opens=True)
        await page.add(detector, await detector.detect(Picture.from_bytes(photo(), "a.jpg")))
        path = Path(page.finish().removeprefix("page: "))
    assert opened == [path.as_uri()]
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("fails", [False, True])
async def test_without_a_browser_the_path_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, fails: bool
) -> None:
    def cannot(_: str) -> bool:
        if fails:
            raise webbrowser.Error
        return False

    monkeypatch.setattr(webbrowser, "open", cannot)
    async with Detector(Settings.load(backend="fake"), backends=[FakeBackend()]) as detector:
        page = PageFile(tmp_path / "p.html", 1, opens=True)
        await page.add(detector, await detector.detect(Picture.from_bytes(photo(), "a.jpg")))
        assert page.finish().endswith("p.html (no browser could be started: open it yourself)")


def test_what_is_no_page_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(SettingsError, match=r"--html 'photo.jpg' is not a page; name it .html"):
        PageFile(Path("photo.jpg"), 1, opens=False)
    with pytest.raises(SettingsError, match="201 images are too many for a page; name at most 200"):
        PageFile(None, MAX_PICTURES + 1, opens=True)


def test_a_page_of_nothing_is_not_written(tmp_path: Path) -> None:
    assert PageFile(tmp_path / "p.html", 1, opens=True).finish() == ""
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*page.html \(.*\); choose another path"):
        write_page(tmp_path / "file" / "page.html", [])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    page = PageFile(None, 1, opens=False)
    page._carried.append({})
    with pytest.raises(InputError, match="cannot write a temporary file"):
        page.finish()


def test_a_video_without_a_contact_sheet_has_no_page(tmp_path: Path) -> None:
    page = PageFile(tmp_path / "p.html", 1, opens=False)
    with pytest.raises(InputError, match=r"clip.mp4 has no contact sheet to show on a page; name a folder with --out"):
        page.add_video(VIDEO)
    gone = VIDEO.model_copy(update={"files": VideoFiles(sheet=str(tmp_path / "gone.jpg"))})
    with pytest.raises(InputError, match=r"cannot read the contact sheet .*gone.jpg"):
        page.add_video(gone)


def test_a_preview_is_bounded_in_pixels_and_bytes() -> None:
    data = preview(Picture.from_bytes(photo(600, 400)), 300, 9_000)
    assert len(data) <= 9_000
    assert max(Image.open(io.BytesIO(data)).size) <= 300


def test_a_small_picture_stays_as_it_is() -> None:
    assert Image.open(io.BytesIO(preview(picture(60, 40), 1568, 500_000))).size == (60, 40)


def test_a_region_is_exactly_what_was_asked_for() -> None:
    halves = Image.new("RGB", (200, 100), "red")
    halves.paste("blue", (100, 0, 200, 100))
    buffer = io.BytesIO()
    halves.save(buffer, "PNG")
    shown = Image.open(io.BytesIO(region(Picture.from_bytes(buffer.getvalue()), "100_10_180_60", 1568, 500_000)))
    assert shown.size == (80, 50)
    red, _, blue = shown.convert("RGB").getpixel((40, 25))  # type: ignore[misc]
    assert (red < 20, blue > 230) == (True, True)


@pytest.mark.parametrize("box", ["0_0_0_10", "50_0_40_10", "0_0_101_10", "0_90_10_101"])
def test_a_region_outside_the_picture_is_refused(box: str) -> None:
    with pytest.raises(InputError, match=f"the region {box} is not a part of the 100x100 image"):
        region(picture(), box, 1568, 500_000)


@pytest.mark.parametrize("text", ["", "1_2_3", "1_2_3_4_5", "-1_2_3_4", "a_b_c_d", "1.5_2_3_4", "1_2_3_12345678"])
def test_what_is_no_region_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not a region; give x_min_y_min_x_max_y_max"):
        region(picture(), text, 1568, 500_000)
