"""Which images the source of a batch stands for."""

import sys
from contextlib import suppress
from pathlib import Path

import fsspec
import pytest

from dinox_mcp.batch import tables, web_files
from dinox_mcp.batch.inputs import Inputs, canonical_source, list_inputs
from dinox_mcp.errors import DinoxError, ForbiddenError, ImageError, InputError, UnsupportedError
from dinox_mcp.settings import Settings
from tests.batch.containers import Website, table, tar
from tests.fakes import png

SETTINGS = Settings()


def listed(source: Path | str, column: str | None = None, **options: object) -> Inputs:
    return list_inputs(canonical_source(str(source)), Settings(**options), column=column)


def names(inputs: Inputs, below: Path | str) -> list[list[str]]:
    """The sources of each group, below a folder."""
    return [[entry.source.removeprefix(f"{below}").lstrip("/") for entry in group] for group in inputs.groups]


def says(inputs: Inputs) -> list[str]:
    """The notes about files, without their names."""
    return [note.partition("' ")[2] for note in inputs.notes]


# Files on this machine


def test_a_folder_stands_for_its_images(folder: Path) -> None:
    for name in ("b.png", "a/c.jpg", "notes.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(png())
    assert names(listed(folder), folder) == [["a/c.jpg", "b.png"]]


def test_a_folder_without_images_stands_for_its_shards_and_tables(folder: Path) -> None:
    (folder / "0.tar").write_bytes(tar({"7.png": png(), "8.png": png()}))
    (folder / "1.parquet").write_bytes(table({"image": [png()]}))
    assert names(listed(folder), folder) == [["0.tar#member=7.png", "0.tar#member=8.png"], ["1.parquet#row=0"]]


def test_images_count_before_tables_beside_them(folder: Path) -> None:
    (folder / "labels.parquet").write_bytes(table({"image": [png()]}))
    (folder / "a.png").write_bytes(png())
    inputs = listed(folder)
    assert names(inputs, folder) == [["a.png"]]
    assert inputs.notes == ("1 tar or Parquet file beside the images left out (labels.parquet)",)
    assert names(listed(folder / "*.parquet"), folder) == [["labels.parquet#row=0"]]


def test_the_folder_of_the_run_does_not_count(folder: Path) -> None:
    for name in ("a.png", "run/annotated/a.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png())
    inputs = list_inputs(str(folder), SETTINGS, run=folder / "run")
    assert names(inputs, folder) == [["a.png"]]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("s-{08..10}.tar", ["s-08.tar", "s-09.tar", "s-10.tar"]),
        ("s-{08,10}.tar", ["s-08.tar", "s-10.tar"]),
        ("s-0?.tar", ["s-08.tar", "s-09.tar"]),
    ],
)
def test_braces_and_patterns_stand_for_shards_in_their_order(folder: Path, source: str, found: list[str]) -> None:
    for number in ("08", "09", "10"):
        (folder / f"s-{number}.tar").write_bytes(tar({f"{number}.png": png()}))
    groups = names(listed(folder / source), folder)
    assert [group[0].partition("#")[0] for group in groups] == found


def test_a_folder_whose_name_has_braces_is_that_folder(folder: Path) -> None:
    (folder / "{a,b}").mkdir()
    (folder / "{a,b}" / "c.png").write_bytes(png())
    assert names(listed(folder / "{a,b}"), folder) == [["{a,b}/c.png"]]


@pytest.mark.parametrize("source", ["s-{0..99999999}.tar", "{0..999}/{0..999}.tar"])
def test_braces_that_stand_for_too_many_are_refused(folder: Path, source: str) -> None:
    with pytest.raises(InputError, match="stands for more than 100,000 files; pass fewer at once"):
        listed(folder / source)


@pytest.mark.parametrize("source", ["clipboard", "latest:~/Pictures", "data:image/png;base64,AAAA"])
def test_what_is_another_image_later_is_refused(source: str) -> None:
    with pytest.raises(InputError, match="is not a source of images; pass a folder"):
        canonical_source(source)


