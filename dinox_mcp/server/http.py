"""The server as an ASGI application: streamable HTTP or SSE, behind a token, with a health check."""

import hmac

from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from dinox_mcp import __version__
from dinox_mcp.errors import SettingsError
from dinox_mcp.settings import MiB, Settings

LOCAL_HOSTS = {"127.0.0.1", "localhost", "::1"}
HEALTH = "/health"
_BODIES = 8
"""Bodies of the largest size that may be in memory at once."""


def check_exposure(settings: Settings) -> None:
    """Refuse to serve a network without a token unless told to, or so that nobody would get through.

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


def build_app(mcp: MCPServer, settings: Settings) -> ASGIApp:
    """Make the application for the transport of the settings: `/mcp` for http, `/sse` for sse, and `/health`."""
    # A data: URI is base64, four bytes for three, inside JSON that has some more to say.
    body = settings.max_image_bytes * 4 // 3 + MiB
    security = _security(settings)
    if settings.transport == "sse":
        app = mcp.sse_app(host=settings.host, transport_security=security, max_request_body_size=body)
    else:
        app = mcp.streamable_http_app(
            host=settings.host, transport_security=security, max_request_body_size=body, stateless_http=True
        )
    app.routes.append(Route(HEALTH, _health))
    bounded = BodyBudget(app, largest=body, total=_BODIES * body)
    return BearerToken(bounded, settings.token.get_secret_value()) if settings.token else bounded


async def _health(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok", "version": __version__})


class BodyBudget:
    """Keeps the bodies of all requests together within `total` bytes: a body is in memory until it is answered."""

    def __init__(self, app: ASGIApp, largest: int, total: int) -> None:
        self._app = app
        self._largest = largest
        self._total = total
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 503 to whoever comes when there is no room."""
        size = self._announced(dict(scope["headers"])) if scope["type"] == "http" else 0
        if self._held and self._held + size > self._total:
            response = JSONResponse(
                {"error": "too many large requests at once; try again in a few seconds"},
                status_code=503,
                headers={"Retry-After": "2"},
            )
            await response(scope, receive, send)
            return
        self._held += size
        try:
            await self._app(scope, receive, send)
        finally:
            self._held -= size

    def _announced(self, headers: dict[bytes, bytes]) -> int:
        length = headers.get(b"content-length", b"")
        if length.isdigit():
            return min(int(length), self._largest)
        return self._largest if b"transfer-encoding" in headers else 0


class BearerToken:
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
    if not settings.allowed_hosts and not settings.allowed_origins:
        return None
    local = [f"{host}:*" for host in ("127.0.0.1", "localhost", "[::1]")] if settings.host in LOCAL_HOSTS else []
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[*settings.allowed_hosts, *local],
        allowed_origins=[*settings.allowed_origins, *(f"http://{host}" for host in local)],
    )
