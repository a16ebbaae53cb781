"""Which URLs an image may be fetched from, decided before any name is resolved."""

import re
from typing import TYPE_CHECKING

from dinox_mcp.errors import ForbiddenError, ImageError
from dinox_mcp.images.addresses import is_odd_number, literal
from dinox_mcp.images.sources import shorten
from dinox_mcp.settings import Settings

if TYPE_CHECKING:
    import httpx2

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9._-]{1,253}")


class UrlRules:
    """What the settings say of URLs."""

    def __init__(self, settings: Settings) -> None:
        self._allow_http = settings.allow_http
        self._private = frozenset(name.lower().rstrip(".") for name in settings.private_hosts)

    def parse(self, address: str, base: "httpx2.URL | None" = None) -> "httpx2.URL":
        """Read a URL, or where `base` redirects to.

        Raises:
            ImageError: it is not a URL.
            ForbiddenError: its scheme, host, port or user name is not allowed.
        """
        import httpx2

        try:
            url = base.join(address) if base is not None else httpx2.URL(address)
        except (httpx2.InvalidURL, ValueError):
            safe = re.split(r"[?#]", address, maxsplit=1)[0].rpartition("@")[2]  # no query, no password
            origin = f"{show(base)} redirects to " if base is not None else ""
            raise ImageError(
                f"{origin}'{shorten(safe)}' is not a valid URL; pass one such as https://example.com/photo.jpg"
            ) from None
        self._check(url, show(url, base))
        return url

    def _check(self, url: "httpx2.URL", shown: str) -> None:
        if url.scheme not in _PORTS:
            raise ForbiddenError(f"{shown} is not a web address; pass an https:// URL")
        if url.userinfo:
            raise ForbiddenError(f"{shown} carries a user name or a password; pass a URL without them")
        host, port = host_of(url), port_of(url)
        if not literal(host) and (not _HOST.fullmatch(host) or is_odd_number(host)):
            raise ForbiddenError(f"{shown} names no proper host; pass a URL such as https://example.com/photo.jpg")
        private = self.is_private(host, port)
        if url.scheme == "http" and not (private or self._allow_http):
            raise ForbiddenError(f"{shown} is not encrypted; pass an https:// URL or set DINOX_MCP_ALLOW_HTTP")
        if port not in _PORTS.values() and not private:
            raise ForbiddenError(
                f"{shown} uses port {port}, and only 80 and 443 are allowed; pass another URL, or add host:port to "
                "DINOX_MCP_PRIVATE_HOSTS if you trust it"
            )

    def is_private(self, host: str, port: int) -> bool:
        """Return whether the settings allow a private host: `name` on the standard ports, `name:port` on that one."""
        bracketed = f"[{host}]" if ":" in host else host
        if port in _PORTS.values() and self._private & {host, bracketed}:
            return True
        return f"{bracketed}:{port}" in self._private


def host_of(url: "httpx2.URL") -> str:
    """Name the host as the network knows it: lower case, international names in ASCII, no trailing dots."""
    host = url.raw_host.decode("ascii").lower().rstrip(".")
    return literal(host) or host


def port_of(url: "httpx2.URL") -> int:
    """Name the port, also where the URL leaves it out."""
    return url.port if url.port is not None else _PORTS[url.scheme]


def show(url: "httpx2.URL", base: "httpx2.URL | None" = None) -> str:
    """Show a URL, and what redirected to it, without their queries, which may hold a secret."""
    path = url.raw_path.partition(b"?")[0].decode("ascii")
    shown = shorten(f"{url.scheme}://{url.netloc.decode('ascii')}{path}")
    return f"{show(base)} redirects to {shown}, which" if base is not None else shown
