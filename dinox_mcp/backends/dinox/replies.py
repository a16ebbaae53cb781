"""Reads the replies of the service: data, or a failure and what to do about it; and why there is no reply."""

import json
import math
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from http import HTTPStatus
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from dinox_mcp.errors import BackendError, BusyError, KeyRejectedError, QuotaError, ServiceError

_ASKS_TO_RETRY = "202001"
_MAX_QUOTE = 300
_MAX_PAUSE_S = 86_400.0
_BAD_KEY = re.compile(
    r"token\b.*\b(invalid|expired|disabled|exist|found|missing|wrong)|invalid token|unauthori[sz]ed|forbidden"
)
_ENDED = frozenset({"failed", "failure", "error", "cancelled", "canceled", "timeout", "expired", "rejected", "aborted"})
"""How a task ends without a result. Only `failed` is documented; polling on would only wait for the deadline."""
_GOES_ON = frozenset({"success", "waiting", "running", "pending", "queued"})
_MOMENTARY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY}


class Verdict(Enum):
    """What a failure means for the request and for its task."""

    RETRY = auto()
    """The same request may succeed in a moment."""
    UNCLEAR = auto()
    """Trying again now does not help, but the task may exist and finish later."""
    LOST = auto()
    """The service does not know the task."""
    FINAL = auto()
    """The service has refused."""


class Failure(Exception):  # noqa: N818 - internal: it carries the error that callers see
    """A request that brought no data: the error for the caller, and what to do first.

    `after` is the pause in seconds that the service requires.
    """

    def __init__(self, verdict: Verdict, error: BackendError, after: float | None = None) -> None:
        super().__init__(str(error))
        self.verdict = verdict
        self.error = error
        self.after = after


def read_reply(status: int, headers: Mapping[str, str], content: bytes, key: SecretStr) -> dict[str, Any]:
    """Return the `data` of a reply.

    Raises:
        Failure: there is none; `error` is one of KeyRejectedError, QuotaError, BusyError, ServiceError.
    """
    reply = _json(content)
    code, message = str(reply.get("code", 0)), quote(reply.get("msg"), key)
    said = f"HTTP {status}" + (f", code {code}" if code != "0" else "") + (f": {message}" if message else "")
    text = message.casefold()
    failure = _account_failure(status, code, text, said) or _service_failure(status, code, text, said, _pause(headers))
    if failure:
        raise failure
    if status < HTTPStatus.MULTIPLE_CHOICES and code == "0" and isinstance(reply.get("data"), dict):
        data: dict[str, Any] = reply["data"]
        return data
    if errors := reply.get("errors"):
        said += f" ({quote(errors, key)})"
    if status >= HTTPStatus.BAD_REQUEST or code != "0":
        remedy = "change what it names, or make the prompts or the image simpler"
        raise Failure(Verdict.FINAL, ServiceError(f"the DINO-X service refuses the request ({said}); {remedy}"))
    kind = quote(headers.get("content-type", "no content type"), key)
    what = "JSON without data" if reply else f"{kind} that is not a JSON object"
    remedy = "check DINOX_API_BASE_URL and whether a proxy answers instead of the service"
    raise Failure(Verdict.UNCLEAR, ServiceError(f"the DINO-X service sent {what} (HTTP {status}); {remedy}"))


def read_status(data: Mapping[str, Any], key: SecretStr) -> dict[str, Any] | None:
    """Read a task's status: its result if it succeeded, None while it goes on.

    A task with an unknown status goes on, unless the status comes with an error.

    Raises:
        Failure: the task failed, or has no result although it succeeded.
    """
    status = str(data.get("status")).strip().casefold()
    reason = quote(data.get("error"), key)
    if status in _ENDED or (reason and status not in _GOES_ON):
        said = ", ".join(filter(None, ("" if status == "failed" else f"status {quote(status, key)}", reason)))
        error = ServiceError(
            f"the DINO-X task failed ({said or 'without a reason'}); try again, or with a smaller or simpler image"
        )
        raise Failure(Verdict.FINAL, error)
    if status != "success":
        return None
    result = data.get("result")
    if not isinstance(result, dict):
        error = ServiceError(f"the DINO-X task succeeded without a result (got {type(result).__name__}); try again")
        raise Failure(Verdict.FINAL, error)
    return result


def quote(text: object, key: SecretStr) -> str:
    """Quote a text in one line of at most 300 characters, without the key."""
    line = " ".join(("" if text is None else str(text)).split())
    secret = key.get_secret_value()
    for form in {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1]} - {""}:
        line = re.sub(re.escape(form), "[key]", line, flags=re.IGNORECASE)
    return line if len(line) <= _MAX_QUOTE else f"{line[:_MAX_QUOTE]}…"


def _account_failure(status: int, code: str, text: str, said: str) -> Failure | None:
    """Recognize a failure of the account: its key or its quota."""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return None
    if status == HTTPStatus.PAYMENT_REQUIRED or "quota" in text:
        remedy = "add credit to the account of the key, or use another key"
        return Failure(Verdict.FINAL, QuotaError(f"the DINO-X key has no quota left ({said}); {remedy}"))
    named = status < HTTPStatus.MULTIPLE_CHOICES and code != "0" and _BAD_KEY.search(text)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) or named:
        remedy = "check DINOX_API_KEY or, over HTTP, the header X-DINOX-API-Key, and what the key may do"
        return Failure(Verdict.FINAL, KeyRejectedError(f"the DINO-X service rejects the API key ({said}); {remedy}"))
    return None


