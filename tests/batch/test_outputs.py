"""How the images of a run are named in other tools, and in files that are made of them."""

import pytest

from dinox_mcp.batch.outputs import file_path, jpeg_path, relative_name


@pytest.mark.parametrize(
    ("source", "of", "name"),
    [
        ("/photos/2026/a.jpg", "/photos", "2026/a.jpg"),
        ("/photos/2026/a.jpg", "/photos/2026*/*.jpg", "2026/a.jpg"),
        ("/photos/a.jpg", "/photos/a.jpg", "a.jpg"),
        ("/lists/x/a.jpg", "/lists/list.txt", "x/a.jpg"),
        ("/elsewhere/a.jpg", "/lists/list.txt", "elsewhere/a.jpg"),
        ("/data/s-0.tar#member=x/7.jpg", "/data/s-{0..3}.tar", "s-0/x/7.jpg"),
        ("/data/s-0.tar#member=../../7.jpg", "/data", "s-0/7.jpg"),
        ("/data/t.parquet#row=17", "/data/t.parquet", "t/row-17"),
        ("https://example.com/photos/a%20b.jpg", "https://example.com/photos/", "a b.jpg"),
        ("https://example.com/photo?id=a/b", "/lists/list.txt", "example.com/photo?id=a-b"),
        ("s3://bucket/scans/a.jpg", "s3://bucket/scans", "a.jpg"),
        (r"C:\photos\2026\a.jpg", r"C:\photos", "2026/a.jpg"),
    ],
)
def test_an_image_is_named_by_its_path_below_the_source(source: str, of: str, name: str) -> None:
    assert relative_name(source, of) == name


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("2026/a.jpg", "2026/a.txt"),
        ("t/row-17", "t/row-17.txt"),
        ("a.b.c", "a.b.c.txt"),
        ("x:y/a?b.jpg", "x-y/a-b.txt"),
        ("con/a.jpg", "con/a.txt"),
        ("/".join(["deep"] * 40) + "/a.jpg", "/".join(["deep"] * 16) + "/a.txt"),
    ],
)
def test_a_file_is_named_after_the_image(name: str, path: str) -> None:
    assert file_path(name, ".txt").as_posix() == path


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("2026/a.jpg", "2026/a.jpg"),
        ("2026/a.JPEG", "2026/a.JPEG"),
        ("a.png", "a.png.jpg"),
        ("t/row-17", "t/row-17.jpg"),
        ("a.png.jpg", "a.png-9c56cc51.jpg"),
        ("x?.jpg", "x--9c56cc51.jpg"),
    ],
)
def test_a_jpeg_has_a_name_that_no_other_image_has(name: str, path: str) -> None:
    assert jpeg_path(name, "abc").as_posix().replace("ba7816bf", "9c56cc51") == path
