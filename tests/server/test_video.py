"""The tool for videos: text and a contact sheet, resources for the rest."""

import base64
import io
import json
from pathlib import Path

import pytest
from mcp.types import CallToolResult, ImageContent, TextContent
from PIL import Image

from tests.fakes import CAT, DOG, FakeBackend
from tests.server.conftest import Connect
from tests.video.scenes import Scene, Thing, line

pytestmark = pytest.mark.anyio


@pytest.fixture
def film(tmp_path: Path) -> str:
    scene = Scene([Thing("dog", line(35, 50, 0), (50, 60))], size=(160, 120), seconds=2)
    return str(scene.film(tmp_path / "film.mp4"))


def text_of(reply: CallToolResult) -> str:
    assert isinstance(reply.content[0], TextContent)
    return reply.content[0].text


@pytest.mark.slow
async def test_a_video_is_told_and_shown(connect: Connect, backend: FakeBackend, film: str) -> None:
    backend.answer = [DOG, CAT]
    async with connect() as client:
        reply = await client.call_tool("detect_video", {"video": film, "prompts": ["dog", "cat", "bird"]})
    text = text_of(reply)
    assert "of video (160x120, " in text
    assert "1 dog, 1 cat, 0 bird" in text
    assert "Most dog at a time: 1, first at 0:00" in text
    assert "\n1 dog 0.90 0:00" in text
    assert "By backend fake, model fake-1, a key frame every" in text
    assert reply.structured_content is None
    sheet = reply.content[1]
    assert isinstance(sheet, ImageContent)
    assert Image.open(io.BytesIO(base64.b64decode(sheet.data))).format == "JPEG"


async def test_its_files_are_resources(connect: Connect, film: str) -> None:
    async with connect() as client:
        text = text_of(await client.call_tool("detect_video", {"video": film, "prompts": ["dog"]}))
        root = f"dinox://videos/{text.partition('Result id: ')[2].partition('.')[0]}"
        answer = json.loads((await client.read_resource(root)).contents[0].text)  # type: ignore[union-attr]
        movie = (await client.read_resource(f"{root}/annotated.mp4")).contents[0]
        frames = (await client.read_resource(f"{root}/frames.jsonl")).contents[0]
    assert answer["counts"] == {"dog": 1, "cat": 1}
    assert movie.mime_type == "video/mp4"
    assert base64.b64decode(movie.blob)[4:8] == b"ftyp"  # type: ignore[union-attr]
    first = base64.b64decode(frames.blob).splitlines()[0]  # type: ignore[union-attr]
    assert json.loads(first)["objects"][0]["label"] == "dog"


async def test_what_is_no_video_is_one_line(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("secret")
    async with connect() as client:
        reply = await client.call_tool("detect_video", {"video": str(tmp_path / "notes.txt")})
    assert reply.is_error
    assert "secret" not in text_of(reply)
    assert "\n" not in text_of(reply)


async def test_an_answer_that_is_gone_says_so(connect: Connect) -> None:
    from mcp.shared.exceptions import MCPError

    async with connect() as client:
        with pytest.raises(MCPError, match="no result 'gone' of a video"):
            await client.read_resource("dinox://videos/gone")


@pytest.mark.parametrize("tool", ["visualize", "zoom", "describe_regions"])
@pytest.mark.slow
async def test_a_tool_for_images_names_the_resources_of_a_video(connect: Connect, film: str, tool: str) -> None:
    async with connect() as client:
        text = text_of(await client.call_tool("detect_video", {"video": film, "prompts": ["dog"]}))
        name = text.partition("Result id: ")[2].partition(".")[0]
        for result in (name, f"dinox://videos/{name}"):
            reply = await client.call_tool(tool, {"result": result, "object": 1})
            assert reply.is_error
            assert f"{name!r} is the result of a video, not of an image; read dinox://videos/{name}" in text_of(reply)
