"""From an MCP request to who is calling, and from our errors to the one that its model may read."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError, ToolError

from dinox_mcp.backends.base import Progress
from dinox_mcp.caller import OWNER, Caller
from dinox_mcp.errors import DinoxError, InputError, NotFoundError

RequestContext = Context[Any, Any]
KEY_HEADER = "x-dinox-api-key"
MAX_KEY_LENGTH = 512


def caller_of(context: RequestContext) -> Caller:
    """Read the caller's own DINO-X key from the request's header, where the transport has headers.

    Raises:
        InputError: the header is no key.
    """
    key = ((context.headers or {}).get(KEY_HEADER) or "").strip()
    if not key:
        return OWNER
    if len(key) > MAX_KEY_LENGTH or not key.isascii() or not key.isprintable() or " " in key:
        raise InputError("the header X-DINOX-API-Key is no key (printable ASCII without spaces); send the key alone")
    return Caller.with_key(key)


def progress_of(context: RequestContext) -> Progress:
    """Report progress to the caller in per cent; never backwards, as the protocol asks."""
    highest = -1.0

    async def report(fraction: float, message: str) -> None:
        nonlocal highest
        # The protocol wants each value above the last, also where a step only changes the words.
        highest = max(highest + 0.01, min(99.0, 100 * fraction))
        await context.report_progress(min(highest, 100.0), 100, message)

    return report


@contextmanager
def tool_errors() -> Iterator[None]:
    """Turn our errors into the one whose text the SDK passes to the model."""
    try:
        yield
    except DinoxError as error:
        raise ToolError(str(error)) from None


@contextmanager
def resource_errors() -> Iterator[None]:
    """Turn our errors into those of resources."""
    try:
        yield
    except NotFoundError as error:
        raise ResourceNotFoundError(str(error)) from None
    except DinoxError as error:
        raise ResourceError(str(error)) from None
