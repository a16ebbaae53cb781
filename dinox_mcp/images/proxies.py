"""The proxy that the environment names for a URL, and what is wrong with it."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.request import getproxies, proxy_bypass

from dinox_mcp.errors import ImageError
from dinox_mcp.images.sources import shorten

if TYPE_CHECKING:
    import httpx2

_PROXIES = {"http", "https", "socks5", "socks5h"}
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class EnvironmentProxy:
    """A proxy and the variable that names it, or "the system's settings"."""

    url: str
    variable: str

    def parse(self, shown: str) -> "httpx2.Proxy":
        """Check the URL of the proxy that is to fetch what is `shown`.

        Raises:
            ImageError: it cannot be used; the message names the variable, and no password.
        """
        import httpx2

        try:
            url = httpx2.URL(self.url)
            port = url.port
        except (httpx2.InvalidURL, ValueError):
            raise self.refuse(shown, "is not a valid URL") from None
        safe = shorten(f"{url.scheme}://{url.host}" + (f":{port}" if port else ""))
        if url.scheme not in _PROXIES or not url.host:
            raise self.refuse(shown, f"is {safe}, which is not an HTTP or SOCKS5 proxy")
        if port is not None and not 0 < port <= _MAX_PORT:
            raise self.refuse(shown, f"is {safe}, which has an invalid port")
        return httpx2.Proxy(url)

    def refuse(self, shown: str, reason: str) -> ImageError:
        """Make the error for a proxy that cannot be used."""
        return ImageError(
            f"{shown} cannot be fetched: {self.variable} {reason}; correct or unset it, or add the host to NO_PROXY"
        )


def proxy_for(scheme: str, host: str, port: int) -> EnvironmentProxy | None:
    """Find the proxy for a host: HTTPS_PROXY or HTTP_PROXY, else ALL_PROXY, in any case, and not where NO_PROXY says.

    On Windows and macOS the system's settings count where no variable is set.
    """
    proxies = getproxies()
    kind = scheme if scheme in proxies else "all"
    url = proxies.get(kind)
    if not url or proxy_bypass(f"{host}:{port}") or proxy_bypass(host):
        return None
    named = [name for name in (f"{kind}_proxy", f"{kind.upper()}_PROXY") if os.environ.get(name)]
    return EnvironmentProxy(url if "://" in url else f"http://{url}", named[0] if named else "the system's proxy")
