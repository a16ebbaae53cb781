"""The log: a line a record to stderr, and no traceback for what is no fault of the server."""

import logging
import sys

import anyio
from starlette.requests import ClientDisconnect

from dinox_mcp.server.clean import clean_line

_BROKEN_OFF = (
    ClientDisconnect,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    ConnectionError,
)


def set_up(level: str) -> None:
    """Log to stderr, in place of whatever the SDK has set up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(_without_broken_off)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class _OneLine(logging.Formatter):
    """Writes messages in one line each; tracebacks of real faults keep theirs."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        """Bring the message to one harmless line."""
        return clean_line(super().formatMessage(record))


def _without_broken_off(record: logging.LogRecord) -> bool:
    """Say in a line that a client has broken off, where the SDK logs the exception that this causes."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and _is_broken_off(error):
        record.msg, record.args = "a client broke off (%s)", (type(error).__name__,)
        record.exc_info = record.exc_text = None
    return True


def _is_broken_off(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_broken_off, error.exceptions))
    return isinstance(error, _BROKEN_OFF)
