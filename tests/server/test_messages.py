"""Bounds of whole messages, of the names that replies repeat, and the line that is logged of a request."""

import json
import logging
from pathlib import Path

import pytest
from mcp import MCPError
from mcp.types import JSONRPCError, JSONRPCRequest, PromptReference

from dinox_mcp.server.limits import MAX_TEXT_BYTES, MAX_VALUES, parse, refusal, too_large
from tests.fakes import png
from tests.server.conftest import Connect

PICTURE = "data:image/png;base64," + "A" * 3_000_000


def message(**arguments: object) -> bytes:
    params = {"name": "detect_objects", "arguments": arguments}
    return json.dumps({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params}).encode()


def test_pictures_do_not_count_as_text() -> None:
    assert too_large(message(image=PICTURE, prompts="dog")) is None
    assert isinstance(parse(message(image=PICTURE, prompts="dog")), JSONRPCRequest)
    nested = json.dumps([{"image": PICTURE, "bbox": [1, 2, 3, 4]}])
    assert too_large(message(image=PICTURE, examples=nested)) is None


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"image": "A" * MAX_TEXT_BYTES}, "bytes beside its images"),
        ({"image": PICTURE, "objects": [{"bbox": [1, 2, 3, 4]}] * 100_000}, "bytes beside its images"),
        ({"prompts": [[]] * (MAX_VALUES // 2 + 1)}, "values, more than 100000"),
        ({"prompts": ['"data:'] * 500_000}, "bytes beside its images"),
    ],
)
def test_what_is_too_large_is_refused_under_its_id(arguments: dict[str, object], reason: str) -> None:
    answer = parse(message(**arguments))
    assert isinstance(answer, JSONRPCError)
    assert answer.id == 5
    assert reason in answer.error.message


@pytest.mark.parametrize(
    ("raw", "known"),
    [
        (b'{"jsonrpc":"2.0","id":12,"method":"x"', 12),
        (b'{"id": "a-1", "method":', "a-1"),
        (b'{"method":"x","params":{"id":3},"jsonrpc":"2.0","id":4}', 4),
        (b'{"method":"x","params":{"id":3', None),
        (b"", None),
    ],
)
def test_an_answer_goes_to_the_id_that_can_be_read(raw: bytes, known: object) -> None:
    assert refusal(raw, "why").id == known


@pytest.mark.anyio
async def test_what_replies_repeat_is_short(connect: Connect) -> None:
    async with connect() as client:
        ref = PromptReference(name="count_objects")
        with pytest.raises(MCPError, match="what is to be completed has 10000000 characters, more than 1000"):
            await client.complete(ref, {"name": "what", "value": "x" * 10_000_000})
        with pytest.raises(MCPError, match=r"the uri has \d+ characters"):
            await client.read_resource("dinox://results/" + "x" * 2000)


@pytest.mark.anyio
async def test_the_outcome_of_each_request_is_logged_in_a_line(
    connect: Connect, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "photo.png").write_bytes(png())
    with caplog.at_level(logging.INFO, "dinox_mcp"):
        async with connect() as client:
            await client.call_tool("detect_prompt_free", {"image": str(tmp_path / "photo.png")})
            await client.call_tool("detect_prompt_free", {"image": "data:image/png;base64,SECRET"})
    lines = [record.getMessage() for record in caplog.records if record.name == "dinox_mcp.server.requests"]
    calls = [line for line in lines if line.startswith("tools/call")]
    assert calls[0].startswith("tools/call detect_prompt_free answered in ")
    assert calls[1].startswith("tools/call detect_prompt_free refused: ")
    assert not any("\n" in line or "SECRET" in line for line in lines)
