"""What an `image` argument is: a file, the newest of a folder, a web address, a data: URI (read here), the clipboard.

Everything else is a mistake that an error explains. `#page=3` at the end chooses a page of a PDF.
"""

import binascii
import os
import re
from dataclasses import dataclass
from typing import Literal
from unicodedata import category
from urllib.parse import unquote, unquote_to_bytes

from dinox_mcp.errors import ForbiddenError, ImageError

REMEDY = "pass a full path on this machine, an https:// URL or a data: URI"
NEVER_ARRIVES = (
    "images pasted or uploaded into the chat never reach this server; ask the user for the image's full path "
    "on this machine or for an https:// URL"
)
COPIED = ', or let the user copy the image and pass "clipboard"'
MAX_ADDRESS = 8192
SHOWN = 80
CLIPBOARD = "clipboard"
LATEST = "latest:"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")  # two letters at least: one is a Windows drive
# The surrogates U+DC80 to U+DCFF stand for the bytes of a file name that is not UTF-8.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udc7f\udd00-\udfff]")
_CHAT_SCHEMES = {"attachment", "blob", "cid", "content", "sandbox", "upload"}
_BASE64 = re.compile(r"[A-Za-z0-9+/_\s-]+={0,2}\s*")
_BASE64_PICTURES = ("/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR", "Qk0", "SUkq", "TU0A", "AAAA", "JVBERi")
_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_ODD = re.compile(rb"[^A-Za-z0-9+/]")

