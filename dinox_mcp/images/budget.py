"""How many decoded pixels this process holds at once: few bytes of WebP or PNG unpack to hundreds of megabytes."""

import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from dinox_mcp.errors import BusyError
from dinox_mcp.settings import MiB
from dinox_mcp.types.memory import return_freed_blocks

LARGE = 128 * MiB
"""Images that take more than this wait in a queue of their own, so that they never delay ordinary ones."""


class PixelBudget:
    """Bytes that decoded images may take, over all calls and threads of the process.

    An image is decoded when its bytes are free. One that is larger than the budget is decoded alone.
    """

    def __init__(self, large: int = 768 * MiB, small: int = 384 * MiB, patience_s: float = 20.0) -> None:
        self._limits = {True: large, False: small}
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._taken: Counter[bool] = Counter()
        self._lines: dict[bool, list[object]] = {True: [], False: []}
        self._holders: Counter[int] = Counter()

    @contextmanager
    def decoding(self, size: int) -> Iterator[None]:
        """Wait until `size` bytes are free, and take them for the time of the block. Blocks: call it in a thread.

        Raises:
            BusyError: Too few bytes became free within `patience_s`.
        """
        is_large = size > LARGE
        size = min(size, self._limits[is_large])
        self._take(size, is_large=is_large)
        try:
            yield
        finally:
            self._give(size, is_large, None)

    def keep(self, image: object, size: int) -> None:
        """Count `size` bytes for as long as an image lives."""
        is_large = size > LARGE
        size, thread = min(size, self._limits[is_large]), threading.get_ident()
        with self._changed:
            self._taken[is_large] += size
            self._holders[thread] += 1
        weakref.finalize(image, self._give, size, is_large, thread).atexit = False

    def _take(self, size: int, *, is_large: bool) -> None:
        if is_large:
            return_freed_blocks()
        ticket, line, deadline = object(), self._lines[is_large], monotonic() + self._patience_s
        with self._changed:
            # A thread that holds an image already is let through: two such could wait for each other.
            line.insert(0, ticket) if self._holders[threading.get_ident()] else line.append(ticket)
            try:
                while not self._has_room(ticket, size, is_large=is_large):
                    if not self._changed.wait(deadline - monotonic()):
                        raise BusyError("too many large images are being decoded at once; try again in a while")
                self._taken[is_large] += size
            finally:
                line.remove(ticket)
                self._changed.notify_all()

    def _has_room(self, ticket: object, size: int, *, is_large: bool) -> bool:
        if self._holders[threading.get_ident()]:
            return True
        return self._lines[is_large][0] is ticket and self._taken[is_large] + size <= self._limits[is_large]

    def _give(self, size: int, is_large: bool, thread: int | None) -> None:
        with self._changed:  # re-entrant: an image may be collected while this thread is in here
            self._taken[is_large] -= size
            if thread is not None:
                self._holders[thread] -= 1
                self._holders += Counter()  # forgets threads that hold nothing
            self._changed.notify_all()


pixel_budget = PixelBudget()
"""The one of this process: memory is the process's, so its budget is too."""
