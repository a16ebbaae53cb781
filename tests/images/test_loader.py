"""The loader as a whole: any source becomes an image, and nothing else waits for it."""

import base64
import time
from pathlib import Path

import anyio
import pytest

from dinox_mcp.errors import ForbiddenError, ImageError
from dinox_mcp.images import loader as module
from dinox_mcp.images.loader import ImageLoader
from dinox_mcp.settings import Settings
from tests.images import pdfs
from tests.images.samples import encode, field
from tests.images.site import Names, response, serve

pytestmark = pytest.mark.anyio
PNG = encode(field())
DATA_URI = "data:image/png;base64," + base64.b64encode(PNG).decode()


async def test_the_same_picture_from_anywhere_is_the_same_picture(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    async with serve() as site:
        site.pages["/cat.png"] = response(PNG)
        settings = Settings(private_hosts=(f"pictures.test:{site.port}",))
        loader = ImageLoader(settings, resolve=Names(pictures_test=[["127.0.0.1"]]))
        sources = [str(path), f"file://{path}", f"http://pictures.test:{site.port}/cat.png", DATA_URI]
        pictures = [await loader.load(source) for source in sources]
        await loader.aclose()
    assert len(set(pictures)) == 1
    assert [picture.source for picture in pictures] == [str(path), str(path), sources[2], "data:image/png…"]


@pytest.mark.parametrize(
    ("cap", "message"),
    [({"max_image_bytes": 10}, "more than the 10 allowed"), ({"max_image_pixels": 10}, "64x48 pixels")],
)
async def test_the_caps_hold_for_data_uris_too(cap: dict[str, int], message: str) -> None:
    with pytest.raises(ForbiddenError, match=message):
        await ImageLoader(Settings(**cap)).load(DATA_URI)


async def test_a_data_uri_that_holds_no_picture() -> None:
    with pytest.raises(ImageError, match=r"^data:text/plain… is not an image"):
        await ImageLoader(Settings()).load("data:text/plain,hello")


async def test_the_newest_image_of_a_folder_is_named_in_a_note(tmp_path: Path) -> None:
    path = tmp_path / "Screenshot 1.png"
    path.write_bytes(PNG)
    picture = await ImageLoader(Settings()).load(f"latest:{tmp_path}")
    assert picture.source == str(path)
    (note,) = picture.notes
    assert note.startswith("the newest image of the folder is '")
    assert "Screenshot 1.png', changed at 20" in note
    assert note.endswith("(64x48 pixels)")


@pytest.mark.slow
async def test_the_same_pdf_from_anywhere_is_the_same_page(tmp_path: Path) -> None:
    pdf = pdfs.of_images()
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf)
    async with serve() as site:
        site.pages["/a.pdf"] = response(pdf)
        settings = Settings(private_hosts=(f"pictures.test:{site.port}",))
        loader = ImageLoader(settings, resolve=Names(pictures_test=[["127.0.0.1"]]))
        uri = "data:application/pdf;base64," + base64.b64encode(pdf).decode()
        sources = [str(path), f"http://pictures.test:{site.port}/a.pdf", uri]
        pictures = [await loader.load(f"{source}#page=1") for source in sources]
        await loader.aclose()
    assert len(set(pictures)) == 1
    assert [picture.source for picture in pictures] == [
        f"{path}#page=1",
        f"{sources[1]}#page=1",
        "data:application/pdf…#page=1",
    ]


async def test_the_event_loop_goes_on_while_a_disk_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_slowly(*_: object) -> tuple[bytes, str]:
        time.sleep(0.3)
        return PNG, "slow.png"

    monkeypatch.setattr(module, "read_file", read_slowly)
    done = anyio.Event()

    async def load() -> None:
        await ImageLoader(Settings()).load("slow.png")
        done.set()

    async with anyio.create_task_group() as group:
        group.start_soon(load)
        for _ in range(5):
            await anyio.sleep(0.01)
        assert not done.is_set()  # five turns of the loop, and the disk has not answered yet


async def test_a_call_that_is_cancelled_does_not_wait_for_a_slow_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_slowly(*_: object) -> tuple[bytes, str]:
        time.sleep(1)
        return PNG, "slow.png"

    monkeypatch.setattr(module, "read_file", read_slowly)
    start = anyio.current_time()
    with anyio.move_on_after(0.05):
        await ImageLoader(Settings()).load("slow.png")
    assert anyio.current_time() - start < 0.8


async def test_a_loader_that_never_fetched_closes_too() -> None:
    await ImageLoader(Settings()).aclose()


def test_a_loader_is_made_without_an_event_loop() -> None:
    assert ImageLoader(Settings())
