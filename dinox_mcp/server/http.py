"""The server as an ASGI application: streamable HTTP or SSE, uploads, a token, a health check, bounded connections."""

import asyncio
import hmac
import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import h11
import uvicorn
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from dinox_mcp import __version__
from dinox_mcp.detector import Detector
from dinox_mcp.errors import InputError, SettingsError
from dinox_mcp.server.limits import IMAGES, BodyBudget, Sending, largest_message
from dinox_mcp.server.protocol import DetectionServer
from dinox_mcp.server.requests import caller_of
from dinox_mcp.settings import Settings
from dinox_mcp.store.shared import UPLOADED_S

HEAD_S = 10
"""Seconds from the first byte of a request, or the start of a connection, to the end of the request's head."""
STALL_S = 20
"""Seconds that a client may leave a reply unread."""
MAX_CONNECTIONS = 512
BACKLOG = 32
"""Connections that asyncio accepts at a time; where it runs out of files meanwhile, it logs a traceback for each."""


def _most_connections() -> int:
    """Return how many connections fit: a third of the files that the process may open, so that the rest still works."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return MAX_CONNECTIONS
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if soft < 0 else max(16, min(MAX_CONNECTIONS, soft // 3))


class BoundedProtocol(H11Protocol):
    """uvicorn's connection with deadlines."""

    most = _most_connections()

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - those of uvicorn
        super().__init__(*arguments, **options)
        self._head: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._since = self.loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Wait for a head; where there are too many connections, the one that has waited longest for its head goes."""
        super().connection_made(transport)
        self._head = self.loop.call_later(HEAD_S, self._abort)
        if len(self.connections) > self.most:
            idle = [one for one in self.connections if isinstance(one, BoundedProtocol) and one.is_idle]
            min(idle, key=lambda one: one._since, default=self)._abort()  # noqa: SLF001 - of the same class

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._stop_head()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Start the clock with the first byte of a head, and stop it with the last."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_head()
        elif self._head is None and not self.transport.is_closing():
            self._since = self.loop.time()
            self._head = self.loop.call_later(HEAD_S, self._abort)

    def pause_writing(self) -> None:
        """Start the clock: the client does not read."""
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(STALL_S, self._abort)

    def resume_writing(self) -> None:
        """Stop the clock: the client reads."""
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        super().resume_writing()

    @property
    def is_idle(self) -> bool:
        """Return whether no request of the connection is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _stop_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _abort(self) -> None:
        self._head = None
        if self.transport is not None:
            self.connections.discard(self)
            self.transport.abort()


LOCAL_HOSTS = {"127.0.0.1", "localhost", "::1"}
HEALTH = "/health"
_BODIES = 8
"""Bodies of the largest size that may be in memory at once."""


def check_exposure(settings: Settings) -> None:
    """Refuse to serve a network without a token unless `no_auth` is set, or with settings that refuse everybody.

    Raises:
        SettingsError: the host is not this machine, and neither a token nor no_auth is set; or origins are allowed
            and no hosts.
    """
    if settings.host not in LOCAL_HOSTS and not settings.token and not settings.no_auth:
        raise SettingsError(
            f"--host {settings.host} would let anyone on the network use this server; set DINOX_MCP_TOKEN to a secret "
            "that clients send as 'Authorization: Bearer …', or pass --no-auth if something in front checks who calls"
        )
    if settings.allowed_origins and not settings.allowed_hosts and settings.host not in LOCAL_HOSTS:
        raise SettingsError(
            "DINOX_MCP_ALLOWED_ORIGINS turns the check of Host headers on, and none would pass; name the server's own "
            "in DINOX_MCP_ALLOWED_HOSTS, as in 'mcp.example.com:*'"
        )


def build_app(mcp: DetectionServer, detector: Detector) -> ASGIApp:
    """Make the application for the transport of the settings.

    It has `/mcp` for http or `/sse` for sse, `/images` for uploads, and `/health`.
    """
    settings = detector.settings
    body = largest_message(settings)
    security = _security(settings)
    options: Any = {"host": settings.host, "transport_security": security, "max_request_body_size": body}
    sse = settings.transport == "sse"
    inner = mcp.sse_app(**options) if sse else mcp.streamable_http_app(**options, stateless_http=True)
    inner.routes.append(Route(HEALTH, _health))
    inner.routes.append(_uploads(detector, security))
    app: ASGIApp = Sending(BodyBudget(inner, largest=body, total=_BODIES * body), mcp.outbox)
    if settings.token:
        app = _BearerToken(app, settings.token.get_secret_value())
    return _for_browsers(app, security.allowed_origins) if security and security.allowed_origins else app


