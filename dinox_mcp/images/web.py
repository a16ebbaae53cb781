"""Images from the web: fetched from the public internet only, at the very address that was checked.

Where the environment names a proxy (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY), images are fetched through it.
The name is still resolved and checked on this machine, and the proxy gets the address, not the name: the same name
could mean a private address behind the proxy. A machine that cannot resolve names fetches nothing.
Hosts of DINOX_MCP_PRIVATE_HOSTS are requested without a proxy.
"""

import os
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.request import getproxies, proxy_bypass

import anyio
import anyio.to_thread

from dinox_mcp import __version__
from dinox_mcp.errors import ForbiddenError, ImageError
from dinox_mcp.images.sources import shorten
from dinox_mcp.images.urls import Resolver, UrlRules, host_of, is_public, literal, port_of, show
from dinox_mcp.settings import Settings

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")
Read = Callable[["httpx2.Response", str], Awaitable[T]]
"""Reads a response; the text says in messages where it comes from."""
MAX_REDIRECTS = 5
_MAX_ADDRESSES = 4
_MAX_CONNECTIONS = 16
_REDIRECTS = {301, 302, 303, 307, 308}
_OK = 200
_ADVICE = {
    401: "it needs a login; pass a URL that everyone can open, or the image itself",
    403: "it is not for everyone; pass a URL that everyone can open, or the image itself",
    404: "there is nothing; check the URL",
    410: "it was removed; pass another URL",
    429: "it gets too many requests; try again in a while",
}
_WEB_PAGES = {"text/html", "application/xhtml+xml"}
_PROXIES = {"http", "https", "socks5", "socks5h"}
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class _Proxy:
    """A proxy and the variable that names it, or "the system's settings"."""

    url: str
    variable: str

    def parse(self, shown: str) -> "httpx2.Proxy":
        """Check the proxy's URL; the error about what is `shown` names the variable, and no password."""
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


def _environment_proxy(scheme: str, host: str, port: int) -> _Proxy | None:
    """Return the proxy for a host: HTTPS_PROXY or HTTP_PROXY, else ALL_PROXY, in any case, and not where NO_PROXY says.

    On Windows and macOS the system's settings count where no variable is set.
    """
    proxies = getproxies()
    kind = scheme if scheme in proxies else "all"
    url = proxies.get(kind)
    if not url or proxy_bypass(f"{host}:{port}") or proxy_bypass(host):
        return None
    named = [name for name in (f"{kind}_proxy", f"{kind.upper()}_PROXY") if os.environ.get(name)]
    return _Proxy(url if "://" in url else f"http://{url}", named[0] if named else "the system's proxy")


