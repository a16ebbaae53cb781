"""Results of images and videos, by unguessable id: bounded in number and bytes, and separate for each tenant."""

import secrets
import sys
from collections import Counter, OrderedDict
from collections.abc import Iterable
from math import inf
from pathlib import Path
from time import monotonic
from typing import Generic, Literal, NamedTuple, TypeVar

from dinox_mcp.errors import NotFoundError
from dinox_mcp.images.picture import Picture
from dinox_mcp.store import uris
from dinox_mcp.store.files import open_regular
from dinox_mcp.types.detection import Detection, DetectionRequest, DetectionResult
from dinox_mcp.types.video import VideoResult

T = TypeVar("T")

KEPT = 10
"""Results of videos that are kept for each tenant, and folders of temporary files."""
KEPT_OF_ALL = 100
"""The same for all tenants together."""
MAX_FILE_BYTES = 64 * 1024 * 1024
_MAX_ANSWER_BYTES = 64 * 1024 * 1024
Part = Literal["video", "frames", "sheet", "answer"]
_REQUEST_BYTES = 1300
_OBJECT_BYTES = 750
_KEYPOINT_BYTES = 1070
"""Bytes of a request, of each object and of each keypoint, without strings: measured with tracemalloc."""
_UNKNOWN = "*"
"""Stands for all unknown tenants together; no tenant has this name."""
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


def new_result_id() -> str:
    """Make an id of 80 random bits that a model copies without mistakes: no upper case, no similar characters."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(16))


class Stored(NamedTuple):
    """A result with the image that was searched."""

    result: DetectionResult
    picture: Picture


class Store:
    """Keeps results for later calls.

    A tenant is whoever may read a result: an empty string on the user's own machine, a digest of the API key over
    HTTP. If there are too many results or bytes, those of the tenant that uses most are removed first, the least
    recently used one before others, so that no tenant can displace another. All unknown tenants count as one:
    invented keys cannot displace known tenants. The bytes of an image that several results share are in memory once.
    """

    def __init__(self, max_results: int, max_bytes: int) -> None:
        self._max_results = max_results
        self._max_bytes = max_bytes
        self._entries: OrderedDict[tuple[str, str], Stored] = OrderedDict()
        self._data: dict[str, bytes] = {}
        self._uses: Counter[str] = Counter()
        self._usage: dict[str, _Usage] = {}
        self._counted_for: dict[tuple[str, str], str] = {}
        self._bytes = 0

    def put(
        self, result: DetectionResult, picture: Picture, tenant: str = "", *, known: bool = True
    ) -> DetectionResult:
        """Keep a result, and remove others until everything fits; the newest is never removed.

        `known` says that the tenant is not an invented one; it counts as known while it has results.
        """
        digest = picture.digest
        if digest not in self._data:
            self._data[digest] = picture.data
            self._bytes += len(picture.data)
        self._uses[digest] += 1
        data = self._data[digest]
        # Only the bytes are shared: the source of an image is nobody's business but its tenant's.
        stored = Stored(result, picture if picture.data is data else picture.sharing(data))
        key = tenant, result.result_id
        self._entries[key] = stored
        self._bytes += _size(result)
        self._counted_for[key] = name = tenant if known or tenant in self._usage else _UNKNOWN
        self._usage.setdefault(name, _Usage()).add(stored)
        while len(self._entries) > 1 and (len(self._entries) > self._max_results or self._bytes > self._max_bytes):
            self._remove(self._next_to_remove(newest=key))
        return result

    def get(self, result_id: str, tenant: str = "") -> Stored:
        """Fetch a result and its image.

        Raises:
            NotFoundError: it never existed, belongs to another tenant, or was removed.
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
        """List a tenant's results, the most recently used first."""
        return [stored for (owner, _), stored in reversed(self._entries.items()) if owner == tenant]

    def _next_to_remove(self, newest: tuple[str, str]) -> tuple[str, str]:
        """Choose the least recently used result of the tenant that uses most, by number or bytes."""
        used = {
            name: max(usage.results / self._max_results, usage.bytes / self._max_bytes)
            for name, usage in self._usage.items()
        }
        keys = [key for key in self._entries if key != newest]
        return max(keys, key=lambda key: used[self._counted_for[key]])  # the first of equals: the least recently used

    def _remove(self, key: tuple[str, str]) -> None:
        stored = self._entries.pop(key)
        self._bytes -= _size(stored.result)
        name = self._counted_for.pop(key)
        usage = self._usage[name]
        usage.remove(stored)
        if not usage.results:
            del self._usage[name]
        digest = stored.picture.digest
        self._uses[digest] -= 1
        if not self._uses[digest]:
            del self._uses[digest]
            self._bytes -= len(self._data.pop(digest))


class _Usage:
    """What one tenant, or all unknown ones together, have in the store: each image counts once."""

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


