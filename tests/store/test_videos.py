"""Results of videos are kept for their tenants, and their files are read through any server."""

from pathlib import Path

import pytest

from dinox_mcp.errors import NotFoundError
from dinox_mcp.store import kept
from dinox_mcp.store.areas import Folder
from dinox_mcp.store.shared import SharedStore
from dinox_mcp.store.videos import Videos
from dinox_mcp.types.video import VideoFiles
from tests.fakes import VIDEO

pytestmark = pytest.mark.anyio


async def test_results_of_many_callers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "KEPT_OF_ALL", 2)
    videos = Videos()
    for tenant in ("a", "b", "c"):
        await videos.put(VIDEO, tenant)
    assert await videos.get(VIDEO.result_id, "c") == VIDEO
    with pytest.raises(NotFoundError, match="no result 'abc' of a video"):
        await videos.get(VIDEO.result_id, "a")


def shared(folder: Path) -> SharedStore:
    return SharedStore(Folder(folder), 100, 1_000_000, 60)


async def test_another_server_reads_the_result_and_its_files(tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.jpg"
    sheet.write_bytes(b"a sheet")
    made = VIDEO.model_copy(update={"files": VideoFiles(sheet=str(sheet))})
    here, there = (Videos(shared(tmp_path / "store")) for _ in range(2))
    await here.put(made, "alice")
    sheet.unlink()
    assert await there.get(VIDEO.result_id, "alice") == made
    assert there.file(VIDEO.result_id, "sheet", "alice") == b"a sheet"
    with pytest.raises(NotFoundError, match="has no video file"):
        there.file(VIDEO.result_id, "video", "alice")
    with pytest.raises(NotFoundError, match="there is no result 'abc' of a video"):
        there.file(VIDEO.result_id, "sheet", "bob")


async def test_the_paths_of_another_server_are_not_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"of this machine")
    made = VIDEO.model_copy(update={"files": VideoFiles(sheet=str(secret))})
    store = shared(tmp_path / "store")
    store.put("", "video", VIDEO.result_id, made.model_dump_json().encode())
    with pytest.raises(NotFoundError, match="has no sheet file"):
        Videos(store).file(VIDEO.result_id, "sheet")


async def test_a_shared_store_that_fails_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    videos = Videos(shared(tmp_path / "file"))
    noted = await videos.put(VIDEO)
    assert "only the server that made this result can read it later: the shared store" in noted.notes[0]
    assert await videos.get(VIDEO.result_id) == VIDEO
