"""Arguments as real clients send them: what they mean, what is ignored, and what is refused in one line."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from mcp.types import CallToolResult

from dinox_mcp.backends.base import Capabilities
from dinox_mcp.detector import Detector
from dinox_mcp.errors import InputError
from dinox_mcp.server.app import build_server
from dinox_mcp.server.arguments import MAX_ITEMS, MAX_TEXT, normalize
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import Need
from tests.fakes import FakeBackend, png
from tests.server.conftest import Connect
from tests.server.test_tools import data_of, text_of

pytestmark = pytest.mark.anyio

NULLS = dict.fromkeys(("min_score", "iou_threshold", "max_objects", "include", "tiles", "model"))
BLANKS: dict[str, object] = {"min_score": "", "iou_threshold": "", "include": [], "model": "", "tiles": None}


@pytest.fixture
def photo(tmp_path: Path) -> str:
    path = tmp_path / "photo.png"
    path.write_bytes(png(100, 100))
    return str(path)


async def call(connect: Connect, tool: str, arguments: dict[str, Any], photo: str) -> CallToolResult:
    """Call a tool with PHOTO in place; RESULT stands for the id of a result of that picture."""
    async with connect() as client:
        result = ""
        if "RESULT" in json.dumps(arguments):
            result = data_of(await client.call_tool("detect_prompt_free", {"image": photo}))["result_id"]
        text = json.dumps(arguments).replace("PHOTO", photo).replace("RESULT", result)
        return await client.call_tool(tool, json.loads(text))


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("detect_objects", {"image": "PHOTO", "prompts": "dog", **NULLS}),
        ("detect_objects", {"image": "PHOTO", "prompts": "dog", **BLANKS}),
        ("detect_prompt_free", {"image": "PHOTO", **NULLS}),
        ("count_objects", {"image": "PHOTO", "prompts": [], "examples": [{"bbox": [1, 2, 30, 40]}]}),
        ("count_objects", {"image": "PHOTO", "prompts": "dog", "examples": [{"bbox": [], "saved": ""}], "tiles": 0}),
        ("count_objects", {"image": "PHOTO", "prompts": "dog", "tiles": None, "examples": None}),
        ("detect_by_example", {"image": "PHOTO", "examples": [{"bbox": [1, 2, 30, 40], "saved": "", "object": 0}]}),
        ("detect_by_example", {"image": "PHOTO", "examples": [{"bbox": [1, 2, 30, 40], "point": [0, 0]}]}),
        ("detect_by_example", {"image": "PHOTO", "examples": [{"bbox": [1, 2, 30, 40], "negative": None}]}),
        ("detect_by_example", {"image": "PHOTO", "examples": ['{"bbox": [1, 2, 30, 40]}']}),
        ("detect_by_example", {"image": "PHOTO", "examples": '[{"bbox": "[1, 2, 30, 40]", "object": "null"}]'}),
        ("detect_by_example", {"image": "PHOTO", "examples": {"point": "5, 6"}}),
        ("describe_regions", {"image": "PHOTO", "boxes": [1, 2, 30, 40], "object": [], "result": ""}),
        ("describe_regions", {"image": "", "boxes": [], "result": "RESULT", "object": "1,2"}),
        ("visualize", {"image": "", "objects": [], "result": "RESULT", "object": "1,2", "opacity": None}),
        ("visualize", {"result": "RESULT", "show": "boxes,numbers", "labels": "dog, cat", "object": 0}),
        ("visualize", {"image": "PHOTO", "objects": '[{"bbox": [1, 2, 30, 40], "id": 0, "score": null}]'}),
        ("zoom", {"image": "", "bbox": [], "result": "RESULT", "object": 1, "padding": None}),
        ("zoom", {"image": None, "bbox": [0, 0, 0, 0], "result": "RESULT", "object": "2"}),
        ("zoom", {"image": "PHOTO", "bbox": "[1, 2, 30, 40]", "result": "null", "object": 0}),
        ("zoom", {"image": "PHOTO", "bbox": "1,2,30,40"}),
    ],
)
@pytest.mark.slow
async def test_what_clients_send_for_the_unused_and_the_nested_is_understood(
    connect: Connect, backend: FakeBackend, photo: str, tool: str, arguments: dict[str, Any]
) -> None:
    backend.able = Capabilities(answers=frozenset(get_args(Need)))
    reply = await call(connect, tool, arguments, photo)
    assert not reply.is_error, text_of(reply)


@pytest.mark.slow
async def test_null_means_the_default(connect: Connect, backend: FakeBackend, photo: str) -> None:
    await call(connect, "detect_objects", {"image": "PHOTO", "prompts": "dog", **NULLS}, photo)
    await call(connect, "detect_objects", {"image": "PHOTO", "prompts": "dog"}, photo)
    (_, nulls, *_), (_, absent, *_) = backend.asked
    assert nulls == absent


@pytest.mark.parametrize("name", ["toolCallId", "sessionId", "_sessionID", "chatInput", "action", "_meta", "task"])
@pytest.mark.slow
async def test_what_a_client_adds_to_every_call_is_ignored(connect: Connect, photo: str, name: str) -> None:
    for tool, more in (("detect_objects", {"prompts": "dog"}), ("detect_prompt_free", {})):
        reply = await call(connect, tool, {"image": "PHOTO", **more, name: "x" * 10}, photo)
        assert not reply.is_error, text_of(reply)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("promts", "prompts"), ("minScore", "min_score"), ("threshold", "min_score"), ("images", "image")],
)
@pytest.mark.slow
async def test_a_near_miss_of_a_name_is_refused(connect: Connect, photo: str, name: str, meant: str) -> None:
    reply = await call(connect, "detect_objects", {"image": "PHOTO", "prompts": "dog", name: 0.5}, photo)
    assert reply.is_error
    assert f"did you mean {meant!r}?" in text_of(reply)


async def test_items_of_a_list_of_prompts_are_whole(connect: Connect, backend: FakeBackend, photo: str) -> None:
    prompts = ["U.S. flag", "Dr. Pepper can", "Coca-Cola, 0.33l can"]
    await call(connect, "detect_objects", {"image": "PHOTO", "prompts": prompts}, photo)
    assert backend.asked[0][1].prompts == tuple(prompts)


async def test_the_vendors_prompt_free_prompt_names_nothing(connect: Connect, backend: FakeBackend, photo: str) -> None:
    await call(connect, "detect_objects", {"image": "PHOTO", "prompts": "<prompt_free>"}, photo)
    assert backend.asked[0][1].prompts is None


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("zoom", {"image": "PHOTO", "bbox": [50, 60, 20, 10]}),
        ("describe_regions", {"image": "PHOTO", "boxes": [[1, 2, 30, 40], [50, 60, 20, 10]]}),
        ("visualize", {"image": "PHOTO", "objects": [{"bbox": [50, 60, 20, 10]}]}),
        ("detect_by_example", {"image": "PHOTO", "examples": [{"bbox": [50, 60, 20, 10]}]}),
    ],
)
async def test_a_box_by_its_size_is_refused_with_the_right_form(
    connect: Connect, backend: FakeBackend, photo: str, tool: str, arguments: dict[str, Any]
) -> None:
    backend.able = Capabilities(answers=frozenset(get_args(Need)))
    reply = await call(connect, tool, arguments, photo)
    assert reply.is_error
    assert re.search(r"x_max.*\[x, y, width, height\], pass \[50(\.0)?, 60(\.0)?, 70(\.0)?, 70(\.0)?\]", text_of(reply))
    assert "\n" not in text_of(reply)


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("detect_objects", {"prompts": [[]] * 7_000_000}, "prompts has 7000000 items, more than 1000"),
        ("detect_objects", {"prompts": "." * 200_000}, "prompts has 200000 characters"),
        ("detect_objects", {"prompts": [{"a": 1}] * MAX_ITEMS}, r"prompts\[0\]: .*valid string"),
        ("detect_objects", {"prompts": "dog", "include": ["x"] * 400_000}, "include has 400000 items"),
        ("detect_objects", {"prompts": "dog", "include": f"[{'[],' * 300_000}[]]"}, "include holds more than 20000"),
        ("detect_by_example", {"examples": [0] * 1_000_000}, "examples has 1000000 items"),
        ("detect_by_example", {"examples": [{"bbox": [1] * 1_000_000}]}, r"examples\[0\].bbox: .*at most 4 items"),
        ("describe_regions", {"boxes": [[0]] * 600_000}, "boxes has 600000 items"),
        ("visualize", {"object": [1] * 60_000}, "object has 60000 items"),
        ("visualize", {"objects": [{"bbox": [1, 2, 3, 4]}] * 200_000}, "objects has 200000 items"),
        ("visualize", {"objects": [{str(i): 1 for i in range(1000)}]}, r"objects\[0\] has 1000 names"),
        ("detect_objects", {"description": "x" * 10_000_000}, "description has 10000000 characters"),
    ],
)
@pytest.mark.slow
async def test_what_is_too_large_is_refused_before_it_is_looked_through(
    backend: FakeBackend, photo: str, tool: str, arguments: dict[str, Any], message: str
) -> None:
    async with Detector(Settings.load(backend=backend.name), backends=[backend]) as detector:
        server = build_server(detector)
        reply = await server.call_tool(tool, {"image": photo, **arguments})
    assert isinstance(reply, CallToolResult)
    assert reply.is_error
    text = text_of(reply)
    assert re.search(message, text)
    assert len(text) < 1000
    assert "\n" not in text


SCHEMA = {
    "properties": {"names": {"type": "array", "items": {"type": "string"}, "default": []}, "image": {"type": "string"}},
    "required": ["image"],
}


def test_a_picture_may_be_long_and_no_other_string() -> None:
    long = "data:" + "x" * MAX_TEXT
    assert normalize({"image": long}, SCHEMA) == {"image": long}
    with pytest.raises(InputError, match=r"names\[0\] has 100005 characters"):
        normalize({"image": "", "names": [long]}, SCHEMA)


def test_a_required_argument_stays_however_empty_it_is() -> None:
    assert normalize({"image": "", "names": ["", None]}, SCHEMA) == {"image": ""}
