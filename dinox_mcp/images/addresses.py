"""Which network addresses images may come from: the public internet, and nothing that only looks like it."""

import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address

import anyio.to_thread

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Resolves a host name to all its addresses for a port; raises OSError where there are none."""

# The IANA special-purpose registries, written out: what `ipaddress` calls global differs between versions of Python.
_CLOSED_V4 = [
    IPv4Network(network)
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
    )
]
_OPEN_V6 = IPv6Network("2000::/3")  # all that was ever given out; loopback, ULA, link-local, multicast are outside
_CLOSED_V6 = [
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarking
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address in disguise
        "3fff::/20",  # documentation
    )
]
_NAT64 = IPv6Network("64:ff9b::/96")  # how a network without IPv4 reaches an IPv4 address
_MAPPED = IPv6Network("::ffff:0:0/96")
_NUMBER = re.compile(r"(\d+|0x[0-9a-f]*)", re.IGNORECASE)


def is_public(address: str) -> bool:
    """Return whether an address is reachable by everyone on the internet, not only from this machine or network."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return not any(parsed in network for network in _CLOSED_V4)
    if parsed.scope_id is not None:
        return False
    if parsed in _NAT64 or parsed in _MAPPED:
        return is_public(str(IPv4Address(int(parsed) & 0xFFFFFFFF)))
    return parsed in _OPEN_V6 and not any(parsed in network for network in _CLOSED_V6)


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
            lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM),
            abandon_on_cancel=True,
            limiter=limiter,
        )
        return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))

    return resolve