@pytest.mark.parametrize("scheme", ["https", "s3"])
def test_an_address_with_a_key_is_refused_and_the_key_not_repeated(scheme: str) -> None:
    with pytest.raises(InputError, match=r"carries a user name or a key, .*; pass it without them") as caught:
        canonical_source(f"{scheme}://user:secret@example.com/photos/")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("source", ["abfs://container@account/photos/", "hf://datasets/owner/name@main/"])
def test_a_store_whose_addresses_have_an_at_sign_is_a_source(source: str) -> None:
    assert canonical_source(source) == source


def test_more_images_than_a_run_may_have_are_refused(folder: Path) -> None:
    (folder / "a.parquet").write_bytes(table({"image": [png()] * 4}))
    with pytest.raises(InputError, match="there are more than 3 images; run parts of the source"):
        list_inputs(str(folder / "a.parquet"), SETTINGS, most=3)


# Lists


def test_a_list_names_paths_beside_itself_full_paths_and_urls(folder: Path) -> None:
    (folder / "list.txt").write_text(
        "a.png\n\n  sub/b.png \n/elsewhere/c.png\nhttps://example.com/d.jpg\ns3://x/e.jpg\n"
    )
    (folder / "a.png").write_bytes(png())
    found = [entry.source for group in listed(folder / "list.txt").groups for entry in group]
    assert found == [
        *(str(folder / "a.png"), str(folder / "sub/b.png"), "/elsewhere/c.png"),
        *("https://example.com/d.jpg", "s3://x/e.jpg"),
    ]


def test_a_line_of_a_list_that_is_never_read_is_an_image_that_cannot_be_read(folder: Path) -> None:
    (folder / "list.txt").write_text("file://server/a.png\nb.png\n")
    (group,) = listed(folder / "list.txt").groups
    assert [entry.source for entry in group] == ["file://server/a.png", str(folder / "b.png")]


def test_a_file_of_a_list_has_a_stamp_by_which_a_change_is_noticed(folder: Path) -> None:
    (folder / "list.txt").write_text("a.png\n")
    (folder / "a.png").write_bytes(png())
    before = listed(folder / "list.txt")
    (folder / "a.png").write_bytes(png(30, 30))
    assert listed(folder / "list.txt") != before


@pytest.mark.parametrize(("column", "name"), [(None, "a.png"), ("backup", "b.png")])
def test_a_csv_file_names_images_in_a_column(folder: Path, column: str | None, name: str) -> None:
    (folder / "list.csv").write_text("id,File_Name,backup\n1,a.png,b.png\n2\n")
    assert names(listed(folder / "list.csv", column), folder) == [[name]]


def test_a_csv_file_without_such_a_column_is_refused(folder: Path) -> None:
    (folder / "list.csv").write_text("id,photo\n1,a.png\n")
    with pytest.raises(InputError, match=r"no column that is named like one of images \(its columns: id, photo\)"):
        listed(folder / "list.csv")


def test_an_image_that_is_named_twice_is_one(folder: Path) -> None:
    (folder / "list.txt").write_text("a.png\n./a.png\n")
    inputs = listed(folder / "list.txt")
    assert names(inputs, folder) == [["a.png"]]
    assert inputs.notes == ("1 repeated name left out: each image has one row",)


@pytest.mark.parametrize("name", ["", "a.png", "list.txt"])
def test_a_column_of_what_has_none_is_refused(folder: Path, name: str) -> None:
    (folder / "a.png").write_bytes(png())
    (folder / "list.txt").write_text("a.png")
    with pytest.raises(
        InputError, match=r"has no column 'jpg'; leave --column out, .*: a \.tar, \.parquet, \.pq, \.csv$"
    ):
        listed(folder / name, "jpg")


