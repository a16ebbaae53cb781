"""How many decoded pixels this process holds at once: few bytes of WebP or PNG unpack to hundreds of megabytes."""

import threading
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import TypeVar

import anyio
import anyio.to_thread

from dinox_mcp.errors import BusyError
from dinox_mcp.settings import MiB
from dinox_mcp.types.memory import return_freed_blocks

T = TypeVar("T")
Keep = Callable[[object, int], None]
"""Counts bytes for as long as an image lives, in place of those that were reserved to decode it.

Both in one step: another image must not be decoded in the memory that this one keeps.
"""
LARGE = 128 * MiB
"""Images that take more than this wait in a queue of their own, so that they never delay ordinary ones."""


@dataclass(slots=True)
class _Work:
    """What one thread does for one call; `images` are those that it has decoded and still holds."""

    images: int = 0


@dataclass(eq=False, slots=True)
class _Reservation:
    size: int
    is_large: bool
    is_beyond: bool = False  # it was let through although it does not fit


class PixelBudget:
    """Bytes that decoded images may take, over all calls and threads of the process.

    An image is decoded when its bytes are free. One that is larger than the budget is decoded alone.
    """

    def __init__(self, large: int = 512 * MiB, small: int = 384 * MiB, patience_s: float = 20.0) -> None:
        self._limits = {True: large, False: small}
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._taken: Counter[bool] = Counter()
        self._queues: dict[bool, list[_Reservation]] = {True: [], False: []}
        self._beyond: Counter[bool] = Counter()
        # A thread serves one call after another, and each of them runs in a context of its own.
        self._work: ContextVar[_Work | None] = ContextVar("work", default=None)

    @contextmanager
    def decoding(self, size: int) -> Iterator[Keep]:
        """Wait until `size` bytes are free, and take them for the time of the block. Blocks: call it in a thread.

        In the block, call what it gives with the decoded image and the bytes that it takes.

        Raises:
            BusyError: Too few bytes became free within `patience_s`.
        """
        is_large = size > LARGE
        reservation = _Reservation(min(size, self._limits[is_large]), is_large)
        return_freed_blocks()
        self._take(reservation)
        try:
            yield partial(self._keep, reservation)
        finally:
            with self._changed:
                self._beyond[is_large] -= reservation.is_beyond
            self._give(reservation.size, is_large=is_large)

    def _keep(self, reservation: _Reservation, image: object, size: int) -> None:
        is_large, size = reservation.is_large, min(size, self._limits[reservation.is_large])
        work = self._work.get() or _Work()
        self._work.set(work)
        with self._changed:
            self._taken[is_large] += size - reservation.size
            reservation.size = 0
            work.images += 1
            self._changed.notify_all()
        weakref.finalize(image, self._give, size, is_large=is_large, work=work).atexit = False

    def _take(self, reservation: _Reservation) -> None:
        deadline, is_large = monotonic() + self._patience_s, reservation.is_large
        queue, most_taken = self._queues[is_large], self._limits[is_large] - reservation.size
        with self._changed:
            work = self._work.get()
            # Work that holds an image already goes first, and one of them at a time though its image does not fit: all
            # could wait for each other, and all at once would take as much as there are calls.
            is_first = work is not None and work.images > 0
            queue.insert(0 if is_first else len(queue), reservation)
            try:
                while queue[0] is not reservation or self._taken[is_large] > most_taken:
                    if is_first and not self._beyond[is_large]:
                        reservation.is_beyond = True
                        self._beyond[is_large] += 1
                        break
                    if not self._changed.wait(deadline - monotonic()):
                        raise BusyError("too many large images are being decoded at once; try again in a while")
                self._taken[is_large] += reservation.size
            finally:
                queue.remove(reservation)
                self._changed.notify_all()

    def _give(self, size: int, *, is_large: bool, work: _Work | None = None) -> None:
        with self._changed:  # re-entrant: an image may be collected while this thread is in here
            self._taken[is_large] -= size
            if work is not None:
                work.images -= 1
            self._changed.notify_all()


class Slots:
    """Bounds how much slow work is done at once.

    Args:
        count: how many slots there are.
        wait_s: seconds that work waits for one of them.
        busy: the message of the error where none became free in time.
    """

    def __init__(self, count: int, wait_s: float, busy: str) -> None:
        self._slots, self._wait_s, self._busy = anyio.CapacityLimiter(count), wait_s, busy

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Take a slot for the time of the block.

        Raises:
            BusyError: no slot became free in time.
        """
        slot = object()
        with anyio.move_on_after(self._wait_s) as waiting:
            await self._slots.acquire_on_behalf_of(slot)
        if waiting.cancelled_caught:
            raise BusyError(self._busy)
        try:
            yield
        finally:
            self._slots.release_on_behalf_of(slot)

    async def run(self, work: Callable[[], T]) -> T:
        """Run work in a thread; a cancelled call waits for it to end, so that there are never more threads than slots.

        Raises:
            BusyError: no slot became free in time.
        """
        async with self.taken():
            return await anyio.to_thread.run_sync(work, limiter=anyio.CapacityLimiter(1))  # it has a slot already


pixel_budget = PixelBudget()
"""The one of this process: memory is the process's, so its budget is too."""
