"""The DINO-X backend: takes an image and a request, returns detections in original pixels."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from pydantic import SecretStr

from dinox_mcp.backends.base import Call, Capabilities, Model, alongside, gather
from dinox_mcp.backends.dinox import examples, models, regions
from dinox_mcp.backends.dinox.client import Client, Reporter
from dinox_mcp.backends.dinox.objects import read_results
from dinox_mcp.backends.dinox.request import ObjectRequest, Upload, Uploads, make_requests
from dinox_mcp.backends.dinox.tasks import RetrySettings
from dinox_mcp.errors import InputError, KeyRejectedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections, Embedding, Output

T = TypeVar("T")
Send = Callable[[ObjectRequest | regions.RegionRequest], Awaitable[dict[str, Any]]]
"""Sends a request, and returns the result of its task."""
_MOST_TASKS = 4
"""The most tasks of one call that run at the same time."""


class DinoxBackend:
    """Detects objects with the DINO-X cloud API.

    A request that is repeated after it was cancelled, timed out or lost its connection continues the task that was
    already paid for. Equal requests at the same time share one task.
    """

    name = "dinox"

    def __init__(self, settings: Settings, retry: RetrySettings | None = None) -> None:
        self._settings = settings
        self._retry = retry or RetrySettings()
        self._client = Client(str(settings.api_base_url), self._retry)
        self._uploads = Uploads()
        self._threads = anyio.CapacityLimiter(os.cpu_count() or 1)

    def capabilities(self, model: str | None = None) -> Capabilities:
        """Return what a model can do; without a name, what any of them can."""
        return models.ALL if model is None else models.find(model).capabilities

    def models(self) -> tuple[Model, ...]:
        """List the models; of those that can answer a request, the first does."""
        return tuple(Model(one.name, one.capabilities, one.about, loaded=True) for one in models.MODELS)

    def calls(self, request: DetectionRequest) -> int:
        """Count the tasks of a request: one; with examples, one for boxes and points and one for each saved prompt."""
        return examples.calls(request.examples)

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        """Find objects, by one task or with saved prompts by several.

        Raises:
            KeyRejectedError, QuotaError, BusyError, DeadlineError, UnreachableError, ServiceError: see each.
            UnsupportedError: the model cannot answer this request, or a saved prompt was made by another model.
            InputError, ImageError: a prompt has no word in it, an example lies outside its image, or one is damaged.
        """
        model = models.choose(request)
        if request.examples:
            make = partial(examples.make_requests, image, request, call.pictures, self._encode)
        else:
            make = partial(make_requests, image, request, model, self._encode)
        async with self._sending(call) as send:
            requests = await self._in_thread(make)
            results = await gather([partial(send, one) for one in requests], _MOST_TASKS)
            return await self._in_thread(partial(read_results, results, requests, request.iou_threshold))

    async def describe(
        self, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
    ) -> Detections:
        """Add caption, category and text to given boxes, in one task for all boxes; without boxes there is none.

        Raises:
            BackendError: as for `detect`.
        """
        if not objects or not include:
            return Detections(model=models.DINO_X.name, objects=tuple(objects))
        async with self._sending(call) as send:
            request = await self._in_thread(partial(regions.make_request, image, objects, include, self._encode))
            result = await send(request)
            return await self._in_thread(partial(regions.read_descriptions, result, request, objects))

    async def embed(self, image: Picture, request: DetectionRequest, call: Call) -> Embedding:
        """Make an embedding of examples.

        Raises:
            BackendError: as for `detect`.
            InputError: there are no examples.
        """
        if not request.examples:
            raise InputError("there is no example to save; give a box or a point in an image")
        models.choose(request)
        make = partial(examples.make_embedding_request, image, request, call.pictures, self._encode)
        async with self._sending(call) as send:
            made = await self._in_thread(make)
            return examples.read_embedding(await send(made))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    @asynccontextmanager
    async def _sending(self, call: Call) -> AsyncIterator[Send]:
        """Yield the function that sends the requests of one call, with its key, its deadline, and regular progress."""
        key = self._key(call)
        deadline = anyio.current_time() + self._settings.timeout_s
        reporter = Reporter(call.progress)
        async with alongside(partial(reporter.repeat, self._retry.heartbeat_s)):
            await reporter.report(0.0, "preparing")
            yield lambda request: self._client.run(request.with_key(key), reporter, deadline)

    def _encode(self, picture: Picture, max_side: int) -> Upload:
        """Make the upload of an image, no larger than its model uses, and no larger than the settings allow."""
        if "upload_max_side" in self._settings.model_fields_set:
            max_side = min(max_side, self._settings.upload_max_side)
        return self._uploads.get(picture, max_side, self._settings.upload_quality)

    async def _in_thread(self, work: partial[T]) -> T:
        """Work on pixels in one of a few threads; a cancelled call waits for its thread to end."""
        return await anyio.to_thread.run_sync(work, limiter=self._threads)

    def _key(self, call: Call) -> SecretStr:
        key = self._settings.api_key if call.api_key is None else call.api_key
        secret = key.get_secret_value() if key else ""
        remedy = "set DINOX_API_KEY or, over HTTP, send the header X-DINOX-API-Key"
        if key is None or not secret:
            raise KeyRejectedError(f"the DINO-X cloud needs an API key and none is set; {remedy}")
        if not secret.isascii() or not secret.isprintable() or " " in secret:
            raise KeyRejectedError(f"the DINO-X API key has spaces or characters that no key has; {remedy}")
        return key