@pytest.mark.parametrize("text", ["x" * 50_000, "a\0b"])
def test_a_list_that_is_not_text_is_refused(folder: Path, text: str) -> None:
    (folder / "list.txt").write_text(text)
    with pytest.raises(ImageError, match=r"line 1 of .* is not a path or a URL; pass a text file"):
        listed(folder / "list.txt")


# Parquet files


@pytest.mark.parametrize(
    "columns",
    [
        {"id": [1, 2], "image": [b"a", b"b"]},
        {"label": ["x", "y"], "image": [{"bytes": b"a", "path": "a.png"}, {"bytes": b"b", "path": None}]},
        {"thumb": [b"t", b"t"], "jpg": [b"a", b"b"]},
        {"payload": [b"a", b"b"], "path": ["a.png", "b.png"]},
    ],
)
def test_a_table_of_bytes_has_an_image_in_each_row(folder: Path, columns: dict[str, list[object]]) -> None:
    (folder / "t.parquet").write_bytes(table(columns))
    assert names(listed(folder / "t.parquet"), folder) == [["t.parquet#row=0", "t.parquet#row=1"]]


def test_a_table_of_paths_names_images_beside_it(folder: Path) -> None:
    (folder / "t.parquet").write_bytes(table({"url": ["a.png", None, "https://example.com/b.jpg"]}))
    inputs = listed(folder / "t.parquet")
    assert names(inputs, folder) == [["a.png", "https://example.com/b.jpg"]]
    assert says(inputs) == ["has 1 row without a path"]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (None, r"no column that is named like one of images \(its columns: id, text\); name one by --column"),
        ("id", r"no column 'id' of images"),
    ],
)
def test_a_table_without_images_is_refused(folder: Path, column: str | None, message: str) -> None:
    (folder / "t.parquet").write_bytes(table({"id": [1], "text": ["a"]}))
    with pytest.raises(InputError, match=message):
        listed(folder / "t.parquet", column)


def test_without_pyarrow_a_parquet_file_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "t.parquet").write_bytes(table({"image": [png()]}))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        UnsupportedError, match=r"Parquet file, and pyarrow is not installed; pip install 'dinox-mcp\[batch\]'"
    ):
        listed(folder / "t.parquet")


def test_a_row_group_that_would_take_too_much_memory_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_LARGEST_GROUP", 1000)
    (folder / "t.parquet").write_bytes(table({"image": [b"a" * 2000, b"b" * 2000]}, row_group_size=1))
    with pytest.raises(ForbiddenError, match=r"has a row group of \d,\d+ bytes, more than 1,000; write it"):
        listed(folder / "t.parquet")


def test_a_damaged_description_of_a_column_does_not_end_the_process(folder: Path) -> None:
    """pyarrow 26 aborts where the metadata of such a column is read."""
    data = table({"image": [png()]})
    for at in range(len(data) - 258, len(data) - 238):
        for change in (1, 16):
            damaged = data[:at] + bytes([data[at] ^ change]) + data[at + 1 :]
            (folder / "t.parquet").write_bytes(damaged)
            with suppress(DinoxError):
                listed(folder / "t.parquet")


# Tars


def test_a_sample_of_a_tar_is_one_image(folder: Path) -> None:
    members = {"x/0.jpg": b"0", "x/0.json": b"{}", "x/0.seg.png": b"s", "x/1.JPG": b"1", "x/2.txt": b"-"}
    (folder / "s.tar").write_bytes(tar(members))
    inputs = listed(folder / "s.tar")
    assert names(inputs, folder) == [["s.tar#member=x/0.jpg", "s.tar#member=x/1.JPG"]]
    assert says(inputs) == [
        "has further images in its samples (1 seg.png), which are left out; choose them by --column",
        "has 1 sample without an image",
    ]
    assert names(listed(folder / "s.tar", "seg.png"), folder) == [["s.tar#member=x/0.seg.png"]]


