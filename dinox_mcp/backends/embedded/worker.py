"""One picture at a time, off the event loop, with a bounded queue; and a clock for what nobody has used for long."""

import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread

from dinox_mcp.backends.base import Progress
from dinox_mcp.backends.concurrency import alongside
from dinox_mcp.errors import BusyError

T = TypeVar("T")
_TELL_EVERY_S = 0.1


class AbandonedError(Exception):
    """Nobody waits for this work any more."""


class Steps:
    """Where work says how far it is, from 0 to 1, and learns that nobody waits for it any more."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self.now = (0.0, "waiting for its turn")

    def say(self, fraction: float, message: str) -> None:
        """Go on to the next step.

        Raises:
            AbandonedError: the call was cancelled.
        """
        if self._stop.is_set():
            raise AbandonedError
        self.now = (fraction, message)

    def stop(self) -> None:
        """Let the work end at its next step."""
        self._stop.set()


class Worker:
    """Does one piece of work at a time in a thread, whatever event loop asks; at most `queue` others wait.

    A thread cannot be killed: a cancelled call returns at once, and its work ends at its next step. The next
    piece of work begins only then, so memory and cores are never shared out twice.
    """

    def __init__(self, queue: int) -> None:
        self._queue = queue
        self._calls = 0
        self._turn = threading.Lock()

    @property
    def busy(self) -> bool:
        """Tell whether work is done or waits."""
        return self._calls > 0

    async def run(self, work: Callable[[Steps], T], progress: Progress) -> T:
        """Do the work when its turn comes.

        Raises:
            BusyError: too many others are waiting.
        """
        if self._calls > self._queue:
            raise BusyError(f"{self._queue} pictures are waiting already; try again in a few seconds")
        steps = Steps()
        self._calls += 1
        try:
            async with alongside(partial(_tell, steps, progress)):
                return await anyio.to_thread.run_sync(
                    self._work, work, steps, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
                )
        finally:
            self._calls -= 1
            steps.stop()

    def _work(self, work: Callable[[Steps], T], steps: Steps) -> T:
        while not self._turn.acquire(timeout=_TELL_EVERY_S):
            steps.say(*steps.now)  # so that threads of cancelled calls do not pile up waiting
        try:
            steps.say(*steps.now)
            return work(steps)
        finally:
            self._turn.release()


class IdleTimer:
    """Calls `action` in a thread when `idle_s` seconds have passed since the last `start`; never where they are 0."""

    def __init__(self, idle_s: float, action: Callable[[], None]) -> None:
        self._idle_s = idle_s
        self._action = action
        self._timer: threading.Timer | None = None

    def start(self) -> None:
        """Begin to wait, from the start."""
        self.stop()
        if self._idle_s > 0:
            self._timer = threading.Timer(self._idle_s, self._action)
            self._timer.daemon = True  # the end of the program need not wait for it
            self._timer.start()

    def stop(self) -> None:
        """Wait no longer."""
        if self._timer is not None:
            self._timer.cancel()


async def _tell(steps: Steps, progress: Progress) -> None:
    """Pass on what the thread says; it never waits for the event loop, which may be gone by then."""
    told = None
    while True:
        if steps.now != told:
            told = steps.now
            try:
                await progress(*told)
            except Exception:  # noqa: BLE001 - a listener that has gone loses the progress, not the answer
                return
        await anyio.sleep(_TELL_EVERY_S)
