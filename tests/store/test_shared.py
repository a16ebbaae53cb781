"""A shared store keeps bytes for several servers, in a folder or in Redis: bounded, for a while, for each tenant."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import fakeredis
import pytest
from pydantic import SecretStr

from dinox_mcp.errors import NotFoundError, SettingsError, UnreachableError
from dinox_mcp.settings import Settings
from dinox_mcp.store import areas
from dinox_mcp.store.areas import Area, Folder, InRedis
from dinox_mcp.store.shared import UPLOADED_S, SharedStore, open_shared

Connect = Callable[[], Area]
MEGABYTE = 1_000_000


@pytest.fixture(params=["folder", "redis"])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Connect:
    """Give a function that opens the same area anew, as another server does."""
    if request.param == "folder":
        return lambda: Folder(tmp_path / "store")
    server = fakeredis.FakeServer()
    return lambda: InRedis("redis://fake", fakeredis.FakeRedis(server=server))


def store(area: Area, max_items: int = 100, max_bytes: int = MEGABYTE, keep_s: float = 60) -> SharedStore:
    return SharedStore(area, max_items, max_bytes, keep_s)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Give a function that lets time pass for the store, though not for Redis."""
    passed = [0.0]
    now = time.time
    monkeypatch.setattr(areas.time, "time", lambda: now() + passed[0])
    return lambda seconds: passed.__setitem__(0, passed[0] + seconds)


def test_another_server_reads_what_one_has_put(connect: Connect) -> None:
    store(connect()).put("alice", "result", "abc", b"\0bytes\n")
    assert store(connect()).get("alice", "result", "abc") == b"\0bytes\n"


@pytest.mark.parametrize(
    ("tenant", "kind", "name"),
    [("bob", "result", "abc"), ("", "result", "abc"), ("alice", "image", "abc"), ("alice", "result", "abd")],
)
def test_nothing_else_reads_it(connect: Connect, tenant: str, kind: str, name: str) -> None:
    store(connect()).put("alice", "result", "abc", b"bytes")
    assert store(connect()).get(tenant, kind, name) is None


@pytest.mark.parametrize("name", ["", "../own/result-abc", "ABC", "a/b", "a" * 65, "a\0b", "*"])
def test_a_name_that_leads_elsewhere_is_not_there(connect: Connect, name: str) -> None:
    shared = store(connect())
    shared.put("", "result", "abc", b"bytes")
    assert shared.get("", "result", name) is None


def test_the_user_of_this_machine_is_not_a_caller_without_a_key(connect: Connect) -> None:
    SharedStore(connect(), 10, MEGABYTE, 60).put("", "result", "abc", b"bytes")
    assert SharedStore(connect(), 10, MEGABYTE, 60, remote=True).get("", "result", "abc") is None


def test_what_is_kept_for_long_enough_is_gone(tmp_path: Path, clock: Callable[[float], None]) -> None:
    shared = store(Folder(tmp_path), keep_s=60)
    shared.put("", "result", "abc", b"bytes")
    clock(59)
    assert shared.get("", "result", "abc") == b"bytes"
    clock(2)
    assert shared.get("", "result", "abc") is None


def test_redis_itself_removes_what_is_kept_for_long_enough() -> None:
    client = fakeredis.FakeRedis()
    shared = store(InRedis("redis://fake", client), keep_s=3600)
    shared.put("", "result", "abc", b"bytes")
    shared.put("", "upload", "abc", b"bytes")
    left = {key.decode().rpartition("/")[2]: client.ttl(key) for key in client.keys("*-abc")}
    assert 3590 < left["result-abc"] <= 3600
    assert UPLOADED_S - 10 < left["upload-abc"] <= UPLOADED_S


def test_an_item_that_is_put_again_is_kept_for_longer(tmp_path: Path) -> None:
    shared = store(Folder(tmp_path), keep_s=60)
    shared.put("", "image", "abc", b"bytes")
    path = next(tmp_path.glob("*/*/*"))
    os.utime(path, (time.time() - 50, time.time() - 50))
    shared.put("", "image", "abc", b"bytes")
    assert time.time() - path.stat().st_mtime < 30


def test_too_many_items_lose_those_of_whoever_has_most(connect: Connect) -> None:
    shared = store(connect(), max_items=10)
    shared.put("alice", "result", "mine", b"x")
    for number in range(30):
        shared.put("bob", "result", f"{number}", b"x")
    assert shared.get("alice", "result", "mine") == b"x"
    assert shared.get("bob", "result", "29") == b"x"
    assert len(connect().items()) <= 10