def test_photos_with_dots_in_their_names_are_all_images(folder: Path) -> None:
    (folder / "s.tar").write_bytes(tar({"IMG.1.jpg": b"1", "IMG.2.jpg": b"2", "._IMG.2.jpg": b"mac"}))
    assert names(listed(folder / "s.tar"), folder) == [["s.tar#member=IMG.1.jpg", "s.tar#member=IMG.2.jpg"]]


def test_a_name_that_leads_out_of_a_tar_is_only_a_name(folder: Path) -> None:
    (folder / "s.tar").write_bytes(tar({"../../etc/a.png": png()}))
    assert names(listed(folder / "s.tar"), folder) == [["s.tar#member=../../etc/a.png"]]
    assert [path.name for path in folder.iterdir()] == ["s.tar"]


def test_a_tar_without_images_names_its_fields(folder: Path) -> None:
    (folder / "s.tar").write_bytes(tar({"0.json": b"{}", "0.npy": b""}))
    with pytest.raises(InputError, match="has no images in its samples, whose fields are json, npy; pass another file"):
        listed(folder / "s.tar")


@pytest.mark.parametrize("name", ["s.tar.gz", "s.tgz"])
def test_a_compressed_tar_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\x1f\x8b")
    with pytest.raises(InputError, match=r"is compressed, .*; unpack it to a \.tar"):
        listed(folder / name)


# Damage


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.tar", b"not a tar" * 100, r"is not a tar file \(.*\); pass an intact one"),
        ("a.tar", b"", r"is not a tar file \(empty file\); pass an intact one"),
        ("a.parquet", b"PAR1 but no more", r"is not an intact Parquet file \(.*\); get it again"),
        ("a.parquet", b"", r"is not an intact Parquet file \(.*\); get it again"),
    ],
)
def test_a_damaged_file_is_one_clear_line(folder: Path, name: str, data: bytes, message: str) -> None:
    (folder / name).write_bytes(data)
    with pytest.raises(ImageError, match=message) as raised:
        listed(folder / name)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("cut", [2000, 1536, 3072])
