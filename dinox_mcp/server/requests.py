"""What every request passes through: its caller, progress, bounds for names, and the log."""

import logging
import re
import time
from collections.abc import Mapping
from typing import Any

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import Context
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS
from starlette.requests import Request

from dinox_mcp.backends.base import Progress
from dinox_mcp.detect.options import OWNER, Caller
from dinox_mcp.errors import InputError
from dinox_mcp.types.text import clean_line

RequestContext = Context[Any, Any]
KEY_HEADER = "x-dinox-api-key"
MAX_KEY_LENGTH = 512


def caller_of(request: RequestContext | Request) -> Caller:
    """Read the caller's own DINO-X key from the request's header, where the transport has headers.

    Raises:
        InputError: the header is not a key.
    """
    key = (request.headers or {}).get(KEY_HEADER, "").strip()
    if not key:
        return OWNER
    if len(key) > MAX_KEY_LENGTH or not key.isascii() or not key.isprintable() or " " in key:
        raise InputError("the header X-DINOX-API-Key is not a key (printable ASCII without spaces); send the key alone")
    return Caller.with_key(key)


def progress_of(context: RequestContext) -> Progress:
    """Report progress to the caller in per cent; never backwards, as the protocol demands."""
    highest = -1.0

    async def report(fraction: float, message: str) -> None:
        nonlocal highest
        # The protocol wants each value above the last, also where a step only changes the message.
        highest = max(highest + 0.01, min(99.0, 100 * fraction))
        await context.report_progress(min(highest, 100.0), 100, message)

    return report


MAX_NAME = 1000
"""Characters of a progress token, of a name or URI, and of what is to be completed: replies repeat them."""
_MAX_LOGGED = 300
_PICTURE = re.compile(r"data:[^\s'\"]*")
_logger = logging.getLogger(__name__)


async def bound_names(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Refuse a request with a name that is too long, by an MCPError."""
    params = ctx.params or {}
    meta, argument = (part if isinstance(part := params.get(name), Mapping) else {} for name in ("_meta", "argument"))
    named = {
        "the progress token": meta.get("progressToken"),
        "what is to be completed": argument.get("value"),
        "the name": params.get("name"),
        "the uri": params.get("uri"),
    }
    for what, name in named.items():
        if isinstance(name, str) and len(name) > MAX_NAME:
            raise MCPError(
                INVALID_PARAMS, f"{what} has {len(name)} characters, more than {MAX_NAME}; send a shorter one"
            )
    return await call_next(ctx)


async def log_outcome(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Log the outcome of a request at the level info: no arguments, no key, no image."""
    if ctx.request_id is None or not _logger.isEnabledFor(logging.INFO):
        return await call_next(ctx)
    started = time.monotonic()
    outcome = "failed"
    try:
        result = await call_next(ctx)
        outcome = _outcome(result)
    except MCPError as error:
        outcome = f"refused: {error.error.message}"
        raise
    except anyio.get_cancelled_exc_class():
        outcome = "cancelled"
        raise
    else:
        return result
    finally:
        what = " ".join(str(part) for part in (ctx.method, (ctx.params or {}).get("name")) if part)
        line = clean_line(f"{what[:MAX_NAME]} {_PICTURE.sub('data:...', outcome[:_MAX_LOGGED])}")
        _logger.info("%s in %.2f s", line, time.monotonic() - started)


def _outcome(result: HandlerResult) -> str:
    """Describe the outcome: a tool's own error is in its reply, while protocol errors are raised."""
    if not isinstance(result, Mapping) or not result.get("isError"):
        return "answered"
    return f"refused: {' '.join(str(block.get('text', '')) for block in result.get('content', ()))}"
