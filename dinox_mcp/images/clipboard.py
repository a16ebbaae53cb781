"""The image on the clipboard of the user: by Pillow on macOS and Windows, by wl-paste or xclip on Linux."""

import io
import os
import shutil
import sys

import anyio
import anyio.to_thread

from dinox_mcp.errors import ForbiddenError, ImageError
from dinox_mcp.images import process
from dinox_mcp.images.files import read_file
from dinox_mcp.images.sources import CLIPBOARD, parse_source, shorten
from dinox_mcp.settings import Settings

LIMIT_S = 10  # that a program may take to give what is on the clipboard
_MAX_LIST = 100_000
_TYPES = ("image/png", "image/jpeg", "image/webp", "image/tiff", "image/bmp", "image/gif", "image/avif", "image/heic")
_FILES = "text/uri-list"  # how a file manager puts copied files there
_TOOLS = {
    "wl-paste": (("--list-types",), ("--no-newline", "--type")),
    "xclip": (("-selection", "clipboard", "-o", "-t", "TARGETS"), ("-selection", "clipboard", "-o", "-t")),
}
"""The arguments that list the types of what is on the clipboard, and those before a type that give it."""
_NOTHING = "copy an image again, or pass its path, an https:// URL or a data: URI"


async def read_clipboard(settings: Settings, *, platform: str = sys.platform) -> tuple[bytes, str]:
    """Return the encoded image on the clipboard, or that of an image file which was copied, and its name.

    Raises:
        ForbiddenError: the settings do not allow it, or the copied file lies outside the allowed folders.
        ImageError: there is no image, or no program that gives it.
    """
    if settings.transport != "stdio":
        raise ForbiddenError(
            "the clipboard of the server's machine is not readable over HTTP; pass an https:// URL or a data: URI"
        )
    if not settings.clipboard:
        raise ForbiddenError(
            "DINOX_MCP_CLIPBOARD is false, so the clipboard is not read; pass a path, or ask the user to change it"
        )
    found = await (_by_pillow(settings) if platform in {"darwin", "win32"} else _by_programs(settings))
    if isinstance(found, bytes):
        return found, CLIPBOARD
    return await anyio.to_thread.run_sync(read_file, found, settings, abandon_on_cancel=True)


async def _by_pillow(settings: Settings) -> bytes | str:
    """Return the image, or the path of the first file that was copied."""
    try:
        with anyio.fail_after(LIMIT_S):
            found = await anyio.to_thread.run_sync(_grab, settings.max_image_pixels, abandon_on_cancel=True)
    except TimeoutError:
        raise ImageError(f"the clipboard gave nothing within {LIMIT_S} s; {_NOTHING}") from None
    if found is None:
        raise ImageError(f"there is no image on the clipboard; {_NOTHING}")
    return found


def _grab(max_pixels: int) -> bytes | str | None:
    from PIL import Image, ImageGrab

    try:
        found = ImageGrab.grabclipboard()
        if not isinstance(found, Image.Image):
            return str(found[0]) if found else None
        size = found.width, found.height
        if size[0] * size[1] <= max_pixels:
            file = io.BytesIO()
            found.save(file, "PNG", compress_level=1)
            return file.getvalue()
    except Exception as error:  # noqa: BLE001 - it runs programs and decoders, which raise nearly anything
        raise ImageError(f"the clipboard cannot be read ({shorten(str(error))}); {_NOTHING}") from None
    raise ForbiddenError(
        f"the image on the clipboard has {size[0]}x{size[1]} pixels, more than the {max_pixels:,} allowed; "
        "copy a smaller part"
    )


async def _by_programs(settings: Settings) -> bytes | str:
    """Return what the first program gives that finds an image, or the path of the first file that was copied."""
    problems = []
    # The program for this session goes first.
    for name in ("wl-paste", "xclip") if os.environ.get("WAYLAND_DISPLAY") else ("xclip", "wl-paste"):
        if program := shutil.which(name):
            try:
                return await _by_program(name, program, settings)
            except TimeoutError:
                problems.append(f"{name}: nothing within {LIMIT_S} s")
            except (OSError, LookupError) as error:
                problems.append(f"{name}: {shorten(str(error)) or 'no image'}")
    if not problems:
        raise ImageError(
            "there is no program to read the clipboard; install wl-clipboard (Wayland) or xclip (X11), or pass the "
            "image's path"
        )
    remedy = _NOTHING
    if not (os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY")):
        remedy += (
            ", or add DISPLAY (X11) or WAYLAND_DISPLAY and XDG_RUNTIME_DIR to the environment of this server in the "
            "configuration of the assistant's program"
        )
    raise ImageError(f"there is no image on the clipboard ({'. '.join(problems)}); {remedy}")


async def _by_program(name: str, program: str, settings: Settings) -> bytes | str:
    """Raise LookupError, with what the program writes, where it finds no image."""
    lists, gives = _TOOLS[name]
    listed = await process.run([program, *lists], limit_s=LIMIT_S, max_bytes=_MAX_LIST)
    types = listed.output.decode(errors="replace").split()
    kind = next((one for one in (*_TYPES, _FILES) if one in types), None)
    if kind is None:
        raise LookupError(listed.errors)
    given = await process.run([program, *gives, kind], limit_s=LIMIT_S, max_bytes=settings.max_image_bytes)
    if len(given.output) > settings.max_image_bytes:
        raise ForbiddenError(
            f"the image on the clipboard has more than the {settings.max_image_bytes:,} bytes allowed; "
            "copy a smaller part, or raise DINOX_MCP_MAX_IMAGE_BYTES"
        )
    found = _first_file(given.output) if kind == _FILES else given.output
    if not found:
        raise LookupError(given.errors)
    return found


def _first_file(uris: bytes) -> str | None:
    """Return the path of the first file in a list of URIs."""
    for line in uris.decode(errors="replace").splitlines():
        if line.lower().startswith("file:"):
            return parse_source(line).address
    return None
