"""Two servers over one store: what one has found, kept or been sent is read through the other."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis
from mcp import Client
from mcp.types import CallToolResult, TextContent, TextResourceContents

from dinox_mcp.detect.options import Caller
from dinox_mcp.detector import Detector
from dinox_mcp.errors import NotFoundError, UnreachableError
from dinox_mcp.images.picture import Picture
from dinox_mcp.server.app import build_server
from dinox_mcp.settings import Settings
from tests.fakes import DescribingBackend, FakeBackend, picture, png

pytestmark = pytest.mark.anyio


def detector(place: Path | str, backend: FakeBackend | None = None) -> Detector:
    return Detector(Settings.load(backend="fake", store=str(place)), backends=[backend or DescribingBackend()])


@asynccontextmanager
async def servers(place: Path | str) -> AsyncIterator[tuple[Client, Client]]:
    """Connect a client to each of two servers that share nothing but the store."""
    async with (
        detector(place) as first,
        detector(place) as second,
        Client(build_server(first)) as one,
        Client(build_server(second)) as two,
    ):
        yield one, two


@pytest.fixture
def image(tmp_path: Path) -> str:
    path = tmp_path / "image.png"
    path.write_bytes(png(120, 100))
    return str(path)


def text_of(reply: CallToolResult) -> str:
    assert isinstance(reply.content[0], TextContent)
    return reply.content[0].text


async def result_id(client: Client, image: str) -> str:
    reply = await client.call_tool("detect_objects", {"image": image, "prompts": ["dog", "cat"]})
    return str((reply.structured_content or {})["result_id"])


@pytest.mark.parametrize(
    ("tool", "arguments", "expected"),
    [
        ("visualize", {}, "Drawn: 2 objects"),
        ("zoom", {"object": 1}, "Object 1 dog"),
        ("describe_regions", {}, "caption of dog"),
        ("export_objects", {"format": "crops"}, "crop.jpg"),
    ],
)
@pytest.mark.slow
async def test_a_result_of_one_server_is_used_through_the_other(
    tmp_path: Path, image: str, tool: str, arguments: dict[str, Any], expected: str
) -> None:
    async with servers(tmp_path / "store") as (one, two):
        reply = await two.call_tool(tool, {"result": await result_id(one, image), **arguments})
    assert not reply.is_error, text_of(reply)
    assert expected in str(reply)


@pytest.mark.slow
async def test_resources_of_one_server_are_read_through_the_other(tmp_path: Path, image: str) -> None:
    async with servers(tmp_path / "store") as (one, two):
        uri = f"dinox://results/{await result_id(one, image)}"
        mine, other = [(await client.read_resource(uri)).contents[0] for client in (one, two)]
        drawn = [(await client.read_resource(f"{uri}/annotated.png")).contents[0] for client in (one, two)]
    assert isinstance(mine, TextResourceContents)
    assert json.loads(mine.text)["counts"] == {"dog": 1, "cat": 1}
    assert mine == other
    assert drawn[0] == drawn[1]


@pytest.mark.slow
async def test_a_comparison_and_an_example_work_through_the_other(tmp_path: Path) -> None:
    async with detector(tmp_path / "store") as one, detector(tmp_path / "store") as two:
        scene = Picture.from_bytes((Path(__file__).parents[2] / "examples" / "sample.png").read_bytes())
        made = await one.compare(scene, scene)
        assert await two.comparisons.get(made.comparison_id) == made
        assert (await two.comparisons.side_by_side(made.comparison_id))[:2] == b"\xff\xd8"


async def test_an_uploaded_image_is_found_by_the_other_for_its_caller(tmp_path: Path) -> None:
    async with detector(tmp_path / "store") as one, detector(tmp_path / "store") as two:
        uri = await one.upload(png(), Caller.with_key("alice"))
        assert (await two.load(uri, Caller.with_key("alice"))).width == 100
        with pytest.raises(NotFoundError):
            await two.load(uri, Caller.with_key("bob"))


async def test_everything_about_the_image_comes_along(tmp_path: Path) -> None:
    page = Picture(png(), 100, 100, "PNG", "report.pdf#page=2", "page 2 of 3 of a PDF", 2.0)
    async with detector(tmp_path / "store") as one, detector(tmp_path / "store") as two:
        made = await one.detect(page, "dog")
        found = await two.fetch(made.result_id)
    assert found.result == made
    assert found.picture.notes == page.notes
    assert vars(found.picture) == vars(page)


async def test_nobody_else_reads_a_result(tmp_path: Path) -> None:
    async with detector(tmp_path / "store") as one, detector(tmp_path / "store") as two:
        made = await one.detect(picture(), "dog", caller=Caller(tenant="alice"))
        with pytest.raises(NotFoundError, match="there is no result"):
            await two.fetch(made.result_id)


async def test_a_result_is_read_from_the_store_once(tmp_path: Path) -> None:
    async with detector(tmp_path / "store") as one, detector(tmp_path / "store") as two:
        made = await one.detect(picture(), "dog")
        first = await two.fetch(made.result_id)
        for file in (tmp_path / "store").rglob("*-*"):
            file.unlink()
        assert await two.fetch(made.result_id) == first == two.result(made.result_id)


async def test_an_image_that_is_gone_is_no_result(tmp_path: Path) -> None:
    async with detector(tmp_path / "store") as one, detector(tmp_path / "store") as two:
        made = await one.detect(picture(), "dog")
        for file in (tmp_path / "store").rglob("image-*"):
            file.unlink()
        with pytest.raises(NotFoundError, match="there is no result"):
            await two.fetch(made.result_id)


async def test_a_result_of_another_version_is_one_clear_error(tmp_path: Path) -> None:
    async with detector(tmp_path / "store") as one, detector(tmp_path / "store") as two:
        made = await one.detect(picture(), "dog")
        shared = two._shared
        assert shared
        shared.put("", "result", "abc", json.dumps({"result": made.model_dump(mode="json"), "new": 1}).encode())
        with pytest.raises(
            NotFoundError, match="the result 'abc' is damaged in the shared store, or of another version"
        ):
            await two.fetch("abc")


async def test_a_store_that_fails_costs_a_note_and_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    redis_server = fakeredis.FakeServer()
    monkeypatch.setattr(
        redis, "Redis", type("Redis", (), {"from_url": lambda *_, **__: fakeredis.FakeRedis(server=redis_server)})
    )
    async with detector("redis://store.example:6379") as one, detector("redis://store.example:6379") as two:
        made = await one.detect(picture(), "dog")
        assert (await two.fetch(made.result_id)).result == made
        redis_server.connected = False
        alone = await one.detect(picture(50, 50), "dog")
        assert (
            "only the server that made this result can read it later: the shared store at redis://" in alone.notes[-1]
        )
        assert (await one.fetch(alone.result_id)).result == alone
        with pytest.raises(UnreachableError, match="does not work"):
            await two.fetch(alone.result_id)
