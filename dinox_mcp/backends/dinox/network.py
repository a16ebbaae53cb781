"""Why a service cannot be reached: what the environment says about proxies and certificates."""

import os
import ssl
from collections.abc import Iterator
from importlib.util import find_spec
from urllib.parse import urlsplit

PROXIES = ("HTTPS_PROXY", "ALL_PROXY", "HTTP_PROXY")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
PROBLEMS = (OSError, ValueError, ImportError, OverflowError, ExceptionGroup)
"""What wrong settings raise besides the HTTP client's errors; a port of 99999 raises an OverflowError in a group."""
_SCHEMES = ("http", "https", "socks5", "socks5h")
_MAX_SHOWN = 80


def explain(problem: str) -> tuple[str, str]:
    """Find the cause why a service cannot be reached, and the remedy.

    Args:
        problem: What the HTTP client says: the cause, unless an environment variable is wrong.

    Returns:
        The cause, and the remedy: to correct the variables that are wrong, or to check those that are set.
    """
    if faults := dict(_faults()):
        return ", ".join(faults.values()), f"correct or unset {' and '.join(faults)}"
    given = [f"{name} (which is set)" for name, _ in _set((*PROXIES, *CERTIFICATES))]
    what = ["the network", *given, "DINOX_API_BASE_URL"]
    proxy = "" if any(name in one for name in PROXIES for one in map(str.upper, given)) else ", or set HTTPS_PROXY"
    return problem, f"check {', '.join(what[:-1])} and {what[-1]}{proxy}"


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
            yield name, f"{name} is {_without_password(value)!r}, {why}"
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


def _without_password(value: str) -> str:
    """Write an address without the password that it may contain."""
    scheme, separator, rest = value.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"[:_MAX_SHOWN]
