"""What the environment says about the network, proxies and certificates, and which variable is to blame."""

import os
import ssl
from collections.abc import Iterator
from importlib.util import find_spec
from urllib.parse import urlsplit

PROXIES = ("HTTPS_PROXY", "ALL_PROXY", "HTTP_PROXY")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
PROBLEMS = (OSError, ValueError, ImportError, OverflowError, ExceptionGroup)
"""What wrong settings raise, besides the HTTP client's own errors; a port of 99999 is an OverflowError in a group."""
_SCHEMES = ("http", "https", "socks5", "socks5h")
_MAX_SHOWN = 80


def explain(problem: str) -> tuple[str, str]:
    """Say why a service cannot be reached, and what to do: about the variables that are wrong, or those that are set.

    `problem` is what the HTTP client says, which is told where no variable is to blame.
    """
    if faults := dict(_faults()):
        return ", ".join(faults.values()), f"correct or unset {' and '.join(faults)}"
    given = [f"{name} (which is set)" for name, _ in _set((*PROXIES, *CERTIFICATES))]
    what = ["the network", *given, "DINOX_API_BASE_URL"]
    proxy = "" if any(name in one for name in PROXIES for one in map(str.upper, given)) else ", or set HTTPS_PROXY"
    return problem, f"check {', '.join(what[:-1])} and {what[-1]}{proxy}"


def words(problem: BaseException) -> str:
    """Say what a problem is; of several that came together, the first."""
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return str(problem) or type(problem).__name__


def _set(names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Give the variables that are set, as they are spelled, with their values."""
    for name in names:
        for spelled in (name, name.lower()):
            if value := os.environ.get(spelled, "").strip():
                yield spelled, value
                if os.name == "nt":  # knows no case
                    break


def _faults() -> Iterator[tuple[str, str]]:
    """Give each variable that cannot work, and a sentence that tells its value and why."""
    for name, value in _set(PROXIES):
        if why := _proxy_fault(value):
            yield name, f"{name} is {_shown(value)!r}, {why}"
    for name, value in _set(("SSL_CERT_FILE",)):  # a SSL_CERT_DIR may be many folders, some of which are missing
        if why := _certificate_fault(value):
            yield name, f"{name} is {value[:_MAX_SHOWN]!r}, {why}"


def _proxy_fault(value: str) -> str:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        _ = parts.port  # raises if it is none
    except ValueError:
        return "which is no address with a port from 0 to 65535"
    if parts.scheme.lower() not in _SCHEMES:
        return "which is no proxy of a kind that is known (http://host:port)"
    if parts.scheme.lower().startswith("socks") and find_spec("socksio") is None:
        return "a kind of proxy that needs the package socksio (pip install socksio)"
    return "" if parts.hostname else "which names no host"


def _certificate_fault(path: str) -> str:
    if not os.path.isfile(path):  # noqa: PTH113 - never raises
        return "which is no file"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError:  # an SSLError is one
        return "which holds no certificates that can be read"
    return ""


def _shown(value: str) -> str:
    """Show an address without the password that may stand in it."""
    scheme, separator, rest = value.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"[:_MAX_SHOWN]
