"""How the bytes of a batch's images are read."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFile

from dinox_mcp.batch import files
from dinox_mcp.batch.inputs import canonical_source, list_inputs
from dinox_mcp.batch.reader import Reader
from dinox_mcp.batch.sources import Entry
from dinox_mcp.batch.web_files import Part, WebFiles
from dinox_mcp.errors import DinoxError, ForbiddenError, ImageError, ServiceError
from dinox_mcp.settings import Settings
from tests.batch.containers import Website, table, tar
from tests.fakes import png

IMAGES = [f"image {number}".encode() * 50 for number in range(100)]


def entries(source: Path | str, column: str | None = None, **options: object) -> list[Entry]:
    inputs = list_inputs(canonical_source(str(source)), Settings(**options), column=column)
    return [entry for group in inputs.groups for entry in group]


def read(source: Path | str, column: str | None = None, **options: object) -> list[bytes | None]:
    with Reader(Settings(**options), column) as reader:
        return [reader.read(entry) for entry in entries(source, column, **options)]


def failure(entry: Entry, **options: object) -> DinoxError:
    with Reader(Settings(**options)) as reader, pytest.raises(DinoxError) as raised:
        reader.read(entry)
    return raised.value


def test_files_and_urls_are_left_to_the_loader(folder: Path) -> None:
    (folder / "a.png").write_bytes(png())
    with Reader(Settings()) as reader:
        assert reader.read(Entry(str(folder / "a.png"))) is None
        assert reader.read(Entry("https://example.com/a.jpg")) is None


def test_the_members_of_a_tar_are_read(folder: Path) -> None:
    (folder / "s.tar").write_bytes(tar({f"{number}.jpg": data for number, data in enumerate(IMAGES)}))
    assert read(folder / "s.tar") == IMAGES


@pytest.mark.parametrize("rows", [7, 1000])
@pytest.mark.parametrize("column", ["bytes", "struct"])
def test_the_rows_of_a_table_are_read(folder: Path, column: str, rows: int) -> None:
    values = IMAGES if column == "bytes" else [{"bytes": data, "path": "x.jpg"} for data in IMAGES]
    (folder / "t.parquet").write_bytes(table({"n": [0] * len(IMAGES), "image": values}, row_group_size=rows))
    assert read(folder / "t.parquet") == IMAGES


@pytest.mark.parametrize("rows", [7, 1000])
def test_rows_are_read_in_any_order_and_by_several_threads(folder: Path, rows: int) -> None:
    (folder / "t.parquet").write_bytes(table({"image": IMAGES}, row_group_size=rows))
    listed = entries(folder / "t.parquet")
    with Reader(Settings()) as reader, ThreadPoolExecutor(8) as threads:
        assert list(threads.map(reader.read, listed)) == IMAGES
        assert [reader.read(entry) for entry in listed[::-20]] == IMAGES[::-20]


def test_a_row_without_bytes_is_read_from_its_path(folder: Path) -> None:
    (folder / "a.png").write_bytes(png())
    rows = [{"bytes": None, "path": "a.png"}, {"bytes": None, "path": None}]
    (folder / "t.parquet").write_bytes(table({"image": rows}))
    with_path, without = entries(folder / "t.parquet")
    with Reader(Settings()) as reader:
        assert reader.read(with_path) == png()
    assert "t.parquet#row=1' has no bytes and no path" in str(failure(without))


@pytest.mark.parametrize("name", ["s.tar", "t.parquet"])
def test_files_of_many_images_are_read_from_the_web(folder: Path, site: Website, name: str) -> None:
    (folder / "s.tar").write_bytes(tar({f"{number}.jpg": data for number, data in enumerate(IMAGES)}))
    (folder / "t.parquet").write_bytes(table({"image": IMAGES}))
    assert read(f"{site.url}/{name}", private_hosts=(site.host,)) == IMAGES
    assert all(wanted is not None for _, wanted in site.requests)


def test_files_of_many_images_and_single_ones_are_read_from_a_store(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe("/b/s.tar", tar({f"{number}.jpg": data for number, data in enumerate(IMAGES)}))
    memory.pipe("/b/t.parquet", table({"image": IMAGES}))
    memory.pipe("/c/a.png", png())
    assert read("memory://b/s.tar") == IMAGES
    assert read("memory://b/t.parquet") == IMAGES
    assert read("memory://c/") == [png()]


def fetched_bytes(site: Website) -> int:
    """The bytes that were requested of files, without the single ones that name their version."""
    parts = [wanted.removeprefix("bytes=").split("-") for _, wanted in site.requests if wanted is not None]
    return sum(int(last) - int(first) + 1 for first, last in parts if first != last)


def test_a_tar_on_the_web_is_fetched_once_by_a_run(folder: Path, site: Website, tmp_path: Path) -> None:
    images = IMAGES[:20]
    data = tar({f"{number}.jpg": one for number, one in enumerate(images)})
    (folder / "s.tar").write_bytes(data)
    settings, run = Settings(private_hosts=(site.host,)), tmp_path / "run"
    inputs = list_inputs(f"{site.url}/s.tar", settings, run=run)
    for _ in range(2):  # the readers of two shards
        with Reader(settings, run=run) as reader:
            assert [reader.read(entry) for entry in inputs.groups[0]] == images
    assert fetched_bytes(site) == len(data)
    (folder / "s.tar").write_bytes(tar({"0.jpg": png()}))
    assert len(list_inputs(f"{site.url}/s.tar", settings, run=run).groups[0]) == 1, "it is another file now"


def test_a_tar_that_there_is_no_room_for_is_not_kept(
    memory: fsspec.AbstractFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe("/b/s.tar", tar({"0.png": png()}))
    monkeypatch.setattr(files, "_MOST_FETCHED", 100)
    (entry,) = list_inputs("memory://b/s.tar", Settings(), run=tmp_path).groups[0]
    with Reader(Settings(), run=tmp_path) as reader:
        assert reader.read(entry) == png()
    assert not list((tmp_path / files.FETCHED).iterdir())


def test_what_a_killed_process_left_of_a_copy_is_removed(memory: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    memory.pipe("/b/s.tar", tar({"0.png": png()}))
    left = [tmp_path / files.FETCHED / f"{'a' * 64}.0000000{number}.tmp" for number in range(2)]
    left[0].parent.mkdir()
    for path in left:
        path.write_bytes(b"a part")
    os.utime(left[0], (0, 0))
    list_inputs("memory://b/s.tar", Settings(), run=tmp_path)
    assert not left[0].exists()
    assert left[1].exists(), "another process may be writing it"


def test_a_copy_that_was_cut_off_is_made_again(memory: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    memory.pipe("/b/s.tar", data := tar({"0.png": png()}))
    list_inputs("memory://b/s.tar", Settings(), run=tmp_path)
    (copy,) = (tmp_path / files.FETCHED).iterdir()
    copy.write_bytes(data[:100])
    assert len(list_inputs("memory://b/s.tar", Settings(), run=tmp_path).groups[0]) == 1
    assert copy.read_bytes() == data


def test_a_tar_that_became_shorter_while_it_was_copied_is_not_kept(
    memory: fsspec.AbstractFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe("/b/s.tar", tar({"0.png": png(), "1.png": png()}))
    monkeypatch.setattr(
        MemoryFile, "read", lambda file, size: file.getvalue()[file.tell() :][:size][: 1536 - file.tell()]
    )
    list_inputs("memory://b/s.tar", Settings(), run=tmp_path)
    assert not list((tmp_path / files.FETCHED).iterdir())


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_only_the_user_may_read_a_run_that_begins_with_a_copy(
    memory: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    memory.pipe("/b/s.tar", tar({"0.png": png()}))
    list_inputs("memory://b/s.tar", Settings(), run=tmp_path / "run")
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700


# What goes wrong


@pytest.mark.parametrize("name", ["s.tar", "t.parquet", "a.png"])
def test_an_image_that_is_too_large_is_refused(memory: fsspec.AbstractFileSystem, name: str) -> None:
    memory.pipe("/b/s.tar", tar({"0.png": bytes(2000)}))
    memory.pipe("/b/t.parquet", table({"image": [bytes(2000)]}))
    memory.pipe("/b/a.png", bytes(2000))
    (entry,) = entries(f"memory://b/{name}")
    error = failure(entry, max_image_bytes=1000)
    assert isinstance(error, ForbiddenError)
    assert "2,000 bytes, more than the 1,000" in str(error)
    assert "DINOX_MCP_MAX_IMAGE_BYTES" in error.remedy


@pytest.mark.parametrize("name", ["s.tar", "t.parquet"])
def test_a_file_that_was_copied_since_it_was_listed_is_read(folder: Path, name: str) -> None:
    (folder / "s.tar").write_bytes(tar({"0.png": png()}))
    (folder / "t.parquet").write_bytes(table({"image": [png()]}))
    (entry,) = entries(folder / name)
    os.utime(folder / name, (0, 0))
    with Reader(Settings()) as reader:
        assert reader.read(entry) == png()


def test_a_tar_that_was_changed_since_it_was_listed_is_refused(folder: Path) -> None:
    (folder / "s.tar").write_bytes(tar({"0.png": png(), "1.png": png()}))
    _, entry = entries(folder / "s.tar")
    (folder / "s.tar").write_bytes(tar({"0.png": bytes(5000), "1.png": png()}))
    assert "is not where it was in its tar, which was changed; choose another --out" in str(failure(entry))
    (folder / "s.tar").write_bytes(tar({"0.png": png()})[:1024])
    assert isinstance(failure(entry), ImageError)


def test_a_table_that_has_fewer_rows_now_is_refused(folder: Path) -> None:
    (folder / "t.parquet").write_bytes(table({"image": [png(), png()]}))
    _, entry = entries(folder / "t.parquet")
    (folder / "t.parquet").write_bytes(table({"image": [png()]}))
    assert "has only 1 rows now; choose another --out" in str(failure(entry))


@pytest.mark.parametrize("name", ["a.tar", "a.parquet", "b.tar"])
def test_a_file_that_could_not_be_listed_says_why(folder: Path, name: str) -> None:
    for bad in ("a.tar", "a.parquet"):
        (folder / bad).write_bytes(b"damaged")
    (folder / "b.tar").write_bytes(tar({"0.png": png()})[:1024])
    entry = next(one for one in entries(folder) if one.source.endswith(name))
    assert "not a tar file" in str(error := failure(entry)) or "Parquet file" in str(error) or "damaged" in str(error)
    assert isinstance(error, ImageError)


def test_a_damaged_row_group_spares_the_others(folder: Path) -> None:
    data = bytearray(table({"image": IMAGES[:4]}, row_group_size=2, compression="none", use_dictionary=False))
    at = data.index(b"image 0image 0") - 60
    data[at : at + 60] = bytes(60)  # the header of the page
    (folder / "t.parquet").write_bytes(data)
    first, _, third, _ = entries(folder / "t.parquet")
    assert "is not an intact Parquet file" in str(failure(first))
    with Reader(Settings()) as reader:
        with pytest.raises(ImageError):
            reader.read(first)
        assert reader.read(third) == IMAGES[2]


def test_what_a_list_may_not_name_is_refused(folder: Path) -> None:
    (folder / "list.txt").write_text("latest:/tmp\nftp://example.com/a.png\n")
    for entry in entries(folder / "list.txt"):
        assert isinstance(failure(entry), ImageError)


def test_a_file_that_vanished_from_a_store_is_an_error(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe("/b/a.png", png())
    (entry,) = entries("memory://b/")
    memory.rm("/b/a.png")
    assert str(failure(entry)) == "there is no file memory://b/a.png; check the address"


def test_a_server_that_fails_is_a_failure_of_the_service(folder: Path, site: Website) -> None:
    (folder / "s.tar").write_bytes(tar({"0.png": png()}))
    (entry,) = entries(f"{site.url}/s.tar", private_hosts=(site.host,))
    (folder / "s.tar").unlink()
    assert isinstance(failure(entry, private_hosts=(site.host,)), ServiceError)


@pytest.mark.parametrize("name", ["s.tar", "t.parquet"])
def test_a_store_that_fails_on_the_way_is_a_failure_of_the_service(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What lies in the image's own file is never tried again; this is."""
    memory.pipe("/b/s.tar", tar({"0.png": png()}))
    memory.pipe("/b/t.parquet", table({"image": [png()]}))
    (entry,) = entries(f"memory://b/{name}")

    def fail(*_: object) -> bytes:
        raise RuntimeError("503 Slow Down\nRequestId: 1")

    monkeypatch.setattr(MemoryFile, "read", fail)
    error = failure(entry)
    assert isinstance(error, ServiceError)
    assert str(error) == f"memory://b/{name} could not be read (503 Slow Down RequestId: 1); try again in a while"


