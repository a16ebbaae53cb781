"""The journal of a job survives whatever cuts it off, and belongs to one request."""

import os
from pathlib import Path

import pytest

from dinox_mcp.batch import journal as module
from dinox_mcp.batch.journal import Journal, Keeping, Record
from dinox_mcp.batch.sources import Entry
from dinox_mcp.errors import InputError, NotFoundError, SettingsError
from dinox_mcp.types.detection import Detection
from tests.fakes import CAT, CODE, DOG

HEADER = {"images": ["/photos"], "request": {"prompts": ["dog"]}}
ONE = Record("/photos/one.png", "1", "aa", (100, 80), "fake-1", notes=("blurred",), unknown=("cat",))
COPY = Record("/photos/copy.png", "2", "aa", (100, 80))
BROKEN = Record("/photos/broken.png", "3", error="is damaged; pass another", code="image_unreadable")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal with an image, a copy of it and a broken one."""
    path = tmp_path / "journal.jsonl"
    journal = Journal.open(path, HEADER)
    journal.add(ONE, [CAT, DOG, CODE])
    journal.add(COPY)
    journal.add(BROKEN)
    journal.close()
    return path


def test_what_was_written_is_read_again(path: Path) -> None:
    journal = Journal.read(path)
    one, copy, broken = journal.records.values()
    assert (one.sha256, one.size, one.model, one.notes, one.unknown) == ("aa", (100, 80), "fake-1", ONE.notes, ("cat",))
    assert one.counts == {"cat": 1, "dog": 1, "QR code": 1}
    assert one.best == {"cat": 0.4, "dog": 0.9, "QR code": 1.0}
    assert one.text == "https://example.com"
    assert journal.objects(one) == journal.objects(copy) == (CODE, DOG, CAT)
    assert (copy.copy, copy.counts) == (True, one.counts)
    assert (broken.error, broken.code) == (BROKEN.error, "image_unreadable")


@pytest.mark.parametrize("cut", [1, 20])
def test_a_line_that_was_cut_off_is_removed(path: Path, cut: int) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-cut])
    assert Journal.read(path).records.keys() == {ONE.source, COPY.source}
    journal = Journal.open(path, HEADER)
    journal.add(BROKEN)
    journal.close()
    assert path.read_bytes() == data


def test_a_damaged_line_costs_its_image_only(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b'{"source": "/ph\n' + lines[3])
    assert Journal.read(path).records.keys() == {BROKEN.source}


@pytest.mark.parametrize(
    "line",
    [
        '{"source": "/photos/cut.png"}',
        '{"source": ["a"], "stamp": "", "sha256": "", "error": "x", "code": "y"}',
        '{"source": "a", "stamp": "", "sha256": "z", "objects": [1], "size": [1, 2], "model": "m", "counts": {}}',
        '{"total": "many"}',
        '{"total": Infinity}',
        "[" * 5000,
    ],
)
def test_a_line_of_another_form_is_left_out(path: Path, line: str) -> None:
    before, *others = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(before + line.encode() + b"\n" + b"".join(others))
    assert Journal.read(path).records.keys() == {ONE.source, COPY.source, BROKEN.source}


def test_a_plan_of_many_changed_images_does_not_wait_for_the_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[int] = []
    journal = Journal.open(path, HEADER)
    monkeypatch.setattr(os, "fsync", waits.append)
    journal.plan([Entry(ONE.source, "changed"), Entry(COPY.source, "changed"), Entry("/photos/new.png")])
    assert waits == []
    journal.add(BROKEN)
    journal.close()
    assert len(waits) == 1
    assert Journal.read(path).records.keys() == {BROKEN.source}


def test_a_journal_that_cannot_be_begun_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[int] = []
    close = os.close

    def full(_descriptor: int, _data: memoryview) -> int:
        raise OSError(28, "No space left on device")

    def remember(descriptor: int) -> None:
        closed.append(descriptor)
        close(descriptor)

    monkeypatch.setattr(os, "write", full)
    monkeypatch.setattr(os, "close", remember)
    with pytest.raises(SettingsError, match="No space left on device"):
        Journal.open(tmp_path / "journal.jsonl", HEADER)
    assert len(closed) == 1


def test_a_copy_of_a_damaged_line_is_not_known(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2])
    assert Journal.read(path).records == {}


@pytest.mark.parametrize("content", [b"", b"[]\n", b'{"format": 99, "header": {}}\n', b'{"format": 1'])
def test_a_journal_without_a_header_is_begun_anew(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(NotFoundError, match="damaged or of another version"):
        Journal.read(path)
    Journal.open(path, HEADER).close()
    assert Journal.read(path).header == HEADER


def test_a_changed_request_is_refused_with_the_difference(path: Path) -> None:
    with pytest.raises(InputError, match=r'begun with request {"prompts": \["dog"\]}, now {"prompts": \["cat"\]}'):
        Journal.open(path, HEADER | {"request": {"prompts": ["cat"]}})


def test_images_that_are_gone_or_changed_are_dropped(path: Path) -> None:
    journal = Journal.open(path, HEADER)
    journal.plan([Entry(ONE.source, "1"), Entry(COPY.source, "changed"), Entry("/photos/new.png", "4")])
    journal.close()
    for one in (journal, Journal.read(path)):
        assert one.records.keys() == {ONE.source}
        assert one.total == 3


def test_of_very_many_objects_the_best_are_kept_and_all_counted(path: Path) -> None:
    journal = Journal.open(path, HEADER, Keeping(2))
    crowd = [Detection(label="ant", bbox=(0, 0, 1, 1), score=score) for score in (0.1, 0.9, 0.5)]
    record = journal.add(Record("/photos/crowd.png", "5", "bb", (10, 10), "fake-1"), crowd)
    journal.close()
    assert record.counts == {"ant": 3}
    assert [one.score for one in journal.objects(record)] == [0.9, 0.5]


def test_a_full_journal_is_an_error_and_stays_readable(path: Path) -> None:
    journal = Journal.open(path, HEADER, Keeping(max_bytes=path.stat().st_size + 10, too_long="choose another --out"))
    with pytest.raises(SettingsError, match="would have more than 0 MiB; choose another --out"):
        journal.add(BROKEN)
    journal.close()
    assert len(Journal.read(path).records) == 3


def test_a_full_disk_is_an_error_and_leaves_no_half_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: memoryview) -> int:
        real(descriptor, bytes(data)[:10])
        raise OSError(28, "No space left on device")

    before, real = path.read_bytes(), os.write
    journal = Journal.open(path, HEADER)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(SettingsError, match=r"No space left on device\); set DINOX_MCP_JOBS_FOLDER"):
        journal.add(BROKEN)
    journal.close()
    assert path.read_bytes() == before


def test_there_is_no_journal(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no job"):
        Journal.read(tmp_path / "abc" / "journal.jsonl")


def test_images_in_hand_are_known_to_the_next_process_unless_this_one_ends_orderly(path: Path) -> None:
    journal = Journal.open(path, HEADER)
    for times_alone in (0, 1):
        journal.begin("/photos/deadly.png", times_alone)
    journal.begin(BROKEN.source, 0)
    journal.add(BROKEN)
    assert Journal.read(path).begun == {"/photos/deadly.png": 1}
    journal.rest()
    journal.close()
    assert Journal.read(path).begun == {}


def test_an_image_with_too_many_objects_is_an_error_of_the_image(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal.open(path, HEADER)
    monkeypatch.setattr(module, "_MAX_LINE", 200)
    with pytest.raises(InputError, match="the objects of one image take more than 0 MiB; include less, or raise"):
        journal.add(ONE, [Detection(label="ant", bbox=(0, 0, 1, 1))] * 10)
    assert journal.add(BROKEN).error
    journal.close()