def test_the_images_before_the_damage_of_a_tar_are_kept(folder: Path, cut: int) -> None:
    (folder / "a.tar").write_bytes(tar({f"{number}.png": bytes(600) for number in range(4)})[:cut])
    inputs = listed(folder / "a.tar")
    *images, damaged = names(inputs, folder)[0]
    assert images == [f"a.tar#member={number}.png" for number in range(cut // 1536)]
    assert damaged == "a.tar"
    assert says(inputs)[0].startswith("is damaged after")


def test_a_damaged_file_among_others_is_an_image_that_cannot_be_read(folder: Path) -> None:
    (folder / "a.parquet").write_bytes(b"PAR1")
    (folder / "b.parquet").write_bytes(table({"image": [png()]}))
    inputs = listed(folder)
    assert names(inputs, folder) == [["a.parquet"], ["b.parquet#row=0"]]
    assert says(inputs)[0].startswith("is not an intact Parquet file")


def test_a_header_of_a_tar_that_claims_to_be_huge_is_not_read(folder: Path) -> None:
    data = bytearray(tar({"x" * 300: b"", "0.png": png()}))
    data[124:136] = b"\x80" + (2**40).to_bytes(11)  # the size of the long name that follows
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    (folder / "a.tar").write_bytes(data)
    with pytest.raises(ImageError, match="is not a tar file"):
        listed(folder / "a.tar")


# Elsewhere


def test_a_prefix_on_the_web_stands_for_the_images_that_its_pages_link_to(folder: Path, site: Website) -> None:
    for name in ("a b.png", "sub/c.jpg", "notes.md"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(png())
    inputs = listed(f"{site.url}/", private_hosts=(site.host,))
    assert names(inputs, site.url) == [["a%20b.png", "sub/c.jpg"]]
    assert names(listed(f"{site.url}/*b.png", private_hosts=(site.host,)), site.url) == [["a%20b.png"]]


def test_an_image_on_the_web_is_one_image() -> None:
    assert names(listed("https://example.com/a.jpg?size=2"), "") == [["https://example.com/a.jpg?size=2"]]


@pytest.mark.parametrize("name", ["", "s.tar", "t.parquet", "l.txt"])
def test_a_private_address_is_not_read_unless_the_settings_name_it(site: Website, name: str) -> None:
    with pytest.raises(DinoxError, match=r"is not encrypted|is on a private network"):
        listed(f"{site.url}/{name}")
    assert not site.requests


def test_members_that_unpack_to_one_file_are_one_image(folder: Path) -> None:
    (folder / "s.tar").write_bytes(tar({"./a.jpg": png(), "a.jpg": png(101), "b.jpg": png(102)}))
    inputs = listed(folder / "s.tar")
    assert names(inputs, folder) == [["s.tar#member=./a.jpg", "s.tar#member=b.jpg"]]


def test_folders_on_the_web_that_have_no_end_are_refused(
    folder: Path, site: Website, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "again").symlink_to(folder)
    monkeypatch.setattr(web_files, "_MOST_PAGES", 5)
    with pytest.raises(InputError, match="has more than 5 folders; pass one of them"):
        listed(f"{site.url}/", private_hosts=(site.host,))
    assert len(site.requests) == 5


def test_files_of_many_images_are_listed_on_the_web(folder: Path, site: Website) -> None:
    (folder / "s.tar").write_bytes(tar({"0.png": png()}))
    (folder / "t.parquet").write_bytes(table({"image": [png()]}))
    (folder / "l.txt").write_text("a.png\nsub/b c.png\n")
    sources = [f"{site.url}/{name}" for name in ("s.tar", "t.parquet", "l.txt")]
    found = [names(listed(one, private_hosts=(site.host,)), site.url) for one in sources]
    assert found == [[["s.tar#member=0.png"]], [["t.parquet#row=0"]], [["a.png", "sub/b%20c.png"]]]


def test_a_store_is_listed_in_order(memory: fsspec.AbstractFileSystem) -> None:
    for name in ("b.png", "a/c.jpg", "notes.txt"):
        memory.pipe(f"/bucket/{name}", png())
    memory.pipe("/shards/s-0.tar", tar({"0.png": png()}))
    assert names(listed("memory://bucket"), "memory://") == [["bucket/a/c.jpg", "bucket/b.png"]]
    assert names(listed("memory://bucket/*.png"), "memory://") == [["bucket/b.png"]]
    assert names(listed("memory://shards/s-{0..0}.tar"), "memory://") == [["shards/s-0.tar#member=0.png"]]


def test_an_empty_prefix_is_an_error(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe("/bucket/notes.txt", b"")
    with pytest.raises(InputError, match=r"there is no image in memory://bucket/; check the address"):
        listed("memory://bucket/")


def test_a_store_whose_package_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(
        UnsupportedError, match=r"s3://b/c/ needs more packages; pip install 'dinox-mcp\[batch\]' s3fs$"
    ):
        listed("s3://b/c/")


@pytest.mark.parametrize("path", ["/etc/a.png", "~/a.png", "../a.png", "file:///a.png", "C:\\a.png"])
def test_a_list_from_elsewhere_names_no_files_of_this_machine(memory: fsspec.AbstractFileSystem, path: str) -> None:
    memory.pipe("/bucket/list.txt", path.encode())
    with pytest.raises(ForbiddenError, match="a file from elsewhere may only name URLs and files below its own folder"):
        listed("memory://bucket/list.txt")


def test_a_folder_that_the_settings_do_not_allow_is_not_listed(folder: Path) -> None:
    (folder / "s.tar").write_bytes(tar({"0.png": png()}))
    with pytest.raises(ForbiddenError, match="is outside the folders that may be read"):
        listed(folder / "s.tar", allowed_folders=(folder / "other",))
