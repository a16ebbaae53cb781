"""The worker of one model: loads it for the first request, runs one request at a time, unloads it when idle."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread

from dinox_mcp.backends.base import Progress
from dinox_mcp.backends.local.checkpoints.checkpoint import Checkpoint
from dinox_mcp.backends.local.models.base import Features, ImageModel, Interrupted, Loaded, Prepared, check
from dinox_mcp.backends.local.runtime.caches import FeatureCache, LabelCache, ModelMemory
from dinox_mcp.backends.local.runtime.queue import Queue, Request, closed
from dinox_mcp.errors import DinoxError
from dinox_mcp.images.picture import Picture

if TYPE_CHECKING:
    from dinox_mcp.backends.local.models.base import Rows

logger = logging.getLogger(__name__)
T = TypeVar("T")

HEARTBEAT_S = 0.5


class Worker:
    """Runs requests to one model in a thread of its own, so that the event loop never waits for a tensor.

    Each image is encoded once, however many requests at the same time are about it. A cancelled request leaves the
    queue, or stops the model between two layers, unless others wait for the same image. Needs asyncio.

    Args:
        checkpoint: The model.
        memory: The memory that models share.
        features: The features that models share.
        queue_max: How many requests may wait.
        idle_s: After how many seconds without requests the model is unloaded; 0 for never.
        labels: The folder for label embeddings; None for the user's cache.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        memory: ModelMemory,
        features: FeatureCache,
        *,
        queue_max: int,
        idle_s: float,
        labels: Path | None = None,
    ) -> None:
        self._checkpoint = checkpoint
        self._memory = memory
        self._features = features
        self._idle_s = idle_s
        self._labels_folder = labels
        self._labels: LabelCache | None = None  # while the model is in memory
        self._queue = Queue(checkpoint.key, queue_max)
        self.report = self._queue.report  # called by the running work
        self._changed = self._queue.changed  # guards everything below, too
        self._thread: Thread | None = None
        self._loaded: Loaded | None = None
        self.in_memory = False
        self._unloading = False

    @property
    def ready(self) -> bool:
        """Whether the model is loaded."""
        return self._loaded is not None

    @property
    def keeps_labels(self) -> bool:
        """Whether label embeddings are kept, as far as is known: only while the model is loaded."""
        loaded = self._loaded
        return loaded is not None and loaded.model.reuses_text

    async def run(
        self,
        work: Callable[[Loaded, Any], T],
        *,
        progress: Progress,
        image: Picture | None = None,
        features: Features | None = None,
        quick: bool = False,
        client: str = "",
    ) -> T:
        """Run work with the loaded model, and return what it returns.

        Args:
            work: Gets the loaded model, and the features of the image; None without an image.
            progress: Takes the progress.
            image: The image whose features the work needs; work without image and features goes first.
            features: Features that are known already; they save the encoding.
            quick: Whether the work takes milliseconds, if the family reuses text.
            client: Who makes the request; the queue is fair between clients.

        Raises:
            BusyError: too many requests wait already.
            BackendError: the model does not load, or fails.
        """
        request = Request(client, work, image, features, quick)
        ready = anyio.Event()
        loop = asyncio.get_running_loop()
        request.result.add_done_callback(lambda _: _wake(loop, ready))
        self._put(request)
        try:
            while not ready.is_set():
                with anyio.move_on_after(HEARTBEAT_S):
                    await ready.wait()
                if not ready.is_set():
                    await progress(*self._queue.progress_of(request, loaded=self.ready))
            answer: T = _result(request.result)
            return answer
        finally:
            self._queue.abandon(request)

    def embed_labels(self, loaded: Loaded, labels: Sequence[str]) -> "Rows | None":
        """Return an embedding for each label, None if the family does not reuse text; called by the running work."""
        if not loaded.model.reuses_text:
            return None
        if self._labels is None:
            self._labels = LabelCache(self._labels_folder, loaded.fingerprint)

        def report(done: int, total: int) -> None:
            self.report(0.5, f"reading the labels, {done} of {total}")

        return self._labels.rows(labels, loaded.model.embed, report)

    def unload(self) -> None:
        """Unload the model after the running request, and return when that is done. Not for the event loop."""
        with self._changed:
            self._unloading = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self.in_memory)
            self._unloading = False

    async def aclose(self) -> None:
        """Stop what runs, fail what waits, and unload the model."""
        with self._changed:
            self._queue.close()
            thread = self._thread
        if thread:
            await anyio.to_thread.run_sync(thread.join, abandon_on_cancel=True)

    def _put(self, request: Request) -> None:
        known = self._features.get(self._checkpoint.key, request.image.digest) if request.image else None
        with self._changed:
            self._queue.put(request, known)
            if self._thread is None:
                self._thread = Thread(target=self._work, name=f"dinox-mcp {self._checkpoint.key}", daemon=True)
                self._thread.start()

    # What follows runs in the worker's thread, which lives from the first request until the model is unloaded.

    def _work(self) -> None:
        while self._wait_for_requests():
            self._take_some()

    def _take_some(self) -> None:
        taken: list[Request] = []
        try:
            loaded = self._load()
            taken = self._queue.take(loaded.batch, quick_first=loaded.model.reuses_text)
            self._memory.used(self)  # before anybody has an answer, and makes a request to another model
            self._encode(loaded, [request for request in taken if request.needs_encoding])
            for request in taken:
                self._run(loaded, request)
        except Exception as error:  # noqa: BLE001 - whatever it is, the waiting requests must fail with it
            self._queue.fail(taken or self._queue.waiting, self._explained(error))

    def _wait_for_requests(self) -> bool:
        """Wait for requests; return False when the thread should end. An idle model is unloaded."""

        def should_free() -> bool:
            return self._queue.closed or (self._unloading and self.in_memory)

        while True:
            with self._changed:
                due = self._changed.wait_for(lambda: should_free() or self._queue.waiting, self._idle_s or None)
                if self._queue.waiting and not should_free():
                    return True
            self._free()
            with self._changed:
                if self._queue.closed or not (due or self._queue.waiting):
                    self._thread = None
                    return False

    def _load(self) -> Loaded:
        if self._loaded is None:
            self._queue.stage = 0.0, f"loading the model {self._checkpoint.key}"
            nbytes = self._checkpoint.fetch(self.report)
            with self._memory.loading(self, nbytes):
                self.report(0.2, f"loading the model {self._checkpoint.key}")
                self.in_memory = True
                try:
                    self._loaded = self._checkpoint.load()
                except BaseException:
                    self._free()
                    raise
        return self._loaded

    def _free(self) -> None:
        """Drop the model and its features, and notify others when the memory is free."""
        if self.in_memory:
            self._loaded = self._labels = None
            self._features.forget(self._checkpoint.key)
            self._checkpoint.trim()
            self._memory.freed(self)
        with self._changed:
            self.in_memory = False
            self._changed.notify_all()

    def _encode(self, loaded: Loaded, requests: list[Request]) -> None:
        """Encode the images of requests, also for waiting ones about the same images."""
        images = [request.image for request in requests if request.image]
        if not images:
            return
        self._queue.stage = 0.4, "encoding the image"
        encoded: Sequence[Features | Exception]
        try:
            with self._queue.running(requests):
                encoded = encode(loaded.model, images)
        except Interrupted:
            encoded = [closed()] * len(images)  # nobody waits for it, unless the worker was closed
        for request, image, features in zip(requests, images, encoded, strict=True):
            if isinstance(features, Exception):
                self._queue.fail([request], self._explained(features))
                continue
            self._features.put(self._checkpoint.key, image.digest, features)
            request.features = features
            self._queue.share(image, features)

    def _run(self, loaded: Loaded, request: Request) -> None:
        if request.result.done():
            return
        self._queue.stage = 0.6, "finding objects"
        try:
            with self._queue.running([request]):
                answer = request.work(loaded, request.features)
        except Exception as error:  # noqa: BLE001 - whatever it is, the request must fail with it
            request.result.set_exception(self._explained(error))
        else:
            request.result.set_result(answer)

    def _explained(self, error: Exception) -> DinoxError:
        if isinstance(error, Interrupted):
            return closed()
        if isinstance(error, DinoxError):
            return error
        logger.warning("the model %s failed", self._checkpoint.key, exc_info=error)
        return self._checkpoint.explain(error)


