import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from mcp import Client, MCPError
from mcp.types import BlobResourceContents, TextResourceContents
from PIL import Image

from dinox_mcp.backends.base import Capabilities
from dinox_mcp.types import masks
from tests.fakes import DOG, FakeBackend, png
from tests.server.conftest import Connect

pytestmark = pytest.mark.anyio


@pytest.fixture
def photo(tmp_path: Path) -> str:
    path = tmp_path / "photo.png"
    path.write_bytes(png(100, 100))
    return str(path)


async def detect(client: Client, photo: str) -> str:
    reply = await client.call_tool("detect_prompt_free", {"image": photo})
    assert reply.structured_content is not None
    return f"dinox://results/{reply.structured_content['result_id']}"


async def read(client: Client, uri: str) -> bytes:
    (content,) = (await client.read_resource(uri)).contents
    if isinstance(content, TextResourceContents):
        return content.text.encode()
    assert isinstance(content, BlobResourceContents)
    return base64.b64decode(content.blob)


async def test_every_resource_of_a_result_is_a_template(connect: Connect) -> None:
    async with connect() as client:
        templates = (await client.list_resource_templates()).resource_templates
    assert {template.uri_template for template in templates} >= {
        "dinox://prompts/{name}",
        "dinox://results/{result_id}",
        "dinox://results/{result_id}/coco.json",
        "dinox://results/{result_id}/image.jpg",
        "dinox://results/{result_id}/annotated.jpg",
        "dinox://results/{result_id}/annotated.png",
        "dinox://results/{result_id}/objects/{number}/crop.jpg",
        "dinox://results/{result_id}/objects/{number}/mask.png",
    }
    assert all(template.title and template.description and template.mime_type for template in templates)


async def test_a_result_is_read_whole(connect: Connect, photo: str) -> None:
    async with connect() as client:
        result = json.loads(await read(client, await detect(client, photo)))
    assert [found["label"] for found in result["objects"]] == ["dog", "cat"]
    assert result["backend"] == "fake"


async def test_a_result_is_read_as_coco(connect: Connect, photo: str) -> None:
    async with connect() as client:
        coco = json.loads(await read(client, await detect(client, photo) + "/coco.json"))
    assert [annotation["bbox"] for annotation in coco["annotations"]] == [[10, 20, 50, 60], [70, 10, 25, 30]]
    assert {category["name"] for category in coco["categories"]} == {"dog", "cat"}


@pytest.mark.parametrize(
    ("view", "kind", "size"),
    [
        ("image.jpg", "JPEG", (100, 100)),
        ("annotated.jpg", "JPEG", (100, 100)),
        ("annotated.png", "PNG", (100, 100)),
        ("objects/1/crop.jpg", "JPEG", (264, 312)),
    ],
)
async def test_a_picture_of_a_result_is_read(
    connect: Connect, photo: str, view: str, kind: str, size: tuple[int, int]
) -> None:
    async with connect() as client:
        image = Image.open(io.BytesIO(await read(client, f"{await detect(client, photo)}/{view}")))
    assert (image.format, image.size) == (kind, size)


async def test_a_mask_is_read_in_the_pixels_of_the_original(connect: Connect, backend: FakeBackend, photo: str) -> None:
    bits = np.zeros((100, 100), dtype=bool)
    bits[20:80, 10:60] = True
    backend.able = Capabilities(outputs=frozenset({"masks"}))
    backend.answer = [DOG.model_copy(update={"mask": masks.encode(bits)})]
    async with connect() as client:
        image = Image.open(io.BytesIO(await read(client, await detect(client, photo) + "/objects/1/mask.png")))
    assert (np.asarray(image.convert("L")) == bits * 255).all()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/objects/9/crop.jpg", "no object 9; the numbers are 1 to 2"),
        ("/objects/1/mask.png", "object 1 has no mask"),
        ("gone", "no result"),
    ],
)
async def test_what_is_not_there_is_an_error_that_says_so(
    connect: Connect, photo: str, path: str, message: str
) -> None:
    async with connect() as client:
        uri = await detect(client, photo)
        with pytest.raises(MCPError, match=message):
            await client.read_resource(uri + path)


async def test_backends_are_listed(connect: Connect) -> None:
    async with connect() as client:
        backends = json.loads(await read(client, "dinox://backends"))
    assert {each["name"] for each in backends} >= {"fake", "dinox", "embedded"}
