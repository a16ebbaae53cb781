"""The clipboard, by programs that stand in for wl-paste and xclip, and by Pillow."""

import shlex
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageGrab

from dinox_mcp.errors import ForbiddenError, ImageError
from dinox_mcp.images import clipboard
from dinox_mcp.images.clipboard import read_clipboard
from dinox_mcp.images.loader import ImageLoader
from dinox_mcp.settings import Settings
from tests.images.samples import encode, field

PNG = encode(field())
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="the programs here are shell scripts"),
]


class Desktop:
    """A folder of programs that is the whole PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, name: str, types: str = "", content: bytes = b"", *, errors: str = "") -> None:
        """Add a program that lists types, gives content of any type, or only writes errors."""
        data = self.folder / f"{name}.data"
        data.write_bytes(content)
        program = self.folder / name
        listing = f'case "$*" in *--list-types*|*TARGETS*) printf {shlex.quote(types)};; *) /bin/cat {data};; esac'
        failing = f"echo {shlex.quote(errors)} >&2; exit 1"
        program.write_text(f'#!/bin/sh\necho "$@" >> {self.folder}/calls\n{failing if errors else listing}\n')
        program.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        """The arguments of all calls."""
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def desktop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desktop:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":0")
    return Desktop(folder)


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("wl-paste", ["--list-types", "--no-newline --type image/png"]),
        ("xclip", ["-selection clipboard -o -t TARGETS", "-selection clipboard -o -t image/png"]),
    ],
)
async def test_an_image_is_taken(desktop: Desktop, name: str, calls: list[str]) -> None:
    desktop.install(name, "text/html\nimage/jpeg\nimage/png\n", PNG)
    assert await read_clipboard(Settings(), platform="linux") == (PNG, "clipboard")
    assert desktop.calls == calls


@pytest.mark.skipif(sys.platform != "linux", reason="the loader asks the system's own clipboard")
async def test_the_note_says_what_was_taken_and_when(desktop: Desktop) -> None:
    desktop.install("xclip", "image/png\n", PNG)
    picture = await ImageLoader(Settings()).load(" Clipboard ")
    assert picture.source == "clipboard"
    (note,) = picture.notes[:1]
    assert note.startswith("taken from the clipboard at 20")
    assert note.endswith(": an image (64x48 pixels)")


@pytest.mark.parametrize(("wayland", "first"), [("wayland-1", b"wayland"), (None, b"x11")])
async def test_the_program_of_the_session_goes_first(
    desktop: Desktop, monkeypatch: pytest.MonkeyPatch, wayland: str | None, first: bytes
) -> None:
    desktop.install("wl-paste", "image/png", b"wayland")
    desktop.install("xclip", "image/png", b"x11")
    if wayland:
        monkeypatch.setenv("WAYLAND_DISPLAY", wayland)
    assert await read_clipboard(Settings(), platform="linux") == (first, "clipboard")


async def test_where_one_program_finds_nothing_the_other_may(desktop: Desktop) -> None:
    desktop.install("xclip", errors="Error: target TARGETS not available")
    desktop.install("wl-paste", "image/png", PNG)
    assert await read_clipboard(Settings(), platform="linux") == (PNG, "clipboard")


async def test_the_file_that_was_copied_is_read(desktop: Desktop, tmp_path: Path) -> None:
    photo = tmp_path / "my photo.png"
    photo.write_bytes(PNG)
    desktop.install("xclip", "text/uri-list\n", f"# a list\r\n{photo.as_uri()}\r\n".encode())
    assert await read_clipboard(Settings(), platform="linux") == (PNG, str(photo))
    outside = Settings(allowed_folders=(tmp_path / "elsewhere",))
    with pytest.raises(ForbiddenError, match="outside the folders that may be read"):
        await read_clipboard(outside, platform="linux")


async def test_without_a_program_the_error_names_what_to_install(desktop: Desktop) -> None:
    assert not list(desktop.folder.iterdir())
    with pytest.raises(ImageError, match=r"install wl-clipboard \(Wayland\) or xclip \(X11\), or pass"):
        await read_clipboard(Settings(), platform="linux")


@pytest.mark.parametrize(
    ("types", "content", "errors", "message"),
    [
        (
            "text/plain\nUTF8_STRING\n",
            b"hello",
            "",
            r"^there is no image on the clipboard \(xclip: no image\); copy an",
        ),
        ("text/uri-list\n", b"https://example.com/a.png\n", "", "xclip: no image"),
        ("image/png\n", b"", "", "xclip: no image"),
        (
            "",
            b"",
            "Error: Can't open display: (null)",
            r"\(xclip: Error: Can't open display: \(null\)\); copy an image",
        ),
    ],
)
async def test_without_an_image_the_error_says_so(
    desktop: Desktop, types: str, content: bytes, errors: str, message: str
) -> None:
    desktop.install("xclip", types, content, errors=errors)
    with pytest.raises(ImageError, match=message) as error:
        await read_clipboard(Settings(), platform="linux")
    assert error.value.remedy.endswith("an https:// URL or a data: URI")


async def test_a_display_that_the_host_has_not_passed_on_is_named(
    desktop: Desktop, monkeypatch: pytest.MonkeyPatch
) -> None:
    desktop.install("xclip", errors="Error: Can't open display: (null)")
    monkeypatch.delenv("DISPLAY")
    with pytest.raises(ImageError, match=r"add DISPLAY \(X11\) or WAYLAND_DISPLAY and XDG_RUNTIME_DIR"):
        await read_clipboard(Settings(), platform="linux")


async def test_a_program_that_hangs_is_given_up(desktop: Desktop, monkeypatch: pytest.MonkeyPatch) -> None:
    program = desktop.folder / "xclip"
    program.write_text("#!/bin/sh\nexec /bin/sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setattr(clipboard, "LIMIT_S", 0.2)
    with pytest.raises(ImageError, match=r"xclip: nothing within 0\.2 s"):
        await read_clipboard(Settings(), platform="linux")


async def test_an_image_of_too_many_bytes_is_refused(desktop: Desktop) -> None:
    desktop.install("xclip", "image/png\n", PNG)
    with pytest.raises(ForbiddenError, match="more than the 50 bytes allowed"):
        await read_clipboard(Settings(max_image_bytes=50), platform="linux")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clipboard": False}, "DINOX_MCP_CLIPBOARD is false"),
        ({"transport": "http"}, "not readable over HTTP; pass an https:// URL or a data: URI"),
        ({"transport": "http", "allowed_folders": ("/",)}, "not readable over HTTP"),
    ],
)
async def test_it_is_read_only_where_the_settings_allow_it(
    desktop: Desktop, settings: dict[str, object], message: str
) -> None:
    desktop.install("xclip", "image/png\n", PNG)
    with pytest.raises(ForbiddenError, match=message):
        await read_clipboard(Settings.load(**settings), platform="linux")
    assert not (desktop.folder / "calls").exists()


@pytest.mark.parametrize("platform", ["darwin", "win32"])
async def test_pillow_takes_it_elsewhere(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageGrab, "grabclipboard", lambda: field(mode="RGBA"))
    data, name = await read_clipboard(Settings(), platform=platform)
    assert name == "clipboard"
    assert (await ImageLoader(Settings()).read(data, name)).rgb().tobytes() == field().tobytes()


async def test_pillow_may_find_copied_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    monkeypatch.setattr(ImageGrab, "grabclipboard", lambda: [str(tmp_path / "a.png"), "b.png"])
    assert await read_clipboard(Settings(), platform="win32") == (PNG, str(tmp_path / "a.png"))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, "^there is no image on the clipboard; copy an image again"),
        ([], "^there is no image on the clipboard"),
        (Image.new("L", (200, 100)), "has 200x100 pixels, more than the 10,000 allowed"),
        (OSError("osascript failed"), r"cannot be read \(osascript failed\)"),
    ],
)
async def test_what_pillow_does_not_find(found: object, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def grab() -> object:
        if isinstance(found, OSError):
            raise found
        return found

    monkeypatch.setattr(ImageGrab, "grabclipboard", grab)
    with pytest.raises(ImageError, match=message):
        await read_clipboard(Settings(max_image_pixels=10_000), platform="darwin")