def test_the_oldest_leaves_first(tmp_path: Path) -> None:
    shared = store(Folder(tmp_path), max_items=2)
    for age, name in ((20, "b"), (30, "a")):
        shared.put("", "result", name, b"x")
        os.utime(tmp_path / "known" / "own" / f"result-{name}", (time.time() - age, time.time() - age))
    shared.put("", "result", "c", b"x")
    assert [shared.get("", "result", name) for name in "abc"] == [None, b"x", b"x"]


def test_too_many_bytes_lose_others_and_the_newest_stays(connect: Connect) -> None:
    shared = store(connect(), max_bytes=1000)
    for name in ("a", "b", "c"):
        shared.put("", "image", name, name.encode() * 600)
    assert shared.get("", "image", "c") == b"c" * 600
    assert len(connect().items()) == 1


def test_invented_tenants_count_as_one_and_displace_nobody(connect: Connect) -> None:
    shared = store(connect(), max_items=20)
    shared.put("alice", "result", "mine", b"x")
    for number in range(50):
        shared.put(f"invented{number}", "result", "a", b"x", known=False)
    assert shared.get("alice", "result", "mine") == b"x"
    assert shared.get("invented49", "result", "a") == b"x"
    assert len(connect().items()) <= 20


@pytest.mark.parametrize("content", [b"", b"short", b"\x80\x04K\x01." * 20])
def test_a_damaged_item_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    shared = store(Folder(tmp_path))
    shared.put("", "result", "abc", b"bytes")
    next(tmp_path.glob("*/*/*")).write_bytes(content)
    with pytest.raises(NotFoundError, match=r"the result 'abc' is damaged in the shared store.*; make it again"):
        shared.get("", "result", "abc")


def test_files_that_are_not_ours_are_not_touched(tmp_path: Path) -> None:
    others = [tmp_path / "photos" / "2024" / "a.jpg", tmp_path / "known" / "own" / "Notes.txt"]
    for other in others:
        other.parent.mkdir(parents=True)
        other.write_bytes(b"x" * 2000)
        os.utime(other, (0, 0))
    shared = store(Folder(tmp_path), max_items=2, max_bytes=1000)
    for name in "abcdef":
        shared.put("", "result", name, b"x")
    assert all(other.exists() for other in others)


def test_what_a_process_left_unfinished_is_removed_in_time(tmp_path: Path) -> None:
    old, new = (tmp_path / "known" / "own" / f".{digit * 16}.tmp" for digit in "01")
    old.parent.mkdir(parents=True)
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    store(Folder(tmp_path)).put("", "result", "abc", b"bytes")
    assert (old.exists(), new.exists()) == (False, True)


@pytest.mark.skipif(os.name != "posix", reason="modes of files are those of POSIX")
def test_no_other_user_reads_the_files(tmp_path: Path) -> None:
    store(Folder(tmp_path / "store")).put("alice", "result", "abc", b"bytes")
    (path,) = (tmp_path / "store").glob("*/*/*")
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_used_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    shared = store(Folder(tmp_path / "file"))
    with pytest.raises(SettingsError, match=r"cannot be used.*; set DINOX_MCP_STORE to a folder"):
        shared.put("", "result", "abc", b"bytes")
    with pytest.raises(SettingsError, match="cannot be used"):
        shared.get("", "result", "abc")


def test_a_redis_that_does_not_answer_is_one_clear_error() -> None:
    server = fakeredis.FakeServer()
    shared = store(InRedis("redis://store.example:6379", fakeredis.FakeRedis(server=server)))
    shared.put("", "result", "abc", b"bytes")
    server.connected = False
    for call in (lambda: shared.get("", "result", "abc"), lambda: shared.put("", "result", "abd", b"x")):
        with pytest.raises(UnreachableError, match=r"store\.example:6379 does not work \(.*\); start it, or correct"):
            call()


def test_nothing_listens_where_redis_should_be() -> None:
    shared = open_shared(Settings(store="redis://127.0.0.1:1/0", store_password=SecretStr("secret")))
    assert shared
    with pytest.raises(UnreachableError) as error:
        shared.get("", "result", "abc")
    assert "secret" not in str(error.value)
    shared.close()


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "redis", None)
    with pytest.raises(SettingsError, match=r"pip install 'dinox-mcp\[redis\]'"):
        open_shared(Settings(store="redis://127.0.0.1:6379"))


def test_memory_is_not_shared() -> None:
    assert open_shared(Settings()) is None
