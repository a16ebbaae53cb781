"""Folders of jobs: one call at a time, none of another caller, never too many."""

import os
from pathlib import Path

import pytest

from dinox_mcp.errors import BusyError, NotFoundError, SettingsError
from dinox_mcp.store import jobs as module
from dinox_mcp.store.jobs import Jobs, job_id


def made(jobs: Jobs, content: str, tenant: str = "", *, age: int = 0) -> Path:
    """Make a job of some bytes that was changed some seconds ago."""
    with jobs.locked(job_id(content), tenant) as folder:
        (folder / "journal.jsonl").write_bytes(b"x" * 100)
        for file in folder.iterdir():
            os.utime(file, (1e9 - age, 1e9 - age))
    return folder


def test_the_same_request_has_the_same_id() -> None:
    assert job_id("dogs in /photos") == job_id("dogs in /photos") != job_id("cats in /photos")


def test_a_job_is_found_by_its_id_or_address(tmp_path: Path) -> None:
    folder = made(Jobs(tmp_path), "a")
    assert Jobs(tmp_path).path(job_id("a")) == Jobs(tmp_path).path(f"dinox://jobs/{job_id('a')}") == folder


@pytest.mark.parametrize("name", ["", "../../etc", "short", "A" * 16, "a" * 17])
def test_what_is_not_an_id_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFoundError, match="there is no job"):
        Jobs(tmp_path).path(name)


def test_callers_see_nothing_of_each_other(tmp_path: Path) -> None:
    owners = [(False, ""), (True, ""), (True, "one"), (True, "two")]
    assert len({Jobs(tmp_path, remote=remote).path(job_id("a"), tenant) for remote, tenant in owners}) == 4


def test_a_second_call_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path)
    with jobs.locked(job_id("a")):
        with pytest.raises(BusyError, match="another call works on the job"), Jobs(tmp_path).locked(job_id("a")):
            pass
        with jobs.locked(job_id("b")):
            pass
    with jobs.locked(job_id("a")):
        pass


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(SettingsError, match="set DINOX_MCP_JOBS_FOLDER"), Jobs(tmp_path / "file").locked(job_id("a")):
        pass


def test_the_oldest_jobs_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_JOBS", 2)
    jobs = Jobs(tmp_path)
    oldest, newer, newest = (made(jobs, name, age=age) for name, age in (("a", 20), ("b", 10), ("c", 0)))
    jobs.make_room("", newest)
    assert (oldest.exists(), newer.exists(), newest.exists()) == (False, True, True)


def test_a_job_that_a_call_works_on_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_JOBS", 1)
    jobs = Jobs(tmp_path)
    busy, idle, newest = (made(jobs, name, age=age) for name, age in (("a", 20), ("b", 10), ("c", 0)))
    with jobs.locked(job_id("a")):
        jobs.make_room("", newest)
    assert (busy.exists(), idle.exists(), newest.exists()) == (True, False, True)


def test_large_jobs_make_room_and_the_newest_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 50)
    jobs = Jobs(tmp_path)
    older, newest = made(jobs, "a", age=10), made(jobs, "b")
    jobs.make_room("", newest)
    assert (older.exists(), newest.exists()) == (False, True)


def test_over_http_the_caller_with_most_jobs_loses_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_JOBS_OF_CALLERS", 3)
    local, jobs = made(Jobs(tmp_path), "mine", age=90), Jobs(tmp_path, remote=True)
    victim = made(jobs, "old", "victim", age=50)
    flood = [made(jobs, f"job {number}", "flood", age=10 - number) for number in range(4)]
    jobs.make_room("flood", flood[-1])
    assert local.exists()
    assert victim.exists()
    assert [path.exists() for path in flood] == [False, False, True, True]


def test_over_http_the_caller_with_most_bytes_loses_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES_OF_CALLERS", 350)
    jobs = Jobs(tmp_path, remote=True)
    victim = made(jobs, "old", "victim", age=50)
    flood = [made(jobs, f"job {number}", "flood", age=10 - number) for number in range(3)]
    jobs.make_room("flood", flood[-1])
    assert [path.exists() for path in (victim, *flood)] == [True, False, True, True]


def test_a_huge_job_leaves_those_of_other_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 150)
    monkeypatch.setattr(module, "MAX_BYTES_OF_CALLERS", 300)
    jobs = Jobs(tmp_path, remote=True)
    other, huge = made(jobs, "a", "other", age=10), made(jobs, "b", "huge")
    (huge / "journal.jsonl").write_bytes(b"x" * 1000)
    jobs.make_room("huge", huge)
    assert (other.exists(), huge.exists()) == (True, True)