def _for_browsers(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Let pages of the allowed origins call (CORS); `:*` at the end of an origin stands for any port."""
    patterns = [re.escape(origin).replace(r":\*", r":\d+") for origin in origins]
    return CORSMiddleware(
        app,
        allow_origin_regex="|".join(patterns),
        allow_methods=["GET", "POST", "DELETE", "OPTIONS"],
        allow_headers=["*"],
        expose_headers=["Mcp-Session-Id", "Mcp-Protocol-Version", "WWW-Authenticate"],
    )


def _uploads(detector: Detector, security: TransportSecuritySettings | None) -> Route:
    """Make the route that takes an image or a PDF as the body of a request, and answers with its URI."""
    headers = TransportSecurityMiddleware(security)

    async def upload(request: Request) -> Response:
        if refused := await headers.validate_request(request):
            return refused
        try:
            uri = await detector.upload(await request.body(), caller_of(request))
        except InputError as error:
            is_form = request.headers.get("content-type", "").lower().startswith("multipart/")
            hint = " (multipart/form-data is not read: send the file alone)" if is_form else ""
            problem = {"code": error.code, "message": f"{error}{hint}", "remedy": error.remedy}
            return JSONResponse({"error": problem}, status_code=400)
        return JSONResponse({"image": uri, "expires_s": UPLOADED_S}, status_code=201)

    return Route(IMAGES, upload, methods=["POST"])


async def _health(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok", "version": __version__})


class _BearerToken:
    """Lets a request through only with the right token; the health check needs none."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = b"bearer " + token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 to whoever does not have the token."""
        if scope["type"] != "http" or scope["path"] == HEALTH or self._is_right(dict(scope["headers"])):
            await self._app(scope, receive, send)
            return
        response = JSONResponse(
            {"error": "send the server's token as 'Authorization: Bearer <token>'"},
            status_code=401,
            headers={"WWW-Authenticate": 'Bearer realm="dinox-mcp"'},
        )
        await response(scope, receive, send)

    def _is_right(self, headers: dict[bytes, bytes]) -> bool:
        given = headers.get(b"authorization", b"")
        scheme, _, token = given.partition(b" ")
        return hmac.compare_digest(scheme.lower() + b" " + token.strip(), self._expected)


def _security(settings: Settings) -> TransportSecuritySettings | None:
    """Check Host and Origin headers, against DNS rebinding: always on this machine, elsewhere as configured."""
    own = settings.host in LOCAL_HOSTS
    if not own and not settings.allowed_hosts and not settings.allowed_origins:
        return None
    local = [f"{host}:*" for host in ("127.0.0.1", "localhost", "[::1]")] if own else []
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=_also_without_port([*settings.allowed_hosts, *local]),
        allowed_origins=_also_without_port([*settings.allowed_origins, *(f"http://{host}" for host in local)]),
    )


def _also_without_port(patterns: Sequence[str]) -> list[str]:
    """Let "any port" include the usual one, 80 or 443, which clients and proxies leave out."""
    return [*patterns, *(pattern.removesuffix(":*") for pattern in patterns if pattern.endswith(":*"))]


class HttpServer(uvicorn.Server):
    """A uvicorn whose signals are ours: its own handler raises them again at the end, before we could clean up."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield


@contextmanager
def listening(settings: Settings) -> Iterator[socket.socket]:
    """Listen on the host and port of the settings.

    Raises:
        SettingsError: the port is taken, or the host is not this machine's.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # Named as TCP: asyncio switches Nagle's algorithm, which costs 40 ms a reply, off only then.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        if os.name == "posix":  # elsewhere the option lets two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
            listener.listen()
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {settings.host}:{settings.port} ({error.strerror}); choose another --host or "
                "--port (0 takes a free one)"
            ) from None
        yield listener