def _service_failure(status: int, code: str, text: str, said: str, after: float | None) -> Failure | None:
    """Recognize a failure of the service, or of the connection to it."""
    if status == HTTPStatus.TOO_MANY_REQUESTS or code == _ASKS_TO_RETRY or "rate limit" in text:
        remedy = f"wait {after or 5:.0f} s and try again, with fewer calls at a time"
        return Failure(Verdict.RETRY, BusyError(f"the DINO-X service is busy ({said}); {remedy}"), after)
    if status in _MOMENTARY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        error = ServiceError(f"the DINO-X service has a problem ({said}); try again in a minute")
        return Failure(Verdict.RETRY, error, after)
    if status == HTTPStatus.NOT_FOUND or "not found" in text:
        remedy = "try again for a new task; if it fails again, check DINOX_API_BASE_URL"
        return Failure(
            Verdict.LOST, ServiceError(f"the DINO-X service does not know what was requested ({said}); {remedy}")
        )
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        remedy = "lower DINOX_MCP_UPLOAD_MAX_SIDE or DINOX_MCP_UPLOAD_QUALITY"
        return Failure(Verdict.FINAL, ServiceError(f"the image is too large for the service ({said}); {remedy}"))
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        remedy = "set DINOX_API_BASE_URL to the address it moved to; keys are not sent along a redirect"
        return Failure(Verdict.UNCLEAR, ServiceError(f"the DINO-X service redirects ({said}); {remedy}"))
    return None


def _json(content: bytes) -> dict[str, Any]:
    """Read a JSON object; an empty one if this is none."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _pause(headers: Mapping[str, str]) -> float | None:
    """Read the header Retry-After, in seconds or as a date."""
    text = headers.get("retry-after", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return min(max(seconds, 0.0), _MAX_PAUSE_S) if math.isfinite(seconds) else None


PROXIES = ("HTTPS_PROXY", "ALL_PROXY", "HTTP_PROXY")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
PROBLEMS = (OSError, ValueError, ImportError, OverflowError, ExceptionGroup)
"""What wrong settings raise besides the HTTP client's errors; a port of 99999 raises an OverflowError in a group."""
_SCHEMES = ("http", "https", "socks5", "socks5h")
_MAX_SHOWN = 80


def explain(problem: str) -> tuple[str, str]:
    """Find the cause why a service cannot be reached, and the remedy.

    `problem` is what the HTTP client says: the cause, unless an environment variable is wrong. The remedy is to correct
    the variables that are wrong, or to check those that are set.
    """
    if faults := dict(_faults()):
        return ", ".join(faults.values()), f"correct or unset {' and '.join(faults)}"
    given = [f"{name} (which is set)" for name, _ in _set((*PROXIES, *CERTIFICATES))]
    proxy = "" if any(_set(PROXIES)) else ", or set HTTPS_PROXY"
    return problem, f"check {', '.join(['the network', *given])} and DINOX_API_BASE_URL{proxy}"


def message_of(problem: BaseException) -> str:
    """Return the message of an error; for a group of errors, that of the first."""
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return str(problem) or type(problem).__name__


def _set(names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """List the variables that are set, as they are spelled, with their values."""
    for name in names:
        for spelled in (name, name.lower()):
            if value := os.environ.get(spelled, "").strip():
                yield spelled, value
                if os.name == "nt":  # names have no case there
                    break


def _faults() -> Iterator[tuple[str, str]]:
    """List each variable that cannot work, with its value and the reason."""
    for name, value in _set(PROXIES):
        if why := _proxy_fault(value):
            scheme, separator, rest = value.rpartition("://")
            shown = f"{scheme}{separator}{rest.rpartition('@')[2]}"  # without a password
            yield name, f"{name} is {shown[:_MAX_SHOWN]!r}, {why}"
    for name, value in _set(("SSL_CERT_FILE",)):  # a SSL_CERT_DIR may be many folders, some of which are missing
        if why := _certificate_fault(value):
            yield name, f"{name} is {value[:_MAX_SHOWN]!r}, {why}"


def _proxy_fault(value: str) -> str:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        _ = parts.port  # raises if it is not a port
    except ValueError:
        return "which is not an address with a port from 0 to 65535"
    if parts.scheme.lower() not in _SCHEMES:
        return "which is not a known kind of proxy (http://host:port)"
    if parts.scheme.lower().startswith("socks") and find_spec("socksio") is None:
        return "a kind of proxy that needs the package socksio (pip install socksio)"
    return "" if parts.hostname else "which names no host"


def _certificate_fault(path: str) -> str:
    if not os.path.isfile(path):  # noqa: PTH113 - never raises
        return "which is not a file"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError:  # an SSLError is one
        return "which holds no certificates that can be read"
    return ""
