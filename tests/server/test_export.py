"""`export_objects` as a host calls it: files over stdio, resources over HTTP."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcp import Client
from mcp.types import BlobResourceContents, CallToolResult, TextContent, TextResourceContents
from PIL import Image

from dinox_mcp.backends.base import Capabilities
from dinox_mcp.types import masks
from tests.fakes import CAT, DOG, FakeBackend, png
from tests.server.conftest import Connect

pytestmark = pytest.mark.anyio


@pytest.fixture
def photo(tmp_path: Path) -> str:
    path = tmp_path / "photo.png"
    path.write_bytes(png(100, 100))
    return str(path)


@pytest.fixture
def url() -> str:
    return f"data:image/png;base64,{base64.b64encode(png(100, 100)).decode()}"


async def detect(client: Client, image: str) -> str:
    reply = await client.call_tool("detect_objects", {"image": image, "prompts": ["dog", "cat"]})
    assert reply.structured_content is not None
    return str(reply.structured_content["result_id"])


async def export(client: Client, image: str, **arguments: object) -> CallToolResult:
    return await client.call_tool("export_objects", {"result": await detect(client, image), **arguments})


def data_of(reply: CallToolResult) -> dict[str, Any]:
    assert not reply.is_error, reply.content
    assert reply.structured_content is not None
    return reply.structured_content


def text_of(reply: CallToolResult) -> str:
    (block,) = reply.content
    assert isinstance(block, TextContent)
    return block.text


async def read(client: Client, uri: str) -> bytes:
    (content,) = (await client.read_resource(uri)).contents
    if isinstance(content, TextResourceContents):
        return content.text.encode()
    assert isinstance(content, BlobResourceContents)
    return base64.b64decode(content.blob)


async def test_crops_are_written_and_the_text_says_all(connect: Connect, photo: str, tmp_path: Path) -> None:
    async with connect() as client:
        reply = await export(client, photo, format="crops", to=str(tmp_path / "out"), padding=0)
    assert data_of(reply) == {
        "format": "crops",
        "counts": {"dog": 1, "cat": 1},
        "folder": str(tmp_path / "out"),
        "files": ["photo-1-dog.jpg", "photo-2-cat.jpg"],
    }
    assert text_of(reply).splitlines() == [
        "Crops of 2 objects: 1 dog, 1 cat.",
        f"Files in {tmp_path / 'out'}: 2",
        "- photo-1-dog.jpg",
        "- photo-2-cat.jpg",
    ]
    with Image.open(tmp_path / "out" / "photo-1-dog.jpg") as crop:
        assert crop.size == (50, 60)


async def test_only_the_chosen_objects_are_redacted(connect: Connect, photo: str, tmp_path: Path) -> None:
    async with connect() as client:
        reply = await export(client, photo, format="redacted", to=str(tmp_path), labels=["dog"], padding=0)
    assert "what the detection missed is still visible" in text_of(reply)
    with Image.open(tmp_path / "photo-redacted.png") as copy:
        pixels = np.asarray(copy)
    assert not pixels[20:80, 10:60].any()
    assert (pixels[10:40, 70:95] == 255).all()


async def test_a_file_that_exists_needs_permission(connect: Connect, photo: str, tmp_path: Path) -> None:
    async with connect() as client:
        again = {"result": await detect(client, photo), "format": "csv", "to": str(tmp_path)}
        data_of(await client.call_tool("export_objects", again))
        refused = await client.call_tool("export_objects", again)
        allowed = await client.call_tool("export_objects", again | {"overwrite": True})
    assert refused.is_error
    assert "photo-objects.csv would be overwritten" in text_of(refused)
    assert refused.meta is not None
    assert "overwrite=true" in refused.meta["remedy"]
    assert not allowed.is_error


async def test_the_folder_of_the_settings_is_the_default(connect: Connect, photo: str, tmp_path: Path) -> None:
    async with connect(output_folder=tmp_path / "saved") as client:
        reply = await export(client, photo, format="coco")
    assert data_of(reply)["folder"] == str(tmp_path / "saved")


async def test_without_a_folder_the_reply_lists_resources(connect: Connect, photo: str) -> None:
    async with connect() as client:
        reply = await export(client, photo, format="cutouts")
        uris = data_of(reply)["files"]
        image = Image.open(io.BytesIO(await read(client, uris[0])))
    assert [uri.rpartition("objects/")[2] for uri in uris] == ["1/cutout.png", "2/cutout.png"]
    assert (image.mode, image.size) == ("RGBA", (50, 60))
    assert "2 objects without a mask: cut out by the box" in text_of(reply)


async def test_a_cutout_follows_the_mask(connect: Connect, backend: FakeBackend, photo: str) -> None:
    bits = np.zeros((100, 100), dtype=bool)
    bits[30:40, 20:60] = True
    backend.able = Capabilities(outputs=frozenset({"masks"}))
    backend.answer = [DOG.model_copy(update={"mask": masks.encode(bits)})]
    async with connect() as client:
        (uri,) = data_of(await export(client, photo, format="cutouts"))["files"]
        assert Image.open(io.BytesIO(await read(client, uri))).size == (40, 10)


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_a_redacted_copy_is_a_result_that_can_be_searched(connect: Connect, url: str, transport: str) -> None:
    async with connect(transport=transport) as client:
        reply = await export(client, url, format="redacted", object=[1], padding=0)
        (uri,) = data_of(reply)["files"]
        pixels = np.asarray(Image.open(io.BytesIO(await read(client, uri))))
        again = await client.call_tool("detect_objects", {"image": uri, "prompts": "dog"})
        kept = json.loads(await read(client, uri.removesuffix("/image.jpg")))
    assert pixels[25:75, 15:55].max() < 16
    assert pixels[15:35, 75:90].min() > 240
    assert not again.is_error
    assert kept["objects"] == []
    assert kept["image"]["source"] == "image-redacted.jpg"


async def test_labels_of_some_objects_are_a_result_with_those_alone(connect: Connect, photo: str) -> None:
    async with connect() as client:
        uris = data_of(await export(client, photo, format="yolo", object=2))["files"]
        label, classes = [(await read(client, uri)).decode() for uri in uris]
    assert [uri.rpartition("/")[2] for uri in uris] == ["yolo.txt", "classes.txt"]
    assert label.split()[0] == "0"
    assert len(label.splitlines()) == 1
    assert classes == "cat\n"


@pytest.mark.parametrize(
    ("export_format", "file", "holds"),
    [
        ("coco", "coco.json", '"file_name": "photo.png"'),
        ("voc", "voc.xml", "<filename>photo.png</filename>"),
        ("cvat", "cvat.xml", 'name="photo.png"'),
        ("labelme", "labelme.json", '"imagePath": "photo.png"'),
        ("labelstudio", "label-studio.json", '"image": "photo.png"'),
        ("csv", "objects.csv", "photo.png,1,dog"),
    ],
)
@pytest.mark.slow
async def test_labels_are_read_as_resources(
    connect: Connect, photo: str, export_format: str, file: str, holds: str
) -> None:
    async with connect() as client:
        (uri,) = data_of(await export(client, photo, format=export_format))["files"]
        assert uri.endswith(f"/labels/{file}")
        assert holds in (await read(client, uri)).decode()


async def test_another_name_of_labels_is_an_error_that_lists_them(connect: Connect, photo: str) -> None:
    async with connect() as client:
        root = f"dinox://results/{await detect(client, photo)}"
        with pytest.raises(Exception, match=r"no labels 'x\.txt'; choose from coco\.json, yolo\.txt"):
            await client.read_resource(f"{root}/labels/x.txt")


@pytest.mark.parametrize(
    ("settings", "arguments", "message"),
    [
        ({"transport": "http"}, {"to": "/tmp/x"}, "over HTTP no files are written; leave it out"),  # noqa: S108
        ({}, {"to": "relative/x"}, "is not a full path; pass one"),
        ({}, {"to": "//server/share"}, "not a folder of this machine"),
        ({}, {"folder": "/tmp/x"}, "did you mean 'to'?"),  # noqa: S108
        ({}, {"object": [7]}, "there is no object 7; the numbers are 1 to 2"),
        ({}, {"format": "tfrecord"}, "'tfrecord' is not valid"),
        ({}, {"padding": 11}, "padding is 11; choose 0 to 10"),
        ({}, {"result": "gone"}, "no result 'gone'"),
    ],
)
@pytest.mark.slow
async def test_a_mistake_says_what_to_do(
    connect: Connect, url: str, settings: dict[str, object], arguments: dict[str, object], message: str
) -> None:
    async with connect(**settings) as client:
        given = {"result": await detect(client, url), "format": "redacted"} | arguments
        reply = await client.call_tool("export_objects", given)
    assert reply.is_error
    assert message in text_of(reply)


async def test_nothing_found_is_nothing_redacted(connect: Connect, backend: FakeBackend, photo: str) -> None:
    backend.answer = ()
    async with connect() as client:
        reply = await export(client, photo, format="redacted")
    assert reply.is_error
    assert "a redacted copy would show everything" in text_of(reply)


async def test_a_long_list_is_cut_and_counted(connect: Connect, backend: FakeBackend, photo: str) -> None:
    backend.answer = [CAT] * 300
    async with connect() as client:
        found = await client.call_tool(
            "detect_objects", {"image": photo, "prompts": "cat", "max_objects": 300, "iou_threshold": 1}
        )
        result = data_of(found)["result_id"]
        reply = await client.call_tool("export_objects", {"result": result, "format": "crops"})
    number = len(data_of(found)["objects"])
    assert number > 200
    assert (len(data_of(reply)["files"]), data_of(reply)["more"]) == (200, number - 200)
    assert f"... and {number - 20} more" in text_of(reply)


@pytest.mark.parametrize(("transport", "writes"), [("stdio", True), ("http", False)])
async def test_hosts_are_told_whether_it_writes(connect: Connect, transport: str, writes: bool) -> None:
    async with connect(transport=transport) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    hints = tools["export_objects"].annotations
    assert hints is not None
    assert bool(hints.read_only_hint) is not writes
    assert bool(hints.destructive_hint) is writes
