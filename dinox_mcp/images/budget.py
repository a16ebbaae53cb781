"""How many decoded pixels this process holds at once: few bytes of WebP or PNG unpack to hundreds of megabytes."""

import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

import anyio
import anyio.to_thread

from dinox_mcp.errors import BusyError
from dinox_mcp.settings import MiB
from dinox_mcp.types.memory import return_freed_blocks

T = TypeVar("T")
LARGE = 128 * MiB
"""Images that take more than this wait in a queue of their own, so that they never delay ordinary ones."""


@dataclass(slots=True)
class _Work:
    """What one thread does for one call; `images` are those that it has decoded and still holds."""

    images: int = 0


class Reservation:
    """Bytes that are taken from a budget while an image is decoded."""

    def __init__(self, budget: "PixelBudget", size: int, *, is_large: bool) -> None:
        self._budget = budget
        self.size = size
        self.is_large = is_large
        self.is_beyond = False

    def keep(self, image: object, size: int) -> None:
        """Count `size` bytes for as long as an image lives, in place of those that were reserved.

        Both in one step: another image must not be decoded in the memory that this one keeps.
        """
        self._budget.keep(self, image, size)


class PixelBudget:
    """Bytes that decoded images may take, over all calls and threads of the process.

    An image is decoded when its bytes are free. One that is larger than the budget is decoded alone.
    """

    def __init__(self, large: int = 512 * MiB, small: int = 384 * MiB, patience_s: float = 20.0) -> None:
        self._limits = {True: large, False: small}
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._taken: Counter[bool] = Counter()
        self._queues: dict[bool, list[object]] = {True: [], False: []}
        self._beyond: Counter[bool] = Counter()  # reservations that were let through although they do not fit
        # A thread serves one call after another, and each of them runs in a context of its own.
        self._work: ContextVar[_Work | None] = ContextVar("work", default=None)

    @contextmanager
    def decoding(self, size: int) -> Iterator[Reservation]:
        """Wait until `size` bytes are free, and take them for the time of the block. Blocks: call it in a thread.

        Raises:
            BusyError: Too few bytes became free within `patience_s`.
        """
        is_large = size > LARGE
        reservation = Reservation(self, min(size, self._limits[is_large]), is_large=is_large)
        return_freed_blocks()
        self._take(reservation)
        try:
            yield reservation
        finally:
            with self._changed:
                self._beyond[is_large] -= reservation.is_beyond
            self._give(reservation.size, is_large=is_large)

    def keep(self, reservation: Reservation, image: object, size: int) -> None:
        """Count `size` bytes for as long as an image lives, in place of a reservation's."""
        is_large, size = reservation.is_large, min(size, self._limits[reservation.is_large])
        work = self._work.get() or _Work()
        self._work.set(work)
        with self._changed:
            self._taken[is_large] += size - reservation.size
            reservation.size = 0
            work.images += 1
            self._changed.notify_all()
        weakref.finalize(image, self._give, size, is_large=is_large, work=work).atexit = False

    def _take(self, reservation: Reservation) -> None:
        ticket, queue, deadline = object(), self._queues[reservation.is_large], monotonic() + self._patience_s
        with self._changed:
            work = self._work.get()
            # Work that holds an image already goes first, and one of them at a time though its image does not fit: all
            # could wait for each other, and all at once would take as much as there are calls.
            is_first = work is not None and work.images > 0
            queue.insert(0, ticket) if is_first else queue.append(ticket)
            try:
                while not (queue[0] is ticket and self._fits(reservation)):
                    if is_first and not self._beyond[reservation.is_large]:
                        reservation.is_beyond = True
                        self._beyond[reservation.is_large] += 1
                        break
                    if not self._changed.wait(deadline - monotonic()):
                        raise BusyError("too many large images are being decoded at once; try again in a while")
                self._taken[reservation.is_large] += reservation.size
            finally:
                queue.remove(ticket)
                self._changed.notify_all()

    def _fits(self, reservation: Reservation) -> bool:
        is_large = reservation.is_large
        return self._taken[is_large] + reservation.size <= self._limits[is_large]

    def _give(self, size: int, *, is_large: bool, work: _Work | None = None) -> None:
        with self._changed:  # re-entrant: an image may be collected while this thread is in here
            self._taken[is_large] -= size
            if work is not None:
                work.images -= 1
            self._changed.notify_all()


class Threads:
    """Runs slow work in a few threads; a cancelled call waits for its thread to end, so that there are never more.

    Args:
        count: how many threads.
        wait_s: seconds that work waits for one of them.
        busy: the message of the error where none became free in time.
    """

    def __init__(self, count: int, wait_s: float, busy: str) -> None:
        self._slots, self._wait_s, self._busy = anyio.CapacityLimiter(count), wait_s, busy

    async def run(self, work: Callable[[], T]) -> T:
        """Run work in a thread.

        Raises:
            BusyError: no thread became free in time.
        """
        slot = object()
        with anyio.move_on_after(self._wait_s) as waiting:
            await self._slots.acquire_on_behalf_of(slot)
        if waiting.cancelled_caught:
            raise BusyError(self._busy)
        try:
            return await anyio.to_thread.run_sync(work, limiter=anyio.CapacityLimiter(1))  # it has a slot already
        finally:
            self._slots.release_on_behalf_of(slot)


pixel_budget = PixelBudget()
"""The one of this process: memory is the process's, so its budget is too."""
