"""A web site on loopback that answers what a test wants, as rudely as it wants, and remembers what it was asked."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Handler = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Site:
    """`pages` maps a path (or "*") to raw bytes to send, or to a function that sends them."""

    port: int = 0
    pages: dict[str, bytes | Handler] = field(default_factory=dict)
    heads: list[str] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                self.heads.append(head)
                path = head.split(" ", 2)[1].partition("?")[0]
                page = self.pages.get(path) or self.pages.get("*") or response(b"nothing", status=404)
                if isinstance(page, bytes):
                    writer.write(page)
                    await writer.drain()
                else:
                    await page(writer)
                    break
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass  # the client has gone
        finally:
            writer.close()


def response(body: bytes, *headers: str, status: int = 200) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def redirect(location: str, status: int = 302) -> bytes:
    return response(b"", f"Location: {location}", status=status)


@asynccontextmanager
async def serve(context: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    site = Site()
    server = await asyncio.start_server(site.answer, "127.0.0.1", 0, ssl=context)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
        server.close_clients() if hasattr(server, "close_clients") else None


class Names:
    """A name server for tests: each look-up of a name takes the next of its answers, the last for ever."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self.answers = {name.replace("_", "."): list(found) for name, found in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        assert 0 < port < 65536
        self.asked.append(host)
        found = self.answers.get(host)
        if not found:
            raise OSError(host)
        return found.pop(0) if len(found) > 1 else found[0]