def _wake(loop: asyncio.AbstractEventLoop, ready: anyio.Event) -> None:
    with suppress(RuntimeError):  # the loop is closed, so nobody waits
        loop.call_soon_threadsafe(ready.set)


def _result(result: Future[Any]) -> Any:  # noqa: ANN401 - whatever the work returns
    """Return a result; errors are made anew, since several requests may share one."""
    error = result.exception()
    if error is None:
        return result.result()
    raise type(error)(str(error))


def encode(model: ImageModel, images: Sequence[Picture]) -> list[Features | Exception]:
    """Compute the features of images, or what each failed with: one that fails does not spoil the others.

    Raises:
        Interrupted: nobody wants them any more.
    """
    encoded: list[Any] = _prepare_all(model, images)
    shapes: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, one in enumerate(encoded):
        if isinstance(one, Prepared):
            shapes[one.pixels.shape].append(index)
    for indices in shapes.values():
        batch = [encoded[index] for index in indices]
        for index, features in zip(indices, _encode_batch(model, batch), strict=True):
            encoded[index] = features
    return encoded


def _prepare_all(model: ImageModel, images: Sequence[Picture]) -> list[Prepared | Exception]:
    def prepare(image: Picture) -> Prepared | Exception:
        try:
            pixels = image.rgb()
            check()  # decoding a large image takes a while, and so does resizing it
            return model.prepare(pixels)
        except Interrupted:
            raise
        except Exception as error:  # noqa: BLE001 - a damaged image fails its own request only
            return error.with_traceback(None)

    if len(images) == 1:
        return [prepare(images[0])]
    with ThreadPoolExecutor(len(images)) as threads:
        contexts = [copy_context() for _ in images]  # without it, `check` in a thread would not notice a cancellation
        return list(threads.map(lambda context, image: context.run(prepare, image), contexts, images))


def _encode_batch(model: ImageModel, batch: Sequence[Prepared]) -> list[Features | Exception]:
    try:
        return list(model.encode(batch))
    except Interrupted:
        raise
    except Exception as error:  # noqa: BLE001 - the model's code may raise anything, such as "out of memory"
        if len(batch) == 1:
            return [error.with_traceback(None)]  # a traceback would keep its tensors in memory
    return [features for one in batch for features in _encode_batch(model, [one])]
