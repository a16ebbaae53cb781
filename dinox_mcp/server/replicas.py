"""Replicas of the server behind one address, by Ray Serve (extra `ray`).

    DINOX_MCP_STORE=/srv/dinox DINOX_MCP_TOKEN=... serve run dinox_mcp.server.replicas:app replicas=4 gpus=1

It is here and not in `batch`, since it is the server over HTTP: the same application, token and limits. Each replica
has its own model. The front keeps no sessions, and results are in the shared store, so that any replica answers.
"""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from dinox_mcp.batch.cluster import import_ray, join
from dinox_mcp.detector import Detector
from dinox_mcp.errors import DinoxError, SettingsError
from dinox_mcp.server.app import build_server
from dinox_mcp.server.http import build_app, check_exposure
from dinox_mcp.settings import Settings
from dinox_mcp.store.shared import MEMORY
from dinox_mcp.types.memory import return_freed_blocks

if TYPE_CHECKING:
    from ray.serve import Application

MAX_REQUESTS = 64
"""Requests that a replica works on at once; it lets them wait for its model itself. Ray's own number is 5."""


class ReplicaOptions(BaseModel):
    """What `serve run` takes after the name of the application, as in replicas=4.

    Attributes:
        replicas: how many servers there are.
        cpus: CPU cores of each, for Ray to plan with.
        gpus: GPUs of each; a part of one (0.5) is shared by two.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    replicas: int = Field(2, ge=1)
    cpus: float = Field(1, ge=0)
    gpus: float = Field(0, ge=0)


def app(arguments: Mapping[str, str]) -> "Application":
    """Build the application; `serve run` and `serve deploy` call this.

    Args:
        arguments: see `ReplicaOptions`.

    Raises:
        SettingsError: an argument or a setting is wrong, or the extra `ray` is not installed.
    """
    options, settings = _options(arguments), Settings.load()
    _check(settings, options)
    if not any(argument.startswith(("--address", "-a")) for argument in sys.argv):
        join(namespace="serve")  # `serve run` would start Ray with a dashboard, which anybody on this machine may use
    import_ray()
    from ray import serve

    deployment = serve.deployment(
        serve.ingress()(Replica),
        name="dinox-mcp",
        num_replicas=options.replicas,
        max_ongoing_requests=MAX_REQUESTS,
        ray_actor_options={"num_cpus": options.cpus, "num_gpus": options.gpus},
    )
    return deployment.bind(settings.without_secrets())


def _options(arguments: Mapping[str, str]) -> ReplicaOptions:
    try:
        return ReplicaOptions.model_validate(dict(arguments))
    except ValidationError as error:
        problem = error.errors()[0]
        name, reason = problem["loc"][0], problem["msg"]
        known = ", ".join(ReplicaOptions.model_fields)
        raise SettingsError(f"{name}={problem['input']!r} is not valid ({reason}); the arguments are {known}") from None


def _check(settings: Settings, options: ReplicaOptions) -> None:
    """Refuse settings that would let strangers in, or lose results between the replicas."""
    if settings.transport == "sse":
        raise SettingsError("replicas serve no SSE, which needs sessions; leave DINOX_MCP_TRANSPORT out")
    if not settings.token and not settings.no_auth:
        raise SettingsError(
            "Ray Serve decides who reaches the replicas, so they need a token; set DINOX_MCP_TOKEN where they run, or "
            "DINOX_MCP_NO_AUTH=true if something in front checks who calls"
        )
    if options.replicas > 1 and settings.store == MEMORY:
        raise SettingsError(
            "the replicas would not find the results of each other; set DINOX_MCP_STORE to a folder that all of them "
            "can write, or to redis://HOST:PORT, or start one with replicas=1"
        )
    check_exposure(settings)


class Replica:
    """One server with its own detector. Its secrets come from the environment of its machine.

    Args:
        options: the other settings, as `Settings.without_secrets` gives them.
    """

    async def __init__(self, options: dict[str, Any]) -> None:  # type: ignore[misc] # Ray awaits it
        return_freed_blocks()
        settings = Settings.load(**options | {"transport": "http"})
        _check(settings, ReplicaOptions(replicas=1))
        self._detector = Detector(settings)
        if settings.warm_up:
            try:
                await self._detector.warm_up()
            except DinoxError as error:
                sys.stderr.write(f"dinox-mcp: warming up failed: {error}\n")

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Make the application as over HTTP; Ray calls this after the constructor."""
        inner = build_app(build_server(self._detector), self._detector)

        async def closing(scope: Scope, receive: Receive, send: Send) -> None:
            await inner(scope, receive, send)
            if scope["type"] == "lifespan":
                await self._detector.aclose()

        return closing
