"""The tool search_images: what it replies, how it goes on, and what a caller may not."""

import json
import ntpath
import re
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError
from mcp.types import CallToolResult, ImageContent, TextContent, TextResourceContents

from dinox_mcp.backends.base import Call, Capabilities
from dinox_mcp.detector import Detector
from dinox_mcp.images.picture import Picture
from dinox_mcp.server.app import build_server
from dinox_mcp.server.tools import search
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import DetectionRequest, Detections
from tests.fakes import CODE, FakeBackend, png
from tests.server.conftest import Connect

pytestmark = pytest.mark.anyio


class Paid(FakeBackend):
    """A backend whose calls cost something."""

    def calls(self, _: DetectionRequest) -> int:
        return 1


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeBackend:
    monkeypatch.setenv("DINOX_MCP_JOBS_FOLDER", str(tmp_path / "jobs"))
    return FakeBackend()


@pytest.fixture
def photos(tmp_path: Path) -> str:
    folder = tmp_path.resolve() / "photos"
    (folder / "2026").mkdir(parents=True)
    for place in range(12):
        (folder / "2026" / f"{place:02}.png").write_bytes(png(100 + place))
    (folder / "broken.jpg").write_text("not an image")
    return str(folder)


def text_of(reply: CallToolResult) -> str:
    assert isinstance(reply.content[0], TextContent)
    return reply.content[0].text


def job_of(reply: CallToolResult) -> str:
    return text_of(reply).rpartition("Job: ")[2].split()[0]


async def test_the_reply_has_all_in_its_text_and_a_sheet(connect: Connect, backend: FakeBackend, photos: str) -> None:
    backend.answer = [*backend.answer, CODE]
    async with connect() as client:
        reply = await client.call_tool("search_images", {"images": photos, "prompts": ["dog", "cat", "owl"]})
    lines = text_of(reply).splitlines()
    assert lines[:3] == [
        "Searched 13 of 13 images for dog, cat, owl: objects in 12: 12 dog, 12 cat, 12 QR code, 0 owl",
        f"number image, below {photos}/2026/: count label best score",
        '1 00.png: 1 dog 0.90, 1 cat 0.40, 1 QR code 1.00 "https://example.com"',
    ]
    assert "1 image without an answer:" in lines
    assert re.search("broken.jpg.* is not a.*; pass a JPEG", text_of(reply))
    assert "By backend fake, model fake-1; detected in 12 images in this call." in lines[-2]
    assert [block.type for block in reply.content] == ["text", "image"]
    assert isinstance(reply.content[1], ImageContent)
    assert reply.structured_content is None


async def test_more_images_than_are_listed_are_in_the_resource(connect: Connect, photos: str) -> None:
    for place in range(20, 40):
        (Path(photos) / f"{place}.png").write_bytes(png(100 + place))
    async with connect() as client:
        reply = await client.call_tool("search_images", {"images": photos, "prompts": ["dog"]})
        (kept,) = (await client.read_resource(f"dinox://jobs/{job_of(reply)}")).contents
    assert f"12 more images hold objects: resource dinox://jobs/{job_of(reply)}" in text_of(reply)
    assert isinstance(kept, TextResourceContents)
    data = json.loads(kept.text)
    assert (len(data["images"]), data["found"], data["failed"]) == (32, 32, 1)
    assert [len(one.get("objects", ())) for one in (data["images"][0], data["images"][-1])] == [2, 0]