@pytest.mark.parametrize("name", ["s.tar", "t.parquet"])
def test_a_web_server_that_fails_on_the_way_is_a_failure_of_the_service(
    folder: Path, site: Website, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (folder / "s.tar").write_bytes(tar({"0.png": png()}))
    (folder / "t.parquet").write_bytes(table({"image": [png()]}))
    (entry,) = entries(f"{site.url}/{name}", private_hosts=(site.host,))
    part = WebFiles.part

    def failing(self: WebFiles, address: str, begin: int, size: int) -> Part:
        if size > 1:
            raise ServiceError("the server is away; try again")
        return part(self, address, begin, size)

    with Reader(Settings(private_hosts=(site.host,))) as reader:
        monkeypatch.setattr(WebFiles, "part", failing)
        with pytest.raises(ServiceError, match="the server is away; try again"):
            reader.read(entry)
        monkeypatch.undo()
        assert reader.read(entry) == png()


def test_an_empty_file_in_a_store_has_no_bytes(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe("/b/a.png", b"")

    def refuse(*_: object, **__: object) -> bytes:
        raise OSError(22, "The requested range is not satisfiable")  # as S3 answers

    monkeypatch.setattr(memory, "cat_file", refuse)
    assert read("memory://b/") == [b""]


def test_a_row_of_a_table_from_elsewhere_names_no_files_of_this_machine(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe("/b/t.parquet", table({"image": [{"bytes": None, "path": "/etc/passwd"}]}))
    (entry,) = entries("memory://b/t.parquet")
    assert isinstance(failure(entry), ForbiddenError)
