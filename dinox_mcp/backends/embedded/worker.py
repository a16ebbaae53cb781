"""Runs work in a thread, one image at a time, with a bounded queue and progress; and calls back after idle time."""

import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread

from dinox_mcp.backends.base import Progress, alongside
from dinox_mcp.errors import BusyError

T = TypeVar("T")
_INTERVAL_S = 0.1

Report = Callable[[float], None]
"""Takes the share of the work that is done, from 0 to 1. It may raise an error to abandon the work."""


def ignore(_: float) -> None:
    """Ignore progress."""


def share(report: Report, start: float, end: float) -> Report:
    """Return the report of a part of the work, which goes from `start` to `end`."""
    return lambda done: report(start + (end - start) * done)


class AbandonedError(Exception):
    """The call that waited for this work was cancelled."""


class Steps:
    """The progress of one piece of work, which runs in a thread, and the signal to stop it."""

    def __init__(self) -> None:
        self.stopped = False
        self.now = (0.0, "waiting for other images")

    def report(self, fraction: float, message: str) -> None:
        """Begin the next step: a share of the work (from 0 to 1) is done, and `message` says what comes now.

        Raises:
            AbandonedError: the call was cancelled.
        """
        if self.stopped:
            raise AbandonedError
        self.now = (fraction, message)

    def part(self, start: float, end: float, message: str) -> Report:
        """Return the report of a part of the work, which goes from `start` to `end`."""
        return share(lambda done: self.report(done, message), start, end)


class Worker:
    """Runs one piece of work at a time in a thread, for calls from any event loop; at most `queue` others wait.

    A thread cannot be killed: a cancelled call returns at once, and its work ends at its next step. Only then the next
    work begins, so that memory and cores are used by one at a time.
    """

    def __init__(self, queue: int) -> None:
        self._queue = queue
        self._calls = 0
        self._lock = threading.Lock()

    @property
    def busy(self) -> bool:
        """Whether any work runs or waits."""
        return self._calls > 0

    async def run(self, work: Callable[[Steps], T], progress: Progress) -> T:
        """Run the work as soon as no other runs.

        Raises:
            BusyError: too many others are waiting.
        """
        if self._calls > self._queue:
            raise BusyError(f"{self._queue} images are waiting already; try again in a few seconds")
        steps = Steps()
        self._calls += 1
        try:
            async with alongside(partial(_forward, steps, progress)):
                return await anyio.to_thread.run_sync(
                    self._work, work, steps, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
                )
        finally:
            self._calls -= 1
            steps.stopped = True

    def _work(self, work: Callable[[Steps], T], steps: Steps) -> T:
        while not self._lock.acquire(timeout=_INTERVAL_S):
            steps.report(*steps.now)  # ends the threads of cancelled calls
        try:
            steps.report(*steps.now)
            return work(steps)
        finally:
            self._lock.release()


class IdleTimer:
    """Calls `action` in a thread `idle_s` seconds after the last `start`; never if that is 0."""

    def __init__(self, idle_s: float, action: Callable[[], None]) -> None:
        self._idle_s = idle_s
        self._action = action
        self._timer: threading.Timer | None = None

    def start(self) -> None:
        """Start the time again."""
        self.stop()
        if self._idle_s > 0:
            self._timer = threading.Timer(self._idle_s, self._action)
            self._timer.daemon = True  # the program can end without it
            self._timer.start()

    def stop(self) -> None:
        """Stop the time."""
        if self._timer is not None:
            self._timer.cancel()


async def _forward(steps: Steps, progress: Progress) -> None:
    """Forward the thread's progress to the caller. The thread never waits for the event loop, which may be closed."""
    sent = None
    while True:
        if steps.now != sent:
            sent = steps.now
            try:
                await progress(*sent)
            except Exception:  # noqa: BLE001 - a listener that has gone loses the progress, not the response
                return
        await anyio.sleep(_INTERVAL_S)
