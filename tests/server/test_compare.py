import base64
import json
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.types import BlobResourceContents, CallToolResult, ImageContent, TextContent, TextResourceContents

from tests.compare.scenes import Knowing, Pixels, picture, put, room, take, write
from tests.compare.test_run import HERE, parcel, text
from tests.fakes import FakeBackend
from tests.server.conftest import Connect

pytestmark = pytest.mark.anyio

AT = (280, 240)
BEFORE = write(put(room(), HERE), "OPEN", AT)
AFTER = write(room(), "CLOSED", AT)


@pytest.fixture
def backend() -> FakeBackend:
    known = {picture(BEFORE).digest: [parcel(HERE), text("OPEN", AT)], picture(AFTER).digest: [text("CLOSED", AT)]}
    return Knowing(known=known)


def save(folder: Path, **images: Pixels) -> dict[str, str]:
    for name, pixels in images.items():
        (folder / f"{name}.png").write_bytes(picture(pixels).data)
    return {name: str(folder / f"{name}.png") for name in images}


def data_of(reply: CallToolResult) -> dict[str, Any]:
    assert reply.structured_content is not None
    return reply.structured_content


def text_of(reply: CallToolResult) -> str:
    (block,) = reply.content
    assert isinstance(block, TextContent)
    return block.text


async def compare(client: Client, tmp_path: Path, **arguments: object) -> CallToolResult:
    return await client.call_tool("compare_images", {**save(tmp_path, before=BEFORE, after=AFTER), **arguments})


@pytest.mark.slow
async def test_the_text_is_complete_alone(connect: Connect, tmp_path: Path) -> None:
    async with connect() as client:
        reply = await compare(client, tmp_path)
    first, counts, columns, *changes, last = text_of(reply).splitlines()
    assert first.startswith("Compared two images: 1 disappeared, 1 text changed (the camera did not move, 9")
    assert counts == "Before > after: parcel 1>0, text 1>1"
    assert columns.startswith("number what label")
    assert changes == [
        "1 disappeared parcel 0.80 [90,130,150,190] [90,130,150,190]",
        '2 text changed text 0.90 [284,244,416,276] [284,244,416,276] "OPEN" > "CLOSED"',
    ]
    name = data_of(reply)["comparison_id"]
    assert f'visualize(image="dinox://comparisons/{name}/side-by-side.jpg")' in last


async def test_the_data_say_the_same(connect: Connect, tmp_path: Path) -> None:
    async with connect() as client:
        data = data_of(await compare(client, tmp_path))
    assert data["kinds"] == {"disappeared": 1, "text changed": 1}
    assert data["counts"] == {"parcel": [1, 0], "text": [1, 1]}
    assert data["registered"] is False
    assert data["changes"][0] == {
        "id": 1,
        "kind": "disappeared",
        "label": "parcel",
        "before": [90, 130, 150, 190],
        "after": [90, 130, 150, 190],
        "score": 0.8,
        "object_before": 1,
    }
    assert (data["changes"][1]["text_before"], data["changes"][1]["text_after"]) == ("OPEN", "CLOSED")


@pytest.mark.slow
async def test_one_label_alone_is_compared(connect: Connect, tmp_path: Path) -> None:
    async with connect() as client:
        data = data_of(await compare(client, tmp_path, prompts="parcel"))
    assert [change["label"] for change in data["changes"]] == ["parcel"]


@pytest.mark.slow
async def test_images_of_one_state_have_no_change(connect: Connect, tmp_path: Path) -> None:
    async with connect() as client:
        reply = await client.call_tool("compare_images", save(tmp_path, before=AFTER, after=take(AFTER)))
    assert text_of(reply).startswith("Compared two images: no change (the camera moved: registered")
    assert data_of(reply)["changes"] == []


async def test_different_scenes_are_refused_with_what_to_do(connect: Connect, tmp_path: Path) -> None:
    async with connect() as client:
        reply = await client.call_tool("compare_images", save(tmp_path, before=BEFORE, after=room(1)))
    assert reply.is_error
    assert "cannot be registered" in text_of(reply)
    assert (reply.meta or {})["code"] == "invalid_input"


@pytest.mark.slow
async def test_the_comparison_and_its_image_are_resources(connect: Connect, tmp_path: Path) -> None:
    async with connect() as client:
        name = data_of(await compare(client, tmp_path))["comparison_id"]
        (whole,) = (await client.read_resource(f"dinox://comparisons/{name}")).contents
        (image,) = (await client.read_resource(f"dinox://comparisons/{name}/side-by-side.jpg")).contents
        seen = await client.call_tool("visualize", {"image": f"dinox://comparisons/{name}/side-by-side.jpg"})
    assert isinstance(whole, TextResourceContents)
    assert json.loads(whole.text)["registered"] == "identity"
    assert isinstance(image, BlobResourceContents)
    assert base64.b64decode(image.blob).startswith(b"\xff\xd8")
    assert any(isinstance(block, ImageContent) for block in seen.content)


@pytest.mark.slow
async def test_both_images_may_be_data_uris_of_any_length(connect: Connect) -> None:
    images = {
        name: "data:image/png;base64," + base64.b64encode(picture(pixels).data).decode()
        for name, pixels in (("before", BEFORE), ("after", AFTER))
    }
    assert min(map(len, images.values())) > 100_000
    async with connect() as client:
        assert not (await client.call_tool("compare_images", images)).is_error
