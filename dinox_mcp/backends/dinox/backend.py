"""The backend: a picture and a request go in, detections in original pixels come out."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from pydantic import SecretStr

from dinox_mcp.backends.base import Call, Capabilities, Model
from dinox_mcp.backends.concurrency import gather
from dinox_mcp.backends.dinox import models
from dinox_mcp.backends.dinox.client import Client, Stage, telling
from dinox_mcp.backends.dinox.pacing import Patience
from dinox_mcp.backends.dinox.upload import Upload, Uploads
from dinox_mcp.backends.dinox.wire import examples, regions
from dinox_mcp.backends.dinox.wire.objects import merge, read
from dinox_mcp.backends.dinox.wire.question import Encode, Job, Question, ask
from dinox_mcp.errors import InputError, KeyRejectedError, UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections, Embedding, Output

T = TypeVar("T")
_AT_ONCE = 4
"""Tasks of one call that run at the same time."""


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
        self._uploads = Uploads()
        self._threads = anyio.CapacityLimiter(os.cpu_count() or 1)

    def capabilities(self, model: str | None = None) -> Capabilities:
        """What a model can do; without one, what any can, as the request then decides which one answers.

        Raises:
            InputError: it has no such model.
        """
        return models.union() if model is None else models.find(model).capabilities

    def models(self) -> tuple[Model, ...]:
        """The models of the cloud; of those that can answer a request, the first does."""
        return tuple(model.listed for model in models.MODELS)

    def calls(self, request: DetectionRequest) -> int:
        """Count the tasks of a request: one, or for T-Rex one for all boxes and points, and one a saved prompt."""
        return examples.calls(request.examples)

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        """Find objects.

        Raises:
            KeyRejectedError, QuotaError, BusyError, DeadlineError, UnreachableError, ServiceError: see each.
            UnsupportedError: the model cannot answer this, or a saved prompt is of another.
            ImageError: the picture is damaged.
            InputError: a prompt without a word in it, or an example outside of its picture.
        """
        models.choose(request)
        async with self._asking(call) as asking:
            questions = await self._run(partial(_ask, image, request, call, self._encode))
            results = await asking.all([question.job(asking.key) for question in questions])
            return await self._run(partial(_read, results, questions, request.iou_threshold))

    async def describe(
        self, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
    ) -> Detections:
        """Tell the caption, category and text of given boxes, all of them in one call; none is made for no boxes.

        Raises:
            KeyRejectedError, QuotaError, BusyError, DeadlineError, UnreachableError, ServiceError: see each.
            UnsupportedError: something else is to be told.
            ImageError: the picture is damaged.
        """
        if unknown := sorted(include - models.DESCRIBES):
            raise UnsupportedError(
                f"the backend dinox cannot tell {' or '.join(unknown)} of given boxes; ask with detect"
            )
        if not objects or not include:
            return Detections(model=models.DINO_X.name, objects=tuple(objects))
        async with self._asking(call) as asking:
            question = await self._run(partial(regions.ask, image, objects, include, self._encode))
            result = await asking.one(question.job(asking.key))
            return await self._run(partial(regions.read, result, question, objects))

    async def embed(self, image: Picture, request: DetectionRequest, call: Call) -> Embedding:
        """Make an embedding of examples.

        Raises:
            KeyRejectedError, QuotaError, BusyError, DeadlineError, UnreachableError, ServiceError: see each.
            UnsupportedError: there are no examples, or not such as T-Rex takes.
            ImageError: the picture is damaged.
            InputError: an example outside of its picture.
        """
        if not request.examples:
            raise InputError("there is no example to save; give a box or a point in a picture")
        models.choose(request)
        async with self._asking(call) as asking:
            question = await self._run(partial(examples.ask_embedding, image, request, call.pictures, self._encode))
            return examples.read_embedding(await asking.one(question.job(asking.key)))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    @asynccontextmanager
    async def _asking(self, call: Call) -> AsyncIterator["_Asking"]:
        """Ask within one call: with its key and within its time, while its caller is told."""
        key = self._key(call)
        deadline = anyio.current_time() + self._settings.timeout_s
        async with telling(call.progress, self._patience.heartbeat_s) as stage:
            await stage.say(0.0, "preparing")
            yield _Asking(self._client, key, stage, deadline)

    def _encode(self, picture: Picture, max_side: int) -> Upload:
        """Make the upload of a picture, no larger than its model looks at, nor than a person has set."""
        if "upload_max_side" in self._settings.model_fields_set:
            max_side = min(max_side, self._settings.upload_max_side)
        return self._uploads.get(picture, max_side, self._settings.upload_quality)

    async def _run(self, work: partial[T]) -> T:
        """Work on pixels in one of a few threads; a cancelled call waits for its thread, so none is left over."""
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


class _Asking:
    """Asks the service on behalf of one call: on its `key`, until its deadline."""

    def __init__(self, client: Client, key: SecretStr, stage: Stage, deadline: float) -> None:
        self.key = key
        self._client = client
        self._stage = stage
        self._deadline = deadline

    async def one(self, job: Job) -> dict[str, Any]:
        """Ask one question and give its task's result."""
        return await self._client.run(job, self._stage, self._deadline)

    async def all(self, jobs: Sequence[Job]) -> list[dict[str, Any]]:
        """Ask several questions, a few at a time, and give the results in their order."""
        return await gather([partial(self.one, job) for job in jobs], _AT_ONCE)


def _ask(image: Picture, request: DetectionRequest, call: Call, encode: Encode) -> tuple[Question, ...]:
    """Put a request into the questions that it takes. Slow."""
    if request.examples:
        return examples.ask(image, request, call.pictures, encode)
    return (ask(image, request, models.choose(request), encode),)


def _read(results: Sequence[Mapping[str, Any]], questions: Sequence[Question], iou_threshold: float) -> Detections:
    """Read the results of all questions into one answer. Slow."""
    answers = [read(result, question) for result, question in zip(results, questions, strict=True)]
    if len(answers) == 1 and questions[0].model.takes_thresholds:
        return answers[0]  # the service has done it
    return merge(answers, iou_threshold)
