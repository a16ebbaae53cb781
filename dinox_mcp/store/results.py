"""Results and their pictures by unguessable id: bounded in number and bytes, apart for each tenant."""

import secrets
from collections import Counter, OrderedDict
from typing import NamedTuple

from dinox_mcp.errors import NotFoundError
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.detection import DetectionResult
from dinox_mcp.types.memory import footprint

_SHARED = "*"
"""The name of the room of all unknown tenants; no tenant is called so."""
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


def new_result_id() -> str:
    """Make an id of 80 random bits that a model copies without mistakes: no upper case, no look-alikes."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(16))


class Stored(NamedTuple):
    """A result with the picture that it was made from."""

    result: DetectionResult
    picture: Picture


class Store:
    """Keeps results for later calls; where room is short, whoever keeps more than a fair share gives it back first.

    A tenant is whoever may read a result: an empty string on the user's own machine, a digest of the API key over
    HTTP. Each known tenant has a room with a share that no other can take from it. All unknown ones share one room, so
    that invented keys cannot crowd out the others. The bytes of a picture that several results share are in memory
    once.
    """

    def __init__(self, max_results: int, max_bytes: int) -> None:
        self._max_results = max_results
        self._max_bytes = max_bytes
        self._entries: OrderedDict[tuple[str, str], Stored] = OrderedDict()
        self._data: dict[str, bytes] = {}
        self._uses: Counter[str] = Counter()
        self._rooms: dict[str, _Room] = {}
        self._room_of: dict[tuple[str, str], str] = {}
        self._bytes = 0

    def put(
        self, result: DetectionResult, picture: Picture, tenant: str = "", *, known: bool = True
    ) -> DetectionResult:
        """Keep a result, letting others leave until everything fits; the newest always stays.

        `known` says that the tenant is no invented one; it stays known while its room is not empty.
        """
        digest = picture.digest
        if digest not in self._data:
            self._data[digest] = picture.data
            self._bytes += len(picture.data)
        self._uses[digest] += 1
        # Bytes are shared, the rest is not: where a picture came from is its tenant's affair.
        stored = Stored(result, picture.sharing(self._data[digest]))
        self._entries[tenant, result.result_id] = stored
        self._bytes += _size(result)
        name = tenant if known or tenant in self._rooms else _SHARED
        self._rooms.setdefault(name, _Room()).add(stored)
        self._room_of[tenant, result.result_id] = name
        while len(self._entries) > 1 and (len(self._entries) > self._max_results or self._bytes > self._max_bytes):
            self._drop(self._next_to_leave(spared=(tenant, result.result_id)))
        return result

    def get(self, result_id: str, tenant: str = "") -> Stored:
        """Fetch a result and its picture.

        Raises:
            NotFoundError: it was never made, made by another tenant, or has left to make room.
        """
        try:
            self._entries.move_to_end((tenant, result_id))
        except KeyError:
            raise NotFoundError(
                f"there is no result {result_id[:40]!r} (results are kept for a while, until newer ones take their "
                "place); call detect_objects or detect_prompt_free again and use the result_id of its answer"
            ) from None
        return self._entries[tenant, result_id]

    def recent(self, tenant: str = "") -> list[Stored]:
        """List a tenant's results, the latest used first."""
        return [stored for (owner, _), stored in reversed(self._entries.items()) if owner == tenant]

    @property
    def used_bytes(self) -> int:
        """Memory that the kept results and pictures take, about."""
        return self._bytes

    def _next_to_leave(self, spared: tuple[str, str]) -> tuple[str, str]:
        """Name the least recently used result of the room that is fullest for its size."""
        fullness = {name: self._fullness(room) for name, room in self._rooms.items()}
        keys = [key for key in self._entries if key != spared]
        return max(keys, key=lambda key: fullness[self._room_of[key]])  # of equals, the first: the longest unused

    def _fullness(self, room: "_Room") -> float:
        """Say how much of its share a room takes, by number or bytes, whichever is more."""
        return max(room.results / self._max_results, room.bytes / self._max_bytes)

    def _drop(self, key: tuple[str, str]) -> None:
        stored = self._entries.pop(key)
        self._bytes -= _size(stored.result)
        name = self._room_of.pop(key)
        room = self._rooms[name]
        room.remove(stored)
        if not room.results:
            del self._rooms[name]
        digest = stored.picture.digest
        self._uses[digest] -= 1
        if not self._uses[digest]:
            del self._uses[digest]
            self._bytes -= len(self._data.pop(digest))


class _Room:
    """What one tenant, or all unknown ones together, keep: each picture counted once."""

    def __init__(self) -> None:
        self.results = 0
        self.bytes = 0
        self._uses: Counter[str] = Counter()

    def add(self, stored: Stored) -> None:
        self.results += 1
        self.bytes += _size(stored.result)
        if not self._uses[stored.picture.digest]:
            self.bytes += len(stored.picture.data)
        self._uses[stored.picture.digest] += 1

    def remove(self, stored: Stored) -> None:
        self.results -= 1
        self.bytes -= _size(stored.result)
        self._uses[stored.picture.digest] -= 1
        if not self._uses[stored.picture.digest]:
            del self._uses[stored.picture.digest]
            self.bytes -= len(stored.picture.data)


def _size(result: DetectionResult) -> int:
    return footprint(result.request, result.objects, result.notes)
