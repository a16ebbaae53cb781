"""Which URLs and network addresses images may be fetched from: the public internet, and what the settings add."""

import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

import anyio.to_thread

from dinox_mcp.errors import ForbiddenError, ImageError
from dinox_mcp.images.sources import shorten
from dinox_mcp.settings import Settings

if TYPE_CHECKING:
    import httpx2

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Resolves a host name to all its addresses for a port; raises OSError where there are none."""

# The IANA special-purpose registries, written out: what `ipaddress` calls global differs between versions of Python.
_CLOSED = [
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba Cloud's metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's wire server: a public number that every Azure machine reaches inside
        "169.254.0.0/16",  # link-local; the metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; Oracle Cloud's metadata
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarking
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address in disguise
        "3fff::/20",  # documentation
    )
]
_OPEN_V6 = IPv6Network("2000::/3")  # all that was ever given out; loopback, ULA, link-local, multicast are outside
_NAT64 = IPv6Network("64:ff9b::/96")  # how a network without IPv4 reaches an IPv4 address
_MAPPED = IPv6Network("::ffff:0:0/96")
_NUMBER = re.compile(r"(\d+|0x[0-9a-f]*)", re.IGNORECASE)
_HOST = re.compile(r"[a-z0-9._-]{1,253}")
_PORTS = {"http": 80, "https": 443}


def is_public(address: str) -> bool:
    """Return whether an address is reachable by everyone on the internet, not only from this machine or network."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address):
        if parsed.scope_id is not None:
            return False
        if parsed in _NAT64 or parsed in _MAPPED:
            return is_public(str(IPv4Address(int(parsed) & 0xFFFFFFFF)))
        if parsed not in _OPEN_V6:
            return False
    return not any(parsed in network for network in _CLOSED)


def literal(host: str) -> str | None:
    """Normalise a host that is an address; None for a name."""
    try:
        return str(ip_address(host))
    except ValueError:
        return None


def is_odd_number(host: str) -> bool:
    """Return whether a host is a number that programs read in different ways: 2130706433, 0x7f.1, 0177.0.0.1."""
    return literal(host) is None and _NUMBER.fullmatch(host.rpartition(".")[2]) is not None


def system_resolver(limiter: "anyio.CapacityLimiter") -> Resolver:
    """Resolve names as the system does, in separate threads, so that a dead name server delays nothing else."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        found = await anyio.to_thread.run_sync(
            lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), abandon_on_cancel=True, limiter=limiter
        )
        return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))

    return resolve


class UrlRules:
    """The URLs that the settings allow."""

    def __init__(self, settings: Settings) -> None:
        self._allow_http = settings.allow_http
        self._private = frozenset(name.lower().rstrip(".") for name in settings.private_hosts)

    def parse(self, address: str, base: "httpx2.URL | None" = None) -> "httpx2.URL":
        """Read a URL, or where `base` redirects to, before any name is resolved.

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
    """Return the host as the network knows it: lower case, international names in ASCII, no trailing dots."""
    host = url.raw_host.decode("ascii").lower().rstrip(".")
    return literal(host) or host


def port_of(url: "httpx2.URL") -> int:
    """Return the port, also where the URL leaves it out."""
    return url.port if url.port is not None else _PORTS[url.scheme]


def show(url: "httpx2.URL", base: "httpx2.URL | None" = None) -> str:
    """Show a URL, and what redirected to it, without their queries, which may hold a secret."""
    path = url.raw_path.partition(b"?")[0].decode("ascii")
    shown = shorten(f"{url.scheme}://{url.netloc.decode('ascii')}{path}")
    return f"{show(base)} redirects to {shown}, which" if base is not None else shown
