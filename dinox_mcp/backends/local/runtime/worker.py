"""The life of one model: loaded on the first request, one piece of work at a time, unloaded when idle."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from itertools import groupby
from threading import Thread
from typing import Any, Generic, TypeVar

import anyio
import anyio.to_thread

from dinox_mcp.backends.base import Progress
from dinox_mcp.backends.local.models.base import ImageState, Interrupted, Prepared, check
from dinox_mcp.backends.local.models.interfaces import A_co, Loaded, Model, Viewer
from dinox_mcp.backends.local.runtime.caches import ImageStates, Room
from dinox_mcp.backends.local.runtime.queue import Desk, Question, closed
from dinox_mcp.errors import DinoxError
from dinox_mcp.images.picture import Picture


def look(adapter: Viewer, pictures: Sequence[Picture]) -> list[ImageState | Exception]:
    """Give the model's view of each picture, or why there is none: one that fails does not spoil the others.

    Raises:
        Interrupted: nobody wants to know any more.
    """
    views: dict[int, ImageState | Exception] = {}
    sizes: dict[int, Prepared] = {}
    for place, prepared in enumerate(_prepare_all(adapter, pictures)):
        if isinstance(prepared, Exception):
            views[place] = prepared
        else:
            sizes[place] = prepared

    def size_of(place: int) -> tuple[int, ...]:
        return sizes[place].size_key

    for _, group in groupby(sorted(sizes, key=size_of), key=size_of):
        places = list(group)
        views.update(zip(places, _encode_all(adapter, [sizes.pop(place) for place in places]), strict=True))
    return [views[place] for place in range(len(pictures))]


def _prepare_all(adapter: Viewer, pictures: Sequence[Picture]) -> list[Prepared | Exception]:
    def prepare(picture: Picture) -> Prepared | Exception:
        try:
            pixels = picture.rgb()
            check()  # decoding a large picture takes a while, and so does resizing it
            return adapter.prepare(pixels)
        except Interrupted:
            raise
        except Exception as error:  # noqa: BLE001 - a damaged picture is its asker's problem alone
            return error.with_traceback(None)

    if len(pictures) == 1:
        return [prepare(pictures[0])]
    with ThreadPoolExecutor(len(pictures)) as threads:
        contexts = [copy_context() for _ in pictures]  # without it, `check` in a thread would know of no cancellation
        return list(threads.map(lambda context, picture: context.run(prepare, picture), contexts, pictures))


def _encode_all(adapter: Viewer, batch: Sequence[Prepared]) -> list[ImageState | Exception]:
    try:
        return list(adapter.encode(batch))
    except Interrupted:
        raise
    except Exception as error:  # noqa: BLE001 - the model's code may raise anything, such as "out of memory"
        if len(batch) == 1:
            return [error.with_traceback(None)]  # a traceback would keep its tensors in memory
    return [view for one in batch for view in _encode_all(adapter, [one])]


logger = logging.getLogger(__name__)
T = TypeVar("T")

HEARTBEAT_S = 0.5


class Host(Generic[A_co]):
    """Answers questions to one model in a thread of its own, so that the event loop never waits for a tensor.

    Each picture is looked at once, however many ask about it at the same time. A question whose asker is
    cancelled leaves the line, or stops the model between two layers, unless others wait for the same picture.
    `unloaded` hears, in that thread, that the model leaves memory. Needs asyncio.
    """

    def __init__(
        self,
        model: Model[A_co],
        room: Room,
        states: ImageStates,
        *,
        queue_max: int,
        idle_s: float,
        unloaded: Callable[["Host[A_co]"], object] = lambda _: None,
    ) -> None:
        self._model = model
        self._room = room
        self._states = states
        self._idle_s = idle_s
        self._unloaded = unloaded
        self._desk = Desk(model.key, queue_max)
        self._changed = self._desk.changed  # guards everything below, too
        self._thread: Thread | None = None
        self._loaded: Loaded[A_co] | None = None
        self._in_memory = False
        self._leaving = False

    @property
    def ready(self) -> bool:
        """Whether the model is loaded, so that only others' questions are in the way."""
        return self._loaded is not None

    @property
    def keeps_labels(self) -> bool:
        """Whether what the model makes of a label is kept, as far as is known: only while it is loaded."""
        loaded = self._loaded
        return loaded is not None and loaded.adapter.reuses_text

    @property
    def in_memory(self) -> bool:
        """Whether the model takes memory."""
        return self._in_memory

    async def ask(
        self,
        work: Callable[[Loaded[A_co], Any], T],
        *,
        progress: Progress,
        picture: Picture | None = None,
        state: ImageState | None = None,
        quick: bool = False,
        client: str = "",
    ) -> T:
        """Do a piece of work with the loaded model and with its view of the picture (None if there is no picture).

        A `state` that is known already saves looking. `quick` says that the work takes milliseconds if the model's
        family reuses text. Work without picture and state takes no time; it goes first, as soon as the model is loaded.

        Raises:
            BusyError: too many wait already.
            BackendError: the model does not load, or fails.
        """
        question = Question(client, work, picture, state, quick)
        ready = anyio.Event()
        loop = asyncio.get_running_loop()
        question.outcome.add_done_callback(lambda _: _wake(loop, ready))
        self._put(question)
        try:
            while not ready.is_set():
                with anyio.move_on_after(HEARTBEAT_S):
                    await ready.wait()
                if not ready.is_set():
                    await progress(*self._desk.describe(question, loaded=self.ready))
            answer: T = _result(question.outcome)
            return answer
        finally:
            self._desk.abandon(question)

    def tell(self, fraction: float, message: str) -> None:
        """Let those who wait for the work in hand know how far it is; called by that work.

        Raises:
            Interrupted: the host was closed, so the work should stop.
        """
        self._desk.tell(fraction, message)

    def leave(self) -> None:
        """Leave memory after the piece of work in hand, and return when that is done. Not for the event loop."""
        with self._changed:
            self._leaving = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._in_memory)
            self._leaving = False

    async def aclose(self) -> None:
        """Stop what runs, fail what waits, and leave memory."""
        with self._changed:
            self._desk.close()
            thread = self._thread
        if thread:
            await anyio.to_thread.run_sync(thread.join, abandon_on_cancel=True)

    def _put(self, question: Question) -> None:
        known = self._states.get(self._model.key, question.picture.digest) if question.picture else None
        with self._changed:
            self._desk.put(question, known)
            if self._thread is None:
                self._thread = Thread(target=self._serve, name=f"dinox-mcp {self._model.key}", daemon=True)
                self._thread.start()

    # What follows runs in the worker thread, which lives from the first question to the end of the model's stay.

    def _serve(self) -> None:
        while self._wait_for_questions():
            self._take_turn()

    def _take_turn(self) -> None:
        turn: list[Question] = []
        try:
            loaded = self._load()
            turn = self._desk.take(loaded.batch, quick_first=loaded.adapter.reuses_text)
            self._room.used(self)  # before anybody has an answer, and asks another model
            self._look(loaded, [question for question in turn if question.looks])
            for question in turn:
                self._work(loaded, question)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            self._desk.fail(turn or self._desk.waiting, self._explained(error))

    def _wait_for_questions(self) -> bool:
        """Wait until there is one; False when the thread should end. The model leaves memory when its time is up."""
        while True:
            with self._changed:
                waited_in_vain = not self._changed.wait_for(self._has_news, timeout=self._idle_s or None)
                leaves = self._leaving and self._in_memory
                if self._desk.waiting and not self._desk.closed and not leaves:
                    return True
            self._unload()
            with self._changed:
                if self._desk.closed or (waited_in_vain and not self._desk.waiting):
                    self._thread = None
                    return False

    def _has_news(self) -> bool:
        return bool(self._desk.waiting) or self._desk.closed or (self._leaving and self._in_memory)

    def _load(self) -> Loaded[A_co]:
        if self._loaded is None:
            self._desk.stage = 0.0, f"loading the model {self._model.key}"
            nbytes = self._model.fetch(self.tell)
            with self._room.entering(self, nbytes):
                self.tell(0.2, f"loading the model {self._model.key}")
                self._in_memory = True
                try:
                    self._loaded = self._model.load()
                except BaseException:
                    self._unload()
                    raise
        return self._loaded

    def _unload(self) -> None:
        """Drop the model and all that it saw, and say so when the memory is free."""
        if self._in_memory:
            self._loaded = None
            self._states.forget(self._model.key)
            self._unloaded(self)
            self._model.trim()
            self._room.left(self)
        with self._changed:
            self._in_memory = False
            self._changed.notify_all()

    def _look(self, loaded: Loaded[A_co], questions: list[Question]) -> None:
        """Have the model look at the questions' pictures, also for those in line who wait for the same ones."""
        pictures = [question.picture for question in questions if question.picture]
        if not pictures:
            return
        self._desk.stage = 0.4, "looking at the picture"
        try:
            with self._desk.running(questions):
                views = look(loaded.adapter, pictures)
        except Interrupted:
            views = [closed()] * len(pictures)  # nobody hears it, unless the host was closed
        answers = [self._explained(view) if isinstance(view, Exception) else view for view in views]
        for question, picture, view in zip(questions, pictures, answers, strict=True):
            if isinstance(view, DinoxError):
                self._desk.fail([question], view)
                continue
            self._states.put(self._model.key, picture.digest, view)
            question.state = view
            self._desk.share(picture, view)

    def _work(self, loaded: Loaded[A_co], question: Question) -> None:
        if question.outcome.done():
            return
        self._desk.stage = 0.6, "finding objects"
        try:
            with self._desk.running([question]):
                answer = question.work(loaded, question.state)
        except Exception as error:  # noqa: BLE001 - whatever it is, the one who waits must hear of it
            question.outcome.set_exception(self._explained(error))
        else:
            question.outcome.set_result(answer)

    def _explained(self, error: Exception) -> DinoxError:
        if isinstance(error, Interrupted):
            return closed()
        if isinstance(error, DinoxError):
            return error
        logger.warning("the model %s failed", self._model.key, exc_info=error)
        return self._model.explain(error)


def _wake(loop: asyncio.AbstractEventLoop, ready: anyio.Event) -> None:
    with suppress(RuntimeError):  # the loop is closed, so nobody waits
        loop.call_soon_threadsafe(ready.set)


def _result(outcome: Future[Any]) -> Any:  # noqa: ANN401 - whatever the work gives
    """Give what came of a question; errors are made anew, since several may share one."""
    error = outcome.exception()
    if error is None:
        return outcome.result()
    raise type(error)(str(error))
