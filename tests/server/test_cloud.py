"""The whole way of a call over the cloud backend: assistant, server, API (emulated), and back."""

import base64
import io
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import httpx2
import numpy as np
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import BlobResourceContents, CallToolResult, TextContent
from PIL import Image

from dinox_mcp.detector import Detector
from dinox_mcp.server.app import build_server
from dinox_mcp.settings import Settings
from tests.emulator import Emulator
from tests.fakes import png
from tests.server.conftest import Start

pytestmark = pytest.mark.anyio


def data_of(reply: CallToolResult) -> dict[str, Any]:
    assert reply.structured_content is not None, reply.content
    return reply.structured_content


@pytest.mark.slow
async def test_a_large_picture_is_answered_in_its_own_pixels_with_masks(emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(png(4000, 3000))
    settings = Settings.load(api_key=emulator.key, api_base_url=emulator.url)
    async with Detector(settings) as detector, Client(build_server(detector)) as client:
        arguments = {"image": str(tmp_path / "photo.png"), "prompts": "dog, red car", "include": ["masks"]}
        data = data_of(await client.call_tool("detect_objects", arguments))
        (mask,) = (await client.read_resource(f"dinox://results/{data['result_id']}/objects/1/mask.png")).contents
    assert data["backend"] == "dinox"
    assert data["image"] == {"width": 4000, "height": 3000}
    assert {found["label"] for found in data["objects"]} == {"dog", "red car"}
    assert isinstance(mask, BlobResourceContents)
    bits = np.asarray(Image.open(io.BytesIO(base64.b64decode(mask.blob))).convert("L")) > 0
    rows, columns = np.nonzero(bits)
    left, top, right, bottom = data["objects"][0]["bbox"]
    assert bits.shape == (3000, 4000)
    assert (columns.min(), rows.min()) == pytest.approx((left, top), abs=6)
    assert (columns.max(), rows.max()) == pytest.approx((right, bottom), abs=6)
    assert data["objects"][0]["mask_area"] == bits.sum()


@pytest.mark.slow
async def test_what_is_found_is_told_of_with_poses_and_captions(emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(png(4000, 3000))
    settings = Settings.load(api_key=emulator.key, api_base_url=emulator.url)
    async with Detector(settings) as detector, Client(build_server(detector)) as client:
        arguments = {
            "image": str(tmp_path / "photo.png"),
            "prompts": ["person", "dog"],
            "include": ["pose", "caption", "category"],
        }
        data = data_of(await client.call_tool("detect_objects", arguments))
    person, dog = data["objects"]
    assert person["caption"] == "a thing from 10% 20% to 50% 60%"
    assert (person["category"], dog["category"]) == ("thing 0", "thing 1")
    assert emulator.asked == ["dinox/detection", "dinox/region_vl"]


@pytest.mark.slow
async def test_an_example_is_searched_kept_and_asked_again(emulator: Emulator, tmp_path: Path) -> None:
    picture = Image.new("RGB", (1600, 1200), "white")
    for place in ((100, 100), (700, 500), (1500, 1100)):
        picture.paste("red", (*place, place[0] + 60, place[1] + 60))
    picture.save(tmp_path / "dots.png")
    (tmp_path / "red.png").write_bytes(png(50, 50, "red"))
    settings = Settings.load(api_key=emulator.key, api_base_url=emulator.url, prompts_folder=tmp_path)
    image = {"image": str(tmp_path / "dots.png")}
    shown = {"image": str(tmp_path / "red.png"), "point": [25, 25], "label": "dot"}
    async with Detector(settings) as detector, Client(build_server(detector)) as client:
        data = data_of(await client.call_tool("detect_by_example", image | {"examples": [shown]}))
        await client.call_tool("save_prompt", image | {"name": "dot", "examples": [shown]})
        again = data_of(await client.call_tool("detect_by_example", image | {"examples": [{"saved": "dot"}]}))
    assert data["model"] == again["model"] == "T-Rex-2.0"
    assert data["counts"] == again["counts"] == {"dot": 3}


@pytest.mark.parametrize("model", ["GroundingDino-1.6-Edge", "grounding dino 1.6 edge"])
@pytest.mark.slow
async def test_a_model_is_chosen_by_name(emulator: Emulator, tmp_path: Path, model: str) -> None:
    (tmp_path / "photo.png").write_bytes(png(300, 200))
    settings = Settings.load(api_key=emulator.key, api_base_url=emulator.url)
    async with Detector(settings) as detector, Client(build_server(detector)) as client:
        arguments = {"image": str(tmp_path / "photo.png"), "prompts": ["dog"], "model": model}
        data = data_of(await client.call_tool("detect_objects", arguments))
    assert data["model"] == "GroundingDino-1.6-Edge"
    assert emulator.asked == ["grounding_dino/detection"]


async def test_the_same_question_is_paid_once(emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(png(300, 200))
    settings = Settings.load(api_key=emulator.key, api_base_url=emulator.url)
    async with Detector(settings) as detector, Client(build_server(detector)) as client:
        arguments = {"image": str(tmp_path / "photo.png"), "prompts": ["dog"]}
        replies = [data_of(await client.call_tool("detect_objects", arguments)) for _ in range(3)]
    assert [reply.get("cached", False) for reply in replies] == [False, True, True]
    assert emulator.stats().paid == 1


async def test_a_folder_is_paid_once_for_each_different_image_and_never_again(
    emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for name, width in (("one", 300), ("two", 310), ("copy of one", 300)):
        (tmp_path / "photos" / f"{name}.png").write_bytes(png(width, 200))
    settings = Settings.load(api_key=emulator.key, api_base_url=emulator.url, jobs_folder=tmp_path / "jobs")
    for _ in range(2):
        async with Detector(settings) as detector:
            result = await detector.search(str(tmp_path / "photos"), ["dog"])
    assert (result.backend, result.done, result.copies, result.calls) == ("dinox", 3, 1, 0)
    assert emulator.stats().paid == 2


@pytest.mark.slow
async def test_a_call_that_is_cancelled_stops_and_its_task_is_picked_up_later(
    emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "photo.png").write_bytes(png(300, 200))
    emulator.model_time = 0.4
    settings = Settings.load(api_key=emulator.key, api_base_url=emulator.url)
    arguments = {"image": str(tmp_path / "photo.png"), "prompts": ["dog"]}
    async with Detector(settings) as detector, Client(build_server(detector)) as client:
        with anyio.move_on_after(0.2) as scope:
            await client.call_tool("detect_objects", arguments)
        assert scope.cancelled_caught
        await anyio.sleep(0.3)
        polls = emulator.stats().polls
        await anyio.sleep(0.2)
        assert emulator.stats().polls == polls
        data_of(await client.call_tool("detect_objects", arguments))
    assert emulator.stats().paid == 1


async def test_a_wrong_key_is_answered_with_the_remedy_and_never_shown(emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(png(300, 200))
    settings = Settings.load(api_key="secret-4711", api_base_url=emulator.url)
    async with Detector(settings) as detector, Client(build_server(detector)) as client:
        reply = await client.call_tool("detect_objects", {"image": str(tmp_path / "photo.png"), "prompts": ["dog"]})
    assert reply.is_error
    assert isinstance(reply.content[0], TextContent)
    assert "DINOX_API_KEY" in reply.content[0].text
    assert "secret-4711" not in str(reply)


async def test_the_key_is_in_no_log(emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "photo.png").write_bytes(png(300, 200))
    settings = Settings.load(api_key=emulator.key, api_base_url=emulator.url, log_level="debug")
    with caplog.at_level("DEBUG"):
        async with Detector(settings) as detector, Client(build_server(detector)) as client:
            data_of(await client.call_tool("detect_objects", {"image": str(tmp_path / "photo.png"), "prompts": "dog"}))
    assert "httpcore2" in caplog.text
    assert emulator.key not in caplog.text


@pytest.mark.slow
async def test_clients_over_http_bring_their_own_keys_at_the_same_time(emulator: Emulator, start: Start) -> None:
    emulator.keys = {f"key-{number}" for number in range(4)}
    server = start(DINOX_API_BASE_URL=emulator.url)
    seen: dict[str, list[str]] = {}

    async def ask(key: str, number: int) -> None:
        uri = f"data:image/png;base64,{base64.b64encode(png(200 + number, 100)).decode()}"
        async with (
            httpx2.AsyncClient(headers={"X-DINOX-API-Key": key}, timeout=30) as http,
            Client(streamable_http_client(server.url, http_client=http)) as client,
        ):
            data = data_of(await client.call_tool("detect_objects", {"image": uri, "prompts": ["dog"]}))
            assert data["image"]["width"] == 200 + number
            seen.setdefault(key, []).append(data["result_id"])

    async with anyio.create_task_group() as group:
        for number in range(12):
            group.start_soon(ask, f"key-{number % 4}", number)
    assert Counter({key: len(ids) for key, ids in seen.items()}) == {f"key-{n}": 3 for n in range(4)}
    assert {key: emulator.stats(key).paid for key in seen} == {f"key-{n}": 3 for n in range(4)}
