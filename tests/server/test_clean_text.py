"""Text from outside is harmless in replies, and folders of the server are not named to callers elsewhere."""

from pathlib import Path

import pytest

from dinox_mcp.detector import Detector
from dinox_mcp.server.app import build_server
from dinox_mcp.settings import Settings
from tests.fakes import FakeBackend, png
from tests.server.conftest import Connect
from tests.server.test_tools import data_of, text_of

HOSTILE = "cat\x1b[31m\u202e\u2028x"


@pytest.mark.anyio
async def test_notes_and_errors_are_clean(connect: Connect, backend: FakeBackend, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(png())
    backend.notes = (f"nobody knows {HOSTILE}",)
    async with connect() as client:
        reply = await client.call_tool("detect_prompt_free", {"image": str(tmp_path / "photo.png")})
        error = await client.call_tool("detect_prompt_free", {"image": f"/nowhere/{HOSTILE}.png"})
    assert r"nobody knows cat\u001b[31m\u202e\u2028x" in text_of(reply)
    assert all(note.isprintable() for note in data_of(reply)["notes"])
    assert error.is_error
    assert text_of(error).isprintable()


@pytest.mark.parametrize(("transport", "named"), [("stdio", True), ("http", False)])
def test_errors_name_folders_only_to_the_user_of_this_machine(transport: str, named: bool) -> None:
    server = build_server(Detector(Settings.load(transport=transport, backend="embedded")))
    assert (str(Path.home()) in server.clean(f"no such file {Path.home()}/x.png")) is named
