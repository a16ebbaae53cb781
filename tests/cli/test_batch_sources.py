"""`dinox-mcp batch` on each kind of source: what is found in it is found in its images."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest

from tests.batch.containers import served, table, tar
from tests.cli.conftest import run


@pytest.fixture
def images() -> dict[str, bytes]:
    """Two codes, an image without one, and a file that is not an image."""
    return {name: Path(name).read_bytes() for name in ("one.png", "two.png", "blank.png", "broken.png")}


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def texts(capsys: pytest.CaptureFixture[str], source: str, *flags: str) -> list[str]:
    """Run a batch that searches for codes; give what each image of its parts has, or the code of its error."""
    run(capsys, "batch", source, "QR code", "--out", "run", *flags)
    rows = pq.read_table("run/parts").to_pylist()
    return [row["code"] or ", ".join(found["text"] for found in row["objects"]) for row in rows]


FOUND = ["parcel one", "parcel two", "", "image_unreadable"]


def test_a_tar(capsys: pytest.CaptureFixture[str], images: dict[str, bytes]) -> None:
    Path("s.tar").write_bytes(tar(images))
    assert texts(capsys, "s.tar") == FOUND


def test_shards(capsys: pytest.CaptureFixture[str], images: dict[str, bytes]) -> None:
    for number, (name, data) in enumerate(images.items()):
        Path(f"s-{number}.tar").write_bytes(tar({name: data}))
    assert texts(capsys, "s-{0..3}.tar") == FOUND


@pytest.mark.parametrize("flags", [(), ("--shard-size", "2")])
def test_a_parquet_file_of_bytes(
    capsys: pytest.CaptureFixture[str], images: dict[str, bytes], flags: tuple[str, ...]
) -> None:
    Path("t.parquet").write_bytes(table({"image": list(images.values())}))
    assert texts(capsys, "t.parquet", *flags) == FOUND


def test_a_parquet_file_of_a_column_that_is_named(capsys: pytest.CaptureFixture[str], images: dict[str, bytes]) -> None:
    columns = {"thumbnail": [b""] * 4, "scan": [{"bytes": data, "path": name} for name, data in images.items()]}
    Path("t.parquet").write_bytes(table(columns))
    assert texts(capsys, "t.parquet", "--column", "scan") == FOUND


@pytest.mark.parametrize("name", ["list.txt", "list.csv"])
def test_a_list(capsys: pytest.CaptureFixture[str], images: dict[str, bytes], name: str) -> None:
    lines = ["file_name"] if name.endswith("csv") else []
    Path(name).write_text("\n".join([*lines, *images]))
    assert texts(capsys, name) == FOUND


def test_a_folder_in_a_store(
    capsys: pytest.CaptureFixture[str], images: dict[str, bytes], memory: fsspec.AbstractFileSystem
) -> None:
    for name, data in images.items():
        memory.pipe(f"/bucket/scans/{name}", data)
    assert texts(capsys, "memory://bucket/scans/") == ["", "image_unreadable", "parcel one", "parcel two"]


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize("source", ["", "*.png", "s.tar", "t.parquet", "list.txt"])
@pytest.mark.slow
def test_a_folder_and_files_on_the_web(
    capsys: pytest.CaptureFixture[str],
    images: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
) -> None:
    Path("s.tar").write_bytes(tar(images))
    Path("t.parquet").write_bytes(table({"image": list(images.values())}))
    Path("list.txt").write_text("\n".join(images))
    with served(tmp_path) as site:
        monkeypatch.setenv("DINOX_MCP_PRIVATE_HOSTS", site.host)
        assert sorted(texts(capsys, f"{site.url}/{source}")) == sorted(FOUND)


def test_the_same_command_continues(capsys: pytest.CaptureFixture[str], images: dict[str, bytes]) -> None:
    Path("t.parquet").write_bytes(table({"image": list(images.values())}))
    assert texts(capsys, "t.parquet", "--limit", "1") == FOUND[:1]
    assert texts(capsys, "t.parquet") == FOUND


def test_another_column_is_another_run(capsys: pytest.CaptureFixture[str], images: dict[str, bytes]) -> None:
    Path("t.parquet").write_bytes(table({"image": list(images.values()), "scan": list(images.values())}))
    texts(capsys, "t.parquet", "--column", "image")
    status, _, err = run(capsys, "batch", "t.parquet", "QR code", "--out", "run", "--column", "scan")
    assert status == 1
    assert 'was begun with column "image", now "scan"' in err


def test_a_damaged_source_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("s.tar").write_text("damaged")
    status, out, err = run(capsys, "batch", "s.tar", "QR code", "--out", "run")
    assert (status, out) == (1, "")
    assert len(err.strip().splitlines()) == 1
    assert "s.tar' is not a tar file" in err
    assert not Path("run/manifest.json").exists()


# What is made of a finished run


def test_a_run_is_converted_and_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--format", "coco", "--format", "yolo", "--annotated")
    status, out, err = run(capsys, "batch", "*o*.png", "QR code", "--out", "run", *flags)
    assert status == 1, "one image is broken"
    assert out.startswith("3 of 3 images")
    assert err.splitlines()[-5:] == [
        f"{Path.cwd()}/run/coco.json: 2 images, 2 objects",
        "note: 1 image without an answer left out",
        f"{Path.cwd()}/run/yolo: 2 images, 2 objects",
        "note: 1 image without an answer left out",
        f"{Path.cwd()}/run/annotated: 2 annotated images",
    ]
    assert Path("run/annotated/one.png.jpg").exists()


def test_a_finished_run_is_converted_without_detecting_again(capsys: pytest.CaptureFixture[str]) -> None:
    texts(capsys, "one.png")
    part = Path("run/parts/part-00000.parquet")
    before = part.stat().st_mtime_ns
    status, out, err = run(capsys, "batch", "one.png", "QR code", "--out", "run", "--format", "jsonl")
    assert (status, part.stat().st_mtime_ns) == (0, before)
    assert out.startswith("1 of 1 image: 1 QR code")
    assert "run/detections.jsonl: 1 image, 1 object" in err


def test_a_format_that_is_there_is_refused_before_anything_is_detected(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run").mkdir()
    Path("run/coco.json").write_text("mine")
    flags = ("--out", "run", "--format", "coco")
    status, _, err = run(capsys, "batch", "one.png", "QR code", *flags)
    assert (status, Path("run/parts").exists()) == (1, False)
    assert "coco.json would be overwritten in run; allow it by --overwrite" in err
    assert run(capsys, "batch", "one.png", "QR code", *flags, "--overwrite")[0] == 0