def footprint(request: DetectionRequest, objects: Iterable[Detection], strings: Iterable[str] = ()) -> int:
    """Estimate the bytes in memory of a request with its objects, and of `strings` that are kept with them."""
    saved = (example.embedding.data for example in request.examples if example.embedding)
    total = _REQUEST_BYTES + sum(map(sys.getsizeof, (*(request.prompts or ()), *saved, *strings)))
    total += _OBJECT_BYTES * len(request.examples)
    for found in objects:
        total += _OBJECT_BYTES
        total += sum(sys.getsizeof(text) for text in (found.text, found.caption, found.category) if text)
        total += sys.getsizeof(found.mask.counts) if found.mask else 0
        total += _KEYPOINT_BYTES * len(found.keypoints)
    return total


class _Entry(NamedTuple, Generic[T]):
    """An item, the bytes that it takes, and until when it is kept."""

    item: T
    size: int
    end: float


class PerTenant(Generic[T]):
    """Keeps items by name, separate for each tenant.

    A tenant has at most `kept` items. If all tenants together have more than `kept_of_all` items or `max_bytes` bytes,
    the oldest item of the tenant that has most bytes is removed. The newest item is never removed. After `keep_s`
    seconds an item is gone. Without numbers, they are `KEPT` and `KEPT_OF_ALL`.
    """

    def __init__(
        self, max_bytes: int, kept: int | None = None, kept_of_all: int | None = None, keep_s: float = inf
    ) -> None:
        self._max_bytes = max_bytes
        self._kept = kept or KEPT
        self._kept_of_all = kept_of_all or KEPT_OF_ALL
        self._keep_s = keep_s
        self._entries: OrderedDict[tuple[str, str], _Entry[T]] = OrderedDict()

    def put(self, tenant: str, name: str, item: T, size: int) -> list[T]:
        """Keep an item that takes `size` bytes; give the items that were removed for it."""
        removed = self._remove_expired()
        self._entries[tenant, name] = _Entry(item, size, monotonic() + self._keep_s)
        own = [key for key in self._entries if key[0] == tenant]
        removed += [self._entries.pop(key).item for key in own[: -self._kept]]
        while len(self._entries) > 1 and (len(self._entries) > self._kept_of_all or self._bytes() > self._max_bytes):
            removed.append(self._entries.pop(self._next_to_remove()).item)
        return removed

    def get(self, tenant: str, name: str) -> T | None:
        """Give an item, if it is kept."""
        self._remove_expired()
        entry = self._entries.get((tenant, name))
        return entry.item if entry else None

    def _remove_expired(self) -> list[T]:
        expired = [key for key, entry in self._entries.items() if entry.end <= monotonic()]
        return [self._entries.pop(key).item for key in expired]

    def _bytes(self) -> int:
        return sum(entry.size for entry in self._entries.values())

    def _next_to_remove(self) -> tuple[str, str]:
        sizes: Counter[str] = Counter()
        for (tenant, _), entry in self._entries.items():
            sizes[tenant] += entry.size
        *older, _ = self._entries
        return next(key for tenant, _ in sizes.most_common() for key in older if key[0] == tenant)


class Videos:
    """Keeps results of videos, separate for each tenant."""

    def __init__(self) -> None:
        self._results: PerTenant[VideoResult] = PerTenant(_MAX_ANSWER_BYTES)

    def put(self, result: VideoResult, tenant: str = "") -> VideoResult:
        """Keep a result; older ones are removed if there are too many."""
        self._results.put(tenant, result.result_id, result, len(result.model_dump_json()))
        return result

    def get(self, result_id: str, tenant: str = "") -> VideoResult:
        """Fetch a result.

        Raises:
            NotFoundError: it never existed, belongs to another tenant, or was removed.
        """
        result = self._results.get(tenant, result_id)
        if result is None:
            raise NotFoundError(
                f"there is no result {result_id[:40]!r} of a video (the last {KEPT} are kept); call detect_video again"
            )
        return result

    def check_absent(self, result_id: str, tenant: str = "") -> None:
        """Refuse the id of a video where the result of an image is needed.

        Raises:
            NotFoundError: a video has this id.
        """
        if self._results.get(tenant, result_id) is not None:
            video = uris.VIDEO.replace("{result_id}", result_id)
            raise NotFoundError(
                f"{result_id[:40]!r} is the result of a video, not of an image; read {video}, or /sheet.jpg and "
                "/annotated.mp4 below it, or pass the result_id of an image"
            )

    def file(self, result_id: str, part: Part, tenant: str = "") -> bytes:
        """Read one of the files of a result. Slow: call it in a thread.

        Raises:
            NotFoundError: there is no such file, or no more, or it is too large for a message.
        """
        path = getattr(self.get(result_id, tenant).files, part)
        if path is None:
            raise NotFoundError(f"the result {result_id[:40]!r} has no {part} file; call detect_video again")
        try:
            with open_regular(Path(path)) as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise NotFoundError(f"the {part} file is gone ({error.strerror}); call detect_video again") from None
        if len(data) > MAX_FILE_BYTES:
            raise NotFoundError(f"the {part} file is too large for a message; open {path} on this server's machine")
        return data
