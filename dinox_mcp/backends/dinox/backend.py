"""The backend: a picture and a request go in, detections in original pixels come out."""

import os
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread
from pydantic import SecretStr

from dinox_mcp.backends.base import Call, Capabilities, Model
from dinox_mcp.backends.dinox import wire
from dinox_mcp.backends.dinox.client import Client
from dinox_mcp.backends.dinox.patience import Patience
from dinox_mcp.backends.dinox.stage import telling
from dinox_mcp.errors import InputError, KeyRejectedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.schema import DetectionRequest, Detections
from dinox_mcp.settings import Settings

T = TypeVar("T")
_CAPABILITIES = Capabilities(outputs=frozenset({"masks"}))


class DinoxBackend:
    """Asks the DINO-X cloud API.

    The same question asked again after it was cancelled, timed out or lost its connection picks up the task
    that was paid already; asked several times at once, it is one task.
    """

    name = "dinox"

    def __init__(self, settings: Settings, patience: Patience | None = None) -> None:
        self._settings = settings
        self._patience = patience or Patience()
        self._client = Client(str(settings.api_base_url), self._patience)
        self._threads = anyio.CapacityLimiter(os.cpu_count() or 1)

    def capabilities(self, model: str | None = None) -> Capabilities:
        """Any noun, everything, boxes and masks.

        Raises:
            InputError: it has no such model.
        """
        if model not in (None, wire.MODEL):
            raise InputError(f"the backend dinox has no model {model!r:.80}; choose {wire.MODEL}")
        return _CAPABILITIES

    def models(self) -> tuple[Model, ...]:
        """The models of the cloud."""
        return (Model(wire.MODEL, _CAPABILITIES, "any noun; https://deepdataspace.com", loaded=True),)

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        """Find objects.

        Raises:
            KeyRejectedError, QuotaError, BusyError, DeadlineError, UnreachableError, ServiceError: see each.
            ImageError: the picture is damaged.
            InputError: a prompt without a word in it.
        """
        key = self._key(call)
        deadline = anyio.current_time() + self._settings.timeout_s
        async with telling(call.progress, self._patience.heartbeat_s) as stage:
            await stage.say(0.0, "preparing")
            question = await self._run(partial(wire.ask, image, request, self._settings))
            result = await self._client.run(question.job(key), stage, deadline)
            return await self._run(partial(wire.read, result, question))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _run(self, work: partial[T]) -> T:
        """Work on pixels in one of a few threads; a cancelled call waits for its thread, so none is left over."""
        return await anyio.to_thread.run_sync(work, limiter=self._threads)

    def _key(self, call: Call) -> SecretStr:
        key = self._settings.api_key if call.api_key is None else call.api_key
        text = key.get_secret_value() if key else ""
        remedy = "set DINOX_API_KEY or, over HTTP, send the header X-DINOX-API-Key"
        if key is None or not text:
            raise KeyRejectedError(f"the DINO-X cloud needs an API key and none is set; {remedy}")
        if not text.isascii() or not text.isprintable() or " " in text:
            raise KeyRejectedError(f"the DINO-X API key has spaces or characters that no key has; {remedy}")
        return key