async def test_a_call_stops_in_time_and_the_next_one_goes_on(
    connect: Connect, backend: FakeBackend, photos: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(image: Picture, request: DetectionRequest, call: Call) -> Detections:
        if len(backend.asked) >= 5:
            await anyio.sleep_forever()
        return await detect(image, request, call)

    detect = backend.detect
    monkeypatch.setattr(backend, "detect", slow)
    monkeypatch.setattr(search, "BUDGET_S", 0.5)
    async with connect() as client:
        reply = await client.call_tool("search_images", {"images": photos, "prompts": ["dog"]})
        job = job_of(reply)
        assert re.search(rf'NOT FINISHED, \d images left: call search_images\(job="{job}"\)', text_of(reply))
        monkeypatch.setattr(backend, "detect", detect)
        reply = await client.call_tool("search_images", {"job": job})
    assert text_of(reply).startswith("Searched 13 of 13 images for dog: objects in 12")
    assert len(backend.asked) == 12


async def test_a_call_that_ends_without_an_answer_is_not_called_unspent(
    photos: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(Paid):
        async def detect(self, *_: object) -> Detections:
            await anyio.sleep_forever()
            raise AssertionError

    monkeypatch.setattr(search, "BUDGET_S", 0.3)
    settings = Settings.load(backend="fake", jobs_folder=tmp_path / "jobs")
    async with Detector(settings, [Slow()]) as detector, Client(build_server(detector)) as client:
        reply = await client.call_tool("search_images", {"images": f"{photos}/2026/0[0-4].png", "prompts": ["dog"]})
    assert "NOT FINISHED, 5 images left, up to 5 calls to fake: call search_images" in text_of(reply)


def test_files_on_several_drives_share_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search.os, "path", ntpath)
    assert search._root([r"C:\photos\a.jpg", r"C:\photos\b.jpg"]).startswith("C:\\photos")
    assert search._root([r"C:\photos\a.jpg", r"D:\b.jpg"]) == ""


async def test_the_cost_is_said_first_and_spent_with_the_job(photos: str, tmp_path: Path) -> None:
    backend = Paid()
    settings = Settings.load(backend="fake", jobs_folder=tmp_path / "jobs")
    heard: list[str] = []

    async def progress(_done: float, _total: float | None, message: str | None) -> None:
        heard.append(message or "")

    async with Detector(settings, [backend]) as detector, Client(build_server(detector)) as client:
        reply = await client.call_tool("search_images", {"images": photos, "prompts": ["dog"]})
        job = job_of(reply)
        assert (
            "NOT BEGUN, nothing is spent: up to 13 calls to fake. If that is meant, call search_images(job="
            in text_of(reply)
        )
        assert backend.asked == []
        await client.call_tool("search_images", {"job": job}, progress_callback=progress)
    assert heard[0] == "13 of 13 images to search: at most 13 calls to fake"
    assert heard[-1] == "13 of 13 images, objects in 12"
    assert len(backend.asked) == 12


@pytest.mark.slow
async def test_a_few_paid_images_need_no_second_call(photos: str, tmp_path: Path) -> None:
    settings = Settings.load(backend="fake", jobs_folder=tmp_path / "jobs")
    async with Detector(settings, [Paid()]) as detector, Client(build_server(detector)) as client:
        reply = await client.call_tool("search_images", {"images": f"{photos}/2026/0?.png", "prompts": ["dog"]})
    assert text_of(reply).startswith("Searched 10 of 10 images for dog")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "nothing is given to search; pass images"),
        ({"images": "PHOTOS/*.gif", "prompts": "dog"}, r"no image in '.*photos' that matches '\*.gif'"),
        ({"job": "../../etc/passwd"}, "there is no job '../../etc/passwd'"),
        ({"folder": "PHOTOS"}, "there is no argument 'folder'.* did you mean 'images'"),
        ({"images": "PHOTOS", "min_score": 7}, "min_score: 7.0 is not valid"),
    ],
)
async def test_a_mistake_is_one_line_with_the_remedy(
    connect: Connect, photos: str, arguments: dict[str, Any], message: str
) -> None:
    given = {
        name: value.replace("PHOTOS", photos) if isinstance(value, str) else value for name, value in arguments.items()
    }
    async with connect() as client:
        reply = await client.call_tool("search_images", given)
    assert reply.is_error
    assert re.search(message, text_of(reply))
    assert "\n" not in text_of(reply)


async def test_a_list_with_a_url_that_may_not_be_fetched_goes_on(connect: Connect, photos: str) -> None:
    images = [f"{photos}/2026/00.png", "https://127.0.0.1/private.jpg"]
    async with connect() as client:
        reply = await client.call_tool("search_images", {"images": images, "prompts": ["dog"]})
    assert text_of(reply).startswith("Searched 2 of 2 images for dog: objects in 1: 1 dog, 1 cat")
    assert "https://127.0.0.1/private.jpg" in text_of(reply)


async def test_over_http_local_folders_follow_the_setting_of_local_files(connect: Connect, photos: str) -> None:
    async with connect(transport="http") as client:
        refused = await client.call_tool("search_images", {"images": photos, "prompts": ["dog"]})
    async with connect(transport="http", allowed_folders=(photos,)) as client:
        allowed = await client.call_tool("search_images", {"images": photos, "prompts": ["dog"]})
        with pytest.raises(MCPError, match="there is no job"):
            await client.read_resource("dinox://jobs/abcdefghijklmnop")
    assert refused.is_error
    assert "files are not readable over HTTP" in text_of(refused)
    assert text_of(allowed).startswith("Searched 13 of 13 images")


async def test_the_tool_is_listed_shortly(connect: Connect, backend: FakeBackend) -> None:
    backend.able = Capabilities(answers=frozenset({"text prompts", "examples"}))
    async with connect() as client:
        (tool,) = [one for one in (await client.list_tools()).tools if one.name == "search_images"]
    assert tool.output_schema is None
    declared = {"name": tool.name, "description": tool.description, "parameters": tool.input_schema}
    assert len(json.dumps(declared, separators=(",", ":"))) / 4.1 < 235
