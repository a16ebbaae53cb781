"""What an `image` argument may look like, and what is said of everything else."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dinox_mcp.errors import ForbiddenError, ImageError
from dinox_mcp.images.sources import Page, Source, parse_source, read_data_uri, shorten
from tests.images.samples import encode, field

PNG = encode(field())
BASE64 = base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("photo.jpg", "photo.jpg"),
        ("  /home/me/photo.jpg\n", "/home/me/photo.jpg"),
        ('"/home/me/my photo.jpg"', "/home/me/my photo.jpg"),
        ("'~/photo.jpg'", "~/photo.jpg"),
        (r"C:\Users\me\photo.jpg", r"C:\Users\me\photo.jpg"),
        ("C:/Users/me/photo.jpg", "C:/Users/me/photo.jpg"),
        ("file:///home/me/my%20photo.jpg", "/home/me/my photo.jpg"),
        ("file://localhost/home/me/%C3%BC.jpg", "/home/me/ü.jpg"),
        ("FILE:/home/me/photo.jpg", "/home/me/photo.jpg"),
        ("file:///C:/photo.jpg", "C:/photo.jpg"),  # no path here: what is said of it follows in files.py
        ("file:///c%3A/my%20photo.jpg", "c:/my photo.jpg"),
        ("file://wsl.localhost/Ubuntu/home/me/a.jpg", r"\\wsl.localhost\Ubuntu\home\me\a.jpg"),
        ("file:///home/me/caf%E9.jpg", "/home/me/caf\udce9.jpg"),  # a name in Latin-1
        ("/home/me/caf\udce9.jpg", "/home/me/caf\udce9.jpg"),
        ("/a/Screenshot at 1.23\u202fPM.png", "/a/Screenshot at 1.23\u202fPM.png"),  # as macOS names them
    ],
)
def test_files(text: str, expected: str) -> None:
    assert parse_source(text, windows=False) == Source("file", expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file:///C:/my%20photo.jpg", "C:/my photo.jpg"),
        ("file:///c%3A/my%20photo.jpg", "c:/my photo.jpg"),
        ("file:/d:/a.jpg", "d:/a.jpg"),
        ("file:///a.jpg", "/a.jpg"),
        ("file://wsl.localhost/Ubuntu/home/a.jpg", r"\\wsl.localhost\Ubuntu\home\a.jpg"),
    ],
)
def test_drives_in_file_uris_on_windows(text: str, expected: str) -> None:
    assert parse_source(text, windows=True) == Source("file", expected)


@pytest.mark.parametrize("text", ["https://example.com/a.jpg", "HTTP://example.com/", "https:nonsense"])
def test_web_addresses(text: str) -> None:
    assert parse_source(f" {text} ") == Source("web", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("report.pdf#page=3", Source("file", "report.pdf", Page(3, 150))),
        (" '/home/me/my report.pdf#page=3&dpi=200' ", Source("file", "/home/me/my report.pdf", Page(3, 200))),
        ("report.pdf#DPI=300", Source("file", "report.pdf", Page(1, 300))),
        ("file:///a%20b.pdf#page=2", Source("file", "/a b.pdf", Page(2))),
        ("https://example.com/a.pdf?b=c#page=2", Source("web", "https://example.com/a.pdf?b=c", Page(2))),
        (
            "data:application/pdf;base64,JVBERi0=#page=2",
            Source("data", "data:application/pdf;base64,JVBERi0=", Page(2)),
        ),
        ("report#1.pdf", Source("file", "report#1.pdf")),
        ("shot#page=1.png", Source("file", "shot#page=1.png")),
        ("https://example.com/#top", Source("web", "https://example.com/#top")),
        ("clipboard", Source("clipboard", "")),
        (" ClipBoard\n", Source("clipboard", "")),
        ("./clipboard", Source("file", "./clipboard")),
        ("clipboard.png", Source("file", "clipboard.png")),
        ("latest:~/Pictures/Screenshots", Source("latest", "~/Pictures/Screenshots")),
        ("Latest: '/home/me/My Shots'", Source("latest", "/home/me/My Shots")),
        (r"latest:C:\Users\me", Source("latest", r"C:\Users\me")),
    ],
)
def test_pages_of_pdfs_the_clipboard_and_the_newest_image(text: str, expected: Source) -> None:
    assert parse_source(text, windows=False) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            f"a.pdf#{choice}"
            for choice in ("page=0", "page=", "page=x", "page=-1", "page=1&page", "page=1&zoom=2", "page=9999999")
        ),
        "a.pdf#dpi=17",
        "a.pdf#dpi=601",
        "https://example.com/a.pdf#page=0",
        "data:application/pdf;base64,JVBERi0=#page=0",
    ],
)
def test_a_page_that_is_none_is_explained(text: str) -> None:
    with pytest.raises(ImageError, match="does not choose a page of a PDF; write #page=3 or #page=3&dpi=200"):
        parse_source(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latest:", "'latest:' names no folder; pass its path too, as in latest:~/Pictures"),
        ("#page=3", "is empty"),
        ("", "the image argument is empty; pass a full path on this machine, an https:// URL or a data: URI"),
        (" \n", "is empty"),
        ('""', "is empty"),
        ("photo\0.jpg", r"'photo\?\.jpg' contains control characters"),
        ("photo\x1b[2J.jpg", "contains control characters"),
        ("photo\ud800.jpg", "contains control characters"),
        ("file:", "'file:' names no file"),
        ("file://localhost", "names no file"),
        ("file:///photo%00.jpg", "contains control characters"),
        ("file:///photo%0a.jpg", "contains control characters"),
        ("sandbox:/mnt/data/cat.png", "exists only inside the chat; .* never reach this server; ask the user"),
        ("attachment:0", "exists only inside the chat"),
        ("blob:https://chat.example.com/1-2-3", "exists only inside the chat"),
        ("ftp://example.com/a.jpg", r"ftp: addresses cannot be read .*; pass a full path"),
        ("s3://bucket/a.jpg", "s3: addresses cannot be read"),
        ("javascript:alert(1)", "javascript: addresses cannot be read"),
        ("dinox://results/abc", "dinox: addresses cannot be read"),  # the detector resolves its own
        (BASE64, r"bare base64 \('iVBORw0KGgoA…'\) is not a source; put data:image/png;base64, before it"),
        ("/9j/" + "A" * 100, "bare base64"),
        ("A" * 400, "bare base64"),
        ("A" * 100_000, "bare base64"),
        ("x." * 5_000, r"has 10,000 characters and is not a data: URI \('x\.x\."),
    ],
)
def test_what_points_nowhere_is_answered_with_a_remedy(text: str, message: str) -> None:
    with pytest.raises(ImageError, match=message) as error:
        parse_source(text)
    assert len(str(error.value)) < 300
    assert error.value.remedy


@pytest.mark.parametrize(
    "text", ["file://server/share/a.jpg", "file://evil.example.com/a.jpg", "file://127.0.0.1/a.jpg"]
)
def test_files_of_other_hosts_are_refused(text: str) -> None:
    with pytest.raises(ForbiddenError, match="images on network shares are not read"):
        parse_source(text)


def test_a_long_path_is_not_mistaken_for_base64() -> None:
    path = "/home/me/" + "holidays/" * 20 + "photo.jpg"
    assert parse_source(path) == Source("file", path)


@given(st.text(max_size=200))
def test_any_text_is_a_source_or_an_image_error(text: str) -> None:
    try:
        source = parse_source(text)
    except ImageError as error:
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e]", str(error))  # noqa: PT017 - its shape
    else:
        assert source.address


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("short", "short"),
        ("a\nb\x1bc", "a?b?c"),
        ("\u202eevil", "?evil"),
        ("x" * 50 + "y" * 50, "x" * 40 + "…" + "y" * 39),
    ],
)
def test_what_is_shown_of_a_text(text: str, shown: str) -> None:
    assert shorten(text) == shown


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        (f"data:image/png;base64,{BASE64}", "data:image/png…"),
        (f" DATA:IMAGE/PNG;BASE64,{BASE64}\n", "data:image/png…"),
        (f"data:image/png;name=a.png;base64,{BASE64.rstrip('=')}", "data:image/png…"),
        (f"data:;base64,{BASE64}", "data:…"),
        (f'"data:image/png;base64,{BASE64}"', "data:image/png…"),
        ("data:image/png;base64," + re.sub("(.{76})", "\\1\r\n", BASE64), "data:image/png…"),
        ("data:image/png;base64," + BASE64.replace("+", "-").replace("/", "_"), "data:image/png…"),
        ("data:image/png;base64," + BASE64.replace("+", "%2B").replace("=", "%3D"), "data:image/png…"),
        ("data:image/png," + "".join(f"%{byte:02x}" for byte in PNG), "data:image/png…"),
    ],
)
def test_data_uris(uri: str, name: str) -> None:
    assert parse_source(uri) == Source("data", uri)
    assert read_data_uri(uri, 10_000) == (PNG, name)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("data:image/png;base64", "data:image/png… has no comma"),
        ("data:image/png;base64,", "data:image/png… is empty"),
        ("data:image/png;base64,<the bytes>", r"is not base64 \(character 1 of 10 is wrong\)"),
        ("data:image/png;base64,iVBORw0KGgo…", "is not base64"),
        ("data:image/png;base64,iVBOR", "is cut off after 5 characters"),
        ("data:" + "x" * 1000, r"^data:x{20}…x{19}… has no comma"),
    ],
)
def test_data_uris_that_hold_no_data(uri: str, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_data_uri(uri, 10_000)


@pytest.mark.parametrize("uri", [f"data:image/png;base64,{BASE64}", "data:image/png," + "a" * len(PNG)])
def test_data_uris_over_the_byte_cap(uri: str) -> None:
    assert len(read_data_uri(uri, len(PNG))[0]) == len(PNG)
    with pytest.raises(ForbiddenError, match=r"bytes, more than the .* allowed; .*DINOX_MCP_MAX_IMAGE_BYTES"):
        read_data_uri(uri, len(PNG) - 1)