MIN_DPI, _MAX_DPI = 18, 600
_MAX_PAGE = 100_000
_PAGE = re.compile(r"#(?P<choice>(?:page|dpi)=[\w&=+-]*)$", re.IGNORECASE)
_LONGEST_CHOICE = 60


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a PDF, from 1 on, and the dots an inch at which it is rendered."""

    number: int = 1
    dpi: int = 150

    def __str__(self) -> str:
        return f"#page={self.number}&dpi={self.dpi}"


@dataclass(frozen=True, slots=True)
class Source:
    """Where an image is.

    `address` is a path (percent-decoded), a folder's path, a URL, a complete data: URI, or empty for the clipboard.
    `page` is the page of a PDF, None where none is chosen.
    """

    kind: Literal["file", "latest", "web", "data", "clipboard"]
    address: str
    page: Page | None = None


def parse_source(text: str, *, windows: bool = os.name == "nt") -> Source:
    """Return what an `image` argument points to.

    Raises:
        ImageError: it points nowhere that an image can be read from; the message says what to pass.
        ForbiddenError: it points to a network share.
    """
    if text[:64].lstrip(" \t\r\n\"'").lower().startswith("data:"):
        return Source("data", *split_page(text))
    if len(text) > MAX_ADDRESS:
        raise ImageError(_explain_long(text))
    address, page = split_page(_unquote(text.strip()))
    if not address:
        raise ImageError(f"the image argument is empty; {REMEDY}")
    if _CONTROL.search(address):
        raise ImageError(f"the image argument '{shorten(address)}' contains control characters; {REMEDY}")
    scheme = _SCHEME.match(address)
    match scheme and scheme[1].lower():
        case "http" | "https":
            return Source("web", address, page)
        case "file":
            return Source("file", _path_of(address, windows=windows), page)
        case "latest":
            return Source("latest", _folder_of(address), page)
        case None:
            return _without_scheme(address, page)
        case name if name in _CHAT_SCHEMES:
            raise ImageError(f"'{shorten(address)}' exists only inside the chat; {NEVER_ARRIVES}")
        case name:
            raise ImageError(f"{name}: addresses cannot be read ('{shorten(address)}'); {REMEDY}")


def _without_scheme(address: str, page: Page | None) -> Source:
    if address.casefold() == CLIPBOARD:
        return Source("clipboard", "", page)
    if len(address) > SHOWN and _is_base64(address):
        raise ImageError(_explain_long(address))
    return Source("file", address, page)


def _folder_of(address: str) -> str:
    folder = _unquote(address[len(LATEST) :].strip())
    if not folder:
        raise ImageError(f"'{shorten(address)}' names no folder; pass its path too, as in {LATEST}~/Pictures")
    return folder


def split_page(text: str) -> tuple[str, Page | None]:
    """Take the page of a PDF off the end of an address: `#page=3`, `#page=3&dpi=200`.

    Raises:
        ImageError: it looks like one and is none.
    """
    end = text[-_LONGEST_CHOICE:].rstrip(" \t\r\n\"'`")
    match = _PAGE.search(end)
    if match is None:
        return text, None
    given = dict(part.partition("=")[::2] for part in match["choice"].lower().split("&"))
    chosen = given.pop("page", "1"), given.pop("dpi", "150")
    page = Page(*(int(text) if re.fullmatch(r"[0-9]{1,6}", text) else 0 for text in chosen))
    if given or not 1 <= page.number <= _MAX_PAGE or not MIN_DPI <= page.dpi <= _MAX_DPI:
        raise ImageError(
            f"'{shorten(match[0])}' does not choose a page of a PDF; write #page=3 or #page=3&dpi=200, with a dpi from "
            f"{MIN_DPI} to {_MAX_DPI}"
        )
    return text[: max(0, len(text) - _LONGEST_CHOICE) + match.start()], page


def without_page(text: str) -> str:
    """Leave out `#page=3` at the end, right or wrong."""
    return _PAGE.sub("", text)


def shorten(text: str, limit: int = SHOWN) -> str:
    """Make any text fit for a message: one line, printable, at most `limit` characters, both ends kept."""
    if len(text) > limit:
        text = f"{text[: limit // 2]}…{text[-(limit // 2) + 1 :]}"
    return "".join(letter if letter.isprintable() or category(letter) == "Zs" else "?" for letter in text)


def _unquote(text: str) -> str:
    """Take off the quotation marks that people and shells put around paths."""
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`"
    return text[1:-1].strip() if quoted else text


def _is_base64(text: str) -> bool:
    likely = text.startswith(_BASE64_PICTURES) or (len(text) > 4 * SHOWN and text[0] not in "/~")
    return likely and "." not in text and _BASE64.fullmatch(text) is not None


def _explain_long(text: str) -> str:
    if _is_base64(text[:MAX_ADDRESS].strip()):
        return (
            f"bare base64 ('{shorten(text[:12])}…') is not a source; put data:image/png;base64, before it, or {REMEDY}"
        )
    return f"the image argument has {len(text):,} characters and is not a data: URI ('{shorten(text[:24])}…'); {REMEDY}"


def _path_of(uri: str, *, windows: bool) -> str:
    """Convert a file: URI to a path."""
    rest = uri[len("file:") :]
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host.lower() == "wsl.localhost":
            return f"\\\\{host}{unquote(slash + path)}".replace("/", "\\")
        if host.lower() not in {"", "localhost"}:
            raise ForbiddenError(
                f"'{shorten(uri)}' names the host '{shorten(host)}': images on network shares are not read; "
                "pass a path on this machine"
            )
        rest = slash + path
    path = unquote(rest, errors="surrogateescape")
    if not path:
        raise ImageError(f"'{shorten(uri)}' names no file; {REMEDY}")
    if _CONTROL.search(path):
        raise ImageError(f"'{shorten(uri)}' contains control characters; {REMEDY}")
    return path[1:] if re.match(r"/[A-Za-z]:" if windows else r"/[A-Za-z]:[\\/]", path) else path


def read_data_uri(text: str, max_bytes: int) -> tuple[bytes, str]:
    """Decode a data: URI to its bytes and a short name for it. Slow for large images: call it in a thread.

    Raises:
        ImageError: the URI is cut off or not what it says.
        ForbiddenError: it holds more than `max_bytes`.
    """
    uri = text.strip(" \t\r\n\"'`")
    header, comma, payload = uri[len("data:") :].partition(",")
    media_type, *parameters = (part.strip().lower() for part in header[:200].split(";"))
    shown = f"data:{shorten(media_type, 40)}…"
    if not comma:
        raise ImageError(f"{shown} has no comma and no content; write data:image/png;base64,<the bytes in base64>")
    data = _base64(payload, shown) if "base64" in parameters else unquote_to_bytes(payload)
    if not data:
        raise ImageError(f"{shown} is empty; write data:image/png;base64,<the bytes in base64>")
    if len(data) > max_bytes:
        raise ForbiddenError(
            f"{shown} holds {len(data):,} bytes, more than the {max_bytes:,} allowed; "
            "pass a smaller image or raise DINOX_MCP_MAX_IMAGE_BYTES"
        )
    return data, shown


def _base64(payload: str, shown: str) -> bytes:
    letters = payload.encode("ascii", "replace")
    if b"%" in letters:
        letters = unquote_to_bytes(letters)
    letters = letters.translate(_FROM_URL_SAFE, delete=b" \t\r\n").rstrip(b"=")
    if odd := _ODD.search(letters):
        raise ImageError(
            f"{shown} is not base64 (character {odd.start() + 1:,} of {len(letters):,} is wrong); "
            "encode the whole file and leave nothing out"
        )
    try:
        return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))
    except binascii.Error:
        raise ImageError(
            f"{shown} is cut off after {len(letters):,} characters of base64; encode the whole file"
        ) from None
