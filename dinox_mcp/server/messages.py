"""Bounds for a whole JSON-RPC message, checked on its bytes before anything parses them.

Parsing makes an object of each value, which for 20 MB of empty lists takes gigabytes. A call needs few values and
little text: only the pictures in it, as data: URIs, are large.
"""

import re

from mcp.types import INVALID_REQUEST, PARSE_ERROR, ErrorData, JSONRPCError, JSONRPCMessage, jsonrpc_message_adapter
from pydantic import ValidationError

MAX_VALUES = 100_000
"""Values in a message, told by its commas and opening brackets."""
MAX_TEXT_BYTES = 1_000_000
"""Bytes of a message beside its pictures."""
MAX_PICTURES = 1000
MAX_ID = 1000
"""Characters of an id, which the answer repeats."""
_PICTURE = b'"data:'
_ID = rb'"id"\s*:\s*(?P<id>\d{1,15}|"[^"\\]{1,100}")'
# Clients write the id before the parameters or, as the TypeScript SDK does, after them.
_ID_FIRST = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*(?:"(?:jsonrpc|method)"\s*:\s*"[^"]{0,100}"\s*,\s*){0,2}' + _ID)
_ID_LAST = re.compile(
    rb'\}\s*,\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?' + _ID + rb'(?:\s*,\s*"jsonrpc"\s*:\s*"2\.0")?\s*\}\s*$'
)


def too_large(message: bytes) -> str | None:
    """Say in a line what of a message is too large, or nothing."""
    text = len(message) - _picture_bytes(message)
    if text > MAX_TEXT_BYTES:
        return (
            f"the message has {text} bytes beside its pictures, more than {MAX_TEXT_BYTES}; send a picture as a URL or "
            "as a data: URI (data:image/png;base64,...), and fewer objects, prompts or boxes in a call"
        )
    values = sum(map(message.count, (b",", b"[", b"{")))
    if values > MAX_VALUES:
        return f"the message holds about {values} values, more than {MAX_VALUES}; split them over several calls"
    return None


def parse(message: bytes) -> JSONRPCMessage | JSONRPCError:
    """Read a message, or make the answer to one that cannot be read."""
    if reason := too_large(message):
        return refusal(message, reason)
    try:
        parsed = jsonrpc_message_adapter.validate_json(message.decode(errors="replace"), by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            reason = (
                f"the line is no valid JSON ({first['msg'].removeprefix('Invalid JSON: ')}); send one message a line"
            )
            return refusal(message, reason, PARSE_ERROR)
        return refusal(message, "the line is no JSON-RPC 2.0 message; send jsonrpc, id, method and params")
    if isinstance(known := getattr(parsed, "id", None), str) and len(known) > MAX_ID:
        return refusal(b"", f"the id has {len(known)} characters, more than {MAX_ID}; send a shorter one")
    return parsed


def refusal(message: bytes, reason: str, code: int = INVALID_REQUEST) -> JSONRPCError:
    """Make the answer to a message that is not served, under its id where that can be read."""
    match = _ID_FIRST.match(message, 0, 1000) or _ID_LAST.search(message, max(0, len(message) - 1000))
    found = match["id"].decode(errors="replace") if match else None
    known = None if found is None else found.strip('"') if found.startswith('"') else int(found)
    return JSONRPCError(jsonrpc="2.0", id=known, error=ErrorData(code=code, message=reason))


def _picture_bytes(message: bytes) -> int:
    """Add up the lengths of the strings that are data: URIs."""
    total = end = 0
    for _ in range(MAX_PICTURES):
        start = message.find(_PICTURE, end)
        end = message.find(b'"', start + len(_PICTURE))
        if start < 0 or end < 0:
            break
        total += end - start
    return total
