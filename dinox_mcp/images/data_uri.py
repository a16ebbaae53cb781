"""Images that travel inside the call, as data: URIs."""

import binascii
import re
from urllib.parse import unquote_to_bytes

from dinox_mcp.errors import ForbiddenError, ImageError
from dinox_mcp.images.sources import shorten

_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_ODD = re.compile(rb"[^A-Za-z0-9+/]")


def read_data_uri(text: str, max_bytes: int) -> tuple[bytes, str]:
    """Decode a data: URI to its bytes and a short name for it. Slow for large pictures: call it in a thread.

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
