"""The server as an ASGI application: streamable HTTP or SSE, behind a token, with a health check."""

import hmac
import re
from collections.abc import Sequence
from typing import Any

from mcp.server.transport_security import TransportSecuritySettings
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from dinox_mcp import __version__
from dinox_mcp.errors import SettingsError
from dinox_mcp.server.arguments import PlainSpokenServer
from dinox_mcp.server.bodies import BodyBudget
from dinox_mcp.server.outbox import Sending
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


def largest_message(settings: Settings) -> int:
    """Give the bytes of the largest message: a data: URI is base64, four bytes for three, inside JSON with more."""
    return settings.max_image_bytes * 4 // 3 + MiB


def build_app(mcp: PlainSpokenServer, settings: Settings) -> ASGIApp:
    """Make the application for the transport of the settings: `/mcp` for http, `/sse` for sse, and `/health`."""
    body = largest_message(settings)
    security = _security(settings)
    options: Any = {"host": settings.host, "transport_security": security, "max_request_body_size": body}
    sse = settings.transport == "sse"
    inner = mcp.sse_app(**options) if sse else mcp.streamable_http_app(**options, stateless_http=True)
    inner.routes.append(Route(HEALTH, _health))
    app: ASGIApp = Sending(BodyBudget(inner, largest=body, total=_BODIES * body), mcp.outbox)
    if settings.token:
        app = BearerToken(app, settings.token.get_secret_value())
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


async def _health(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok", "version": __version__})


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
