"""Hosts cut long texts in the middle or at the end: what matters most stands at the head."""

from pathlib import Path

import pytest
from mcp.types import TextContent

from dinox_mcp.types.detection import Detection
from tests.fakes import FakeBackend, png
from tests.server.conftest import Connect

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("objects", "named_twice"), [(5, False), (400, True)])
async def test_the_head_of_a_long_text_names_the_result(
    connect: Connect, backend: FakeBackend, tmp_path: Path, objects: int, *, named_twice: bool
) -> None:
    (tmp_path / "crowd.png").write_bytes(png(1000, 1000))
    boxes = [(float(x), float(y), x + 9.0, y + 9.0) for x in range(0, 1000, 40) for y in range(0, 1000, 40)][:objects]
    backend.answer = [Detection(label="a screw of the kind that is wanted " * 2, bbox=box, score=0.9) for box in boxes]
    async with connect() as client:
        arguments = {"image": str(tmp_path / "crowd.png"), "max_objects": 1000}
        reply = await client.call_tool("detect_prompt_free", arguments)
    (block,) = reply.content
    assert isinstance(block, TextContent)
    assert reply.structured_content
    name = f"Result id: {reply.structured_content['result_id']}"
    assert (name in block.text[:300]) == named_twice
    assert name in block.text[-500:]