class WebFetcher:
    """Fetches images over https:// (and http:// where the settings allow it)."""

    def __init__(self, settings: Settings, resolve: Resolver) -> None:
        self._settings = settings
        self._resolve = resolve
        self._rules = UrlRules(settings)
        self._opening = anyio.Lock()
        self._transports: dict[str | None, httpx2.AsyncHTTPTransport] = {}

    async def fetch(self, address: str) -> tuple[bytes, str]:
        """Fetch what is at a URL and name it by the URL without its query.

        Raises:
            ImageError: it does not answer, not in time, or not with an image.
            ForbiddenError: it, or what it redirects to, is not on the public internet, or it is too large.
        """
        shown = show(self._rules.parse(address))
        return await self.get(address, self._read, {"Accept": "image/*"}), shown

    async def get(self, address: str, read: Read[T], headers: Mapping[str, str]) -> T:
        """Request what is at a URL, with headers of the caller, and read the response.

        Raises:
            ImageError: it does not answer, or not in time, or `read` refuses the response.
            ForbiddenError: it, or what it redirects to, is not on the public internet.
        """
        url = self._rules.parse(address)
        shown = show(url)
        try:
            with anyio.fail_after(self._settings.fetch_timeout_s):
                return await self._follow(url, read, headers)
        except TimeoutError:
            raise ImageError(
                f"{shown} did not arrive within {self._settings.fetch_timeout_s:g} s; try again, or pass another URL"
            ) from None

    async def aclose(self) -> None:
        """Close what is still open."""
        for transport in self._transports.values():
            await transport.aclose()

    async def _follow(self, url: "httpx2.URL", read: Read[T], headers: Mapping[str, str]) -> T:
        import httpx2

        first, shown = url, show(url)
        for _ in range(MAX_REDIRECTS + 1):
            proxy = self._proxy_for(url)
            try:
                async with aclosing(await self._request(url, shown, proxy, headers)) as response:
                    location = response.headers.get("location")
                    if response.status_code not in _REDIRECTS or not location:
                        return await read(response, shown)
            except httpx2.TransportError as error:
                raise ImageError(f"{shown} {_explain(error, proxy)}") from None
            base, url = url, self._rules.parse(location, base=url)
            shown = show(url, base)
        raise ImageError(f"{show(first)} redirects more than {MAX_REDIRECTS} times; pass the image's own URL")

    def _proxy_for(self, url: "httpx2.URL") -> _Proxy | None:
        """Return the proxy for a URL; hosts that the settings allow are on this network and requested directly."""
        host, port = host_of(url), port_of(url)
        return None if self._rules.is_private(host, port) else _environment_proxy(url.scheme, host, port)

    async def _addresses(self, url: "httpx2.URL", shown: str, proxy: _Proxy | None) -> Sequence[str]:
        """Resolve the host once and check every address; only these are connected to."""
        host, port = host_of(url), port_of(url)
        number = literal(host)
        try:
            addresses = [number] if number else await self._resolve(host, port)
        except (OSError, UnicodeError):
            addresses = []
        if not addresses and proxy:
            raise ImageError(
                f"{shown} is on a host that this machine cannot resolve, '{shorten(host)}', and hosts are checked here "
                f"although {proxy.variable} names a proxy; check the spelling, or pass the image's file"
            )
        if not addresses:
            raise ImageError(f"{shown} is on an unknown host, '{shorten(host)}'; check the spelling of the URL")
        if not self._rules.is_private(host, port) and not all(map(is_public, addresses)):
            raise ForbiddenError(
                f"{shown} is on a private network, where images are not fetched from; pass a public URL, "
                "or add the host to DINOX_MCP_PRIVATE_HOSTS if you trust it"
            )
        return addresses[:_MAX_ADDRESSES]

    async def _request(
        self, url: "httpx2.URL", shown: str, proxy: _Proxy | None, headers: Mapping[str, str]
    ) -> "httpx2.Response":
        """Send the request to the first checked address that answers."""
        import httpx2

        *others, last = await self._addresses(url, shown, proxy)
        transport = await self._opened(shown, proxy)
        timeout = self._settings.fetch_timeout_s / (len(others) + 1)
        for address in others:
            with suppress(httpx2.ConnectError, httpx2.ConnectTimeout):
                return await _send(transport, url, address, timeout, headers)
        return await _send(transport, url, last, timeout, headers)

    async def _opened(self, shown: str, proxy: _Proxy | None) -> "httpx2.AsyncHTTPTransport":
        """Open the transport on first use: it follows nothing, keeps no cookies, unpacks nothing.

        Authorities are the system's, or those of SSL_CERT_FILE.
        """
        import httpx2

        key = proxy.url if proxy else None
        async with self._opening:
            if key not in self._transports:
                through = proxy.parse(shown) if proxy else None
                try:
                    context = await anyio.to_thread.run_sync(httpx2.create_ssl_context)
                    self._transports[key] = httpx2.AsyncHTTPTransport(
                        verify=context,
                        proxy=through,
                        # A kept connection would be handed to another host at its address, the certificate unchecked.
                        limits=httpx2.Limits(max_connections=_MAX_CONNECTIONS, max_keepalive_connections=0),
                    )
                except ImportError:
                    if proxy is None:
                        raise
                    missing = "names a SOCKS proxy, which needs one more package (pip install socksio)"
                    raise proxy.refuse(shown, missing) from None
                except (OSError, ValueError) as error:
                    raise ImageError(f"{shown} cannot be fetched: {_explain_certificates(error)}") from None
            return self._transports[key]

    async def _read(self, response: "httpx2.Response", shown: str) -> bytes:
        limit = self._settings.max_image_bytes
        if response.status_code != _OK:
            raise refused(response.status_code, shown)
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type in _WEB_PAGES:
            raise ImageError(f"{shown} is a web page ({media_type}), not an image; pass the image's own URL")
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise ImageError(f"{shown} was sent compressed although the request forbids it; pass another URL")
        data = await body_of(response, limit)
        if data is None:
            raise ForbiddenError(
                f"{shown} has more than the {limit:,} bytes allowed; "
                "pass a smaller image or raise DINOX_MCP_MAX_IMAGE_BYTES"
            )
        return data


async def _send(
    transport: "httpx2.AsyncHTTPTransport",
    url: "httpx2.URL",
    address: str,
    connect_timeout_s: float,
    headers: Mapping[str, str],
) -> "httpx2.Response":
    """Connect to the address, whatever the name resolves to by now; the certificate has to be the name's."""
    import httpx2

    request = httpx2.Request(
        "GET",
        url.copy_with(host=address),
        headers={
            "Host": url.netloc.decode("ascii"),
            "User-Agent": f"dinox-mcp/{__version__}",
            **headers,
            "Accept-Encoding": "identity",  # what is compressed could be a bomb
        },
        extensions={"sni_hostname": host_of(url), "timeout": {"connect": connect_timeout_s}},
    )
    return await transport.handle_async_request(request)


def refused(status: int, shown: str) -> ImageError:
    """Make the error for a response without content."""
    advice = _ADVICE.get(status, "it sent no image; try again later, or pass another URL")
    return ImageError(f"{shown} answered {status}: {advice}")


async def body_of(response: "httpx2.Response", limit: int) -> bytes | None:
    """Read the bytes as they were sent, or None where they are or will be too many."""
    length = response.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        return None
    data = bytearray()
    async with aclosing(response.aiter_raw()) as chunks:
        async for chunk in chunks:
            data += chunk
            if len(data) > limit:
                return None
    return bytes(data)


def _explain_certificates(error: OSError | ValueError) -> str:
    """Return which certificates cannot be read, and who named them."""
    reason = getattr(error, "strerror", None) or type(error).__name__
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        if value := os.environ.get(name):
            return f"{name}='{shorten(value)}' holds no certificates ({shorten(reason)}); correct or unset it"
    return f"this system's certificates cannot be read ({shorten(reason)}); set SSL_CERT_FILE to a file of them"


def _explain(error: "httpx2.TransportError", proxy: _Proxy | None) -> str:
    import httpx2

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"has no valid certificate ({shorten(cause.verify_message)}); pass another URL"
        cause = cause.__cause__ or cause.__context__
    if proxy and isinstance(error, httpx2.ProxyError):
        return (
            f"was refused by the proxy that {proxy.variable} names ({shorten(str(error))}); allow the address there, "
            "add the host to NO_PROXY, or pass the image's file"
        )
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        if proxy:
            return f"cannot be reached: the proxy that {proxy.variable} names does not answer; correct or unset it"
        return "cannot be reached; check the URL, or try again later"
    return f"broke off ({type(error).__name__}); try again, or pass another URL"
