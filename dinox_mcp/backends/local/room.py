"""The memory that loaded models share: who was used least recently leaves for whoever comes in."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Protocol


class Guest(Protocol):
    """A model in memory that can be asked to leave."""

    def leave(self) -> None:
        """Leave memory after the piece of work in hand, and return when that is done."""
        ...


class Room:
    """A budget of bytes for models in memory. One that is larger than the whole budget gets it to itself."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._guests: OrderedDict[Guest, int] = OrderedDict()
        self._lock = Lock()
        self._door = Lock()

    @contextmanager
    def entering(self, guest: Guest, nbytes: int) -> Iterator[None]:
        """Make room, then let the guest load in the block; one at a time. Blocks: not for the event loop."""
        with self._door:
            while oldest := self._in_the_way(nbytes):
                oldest.leave()
                self.left(oldest)
            yield
            with self._lock:
                self._guests[guest] = nbytes

    def used(self, guest: Guest) -> None:
        """Remember that a guest was of use just now."""
        with self._lock:
            if guest in self._guests:
                self._guests.move_to_end(guest)

    def left(self, guest: Guest) -> None:
        """Take note that a guest is no longer in memory."""
        with self._lock:
            self._guests.pop(guest, None)

    def _in_the_way(self, nbytes: int) -> Guest | None:
        with self._lock:
            if sum(self._guests.values()) + nbytes <= self._max_bytes:
                return None
            return next(iter(self._guests), None)
