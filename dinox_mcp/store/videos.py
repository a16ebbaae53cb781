"""What is kept of answers about videos: bounded for each tenant, and over all of them."""

from collections import Counter, OrderedDict
from pathlib import Path
from typing import Generic, Literal, NamedTuple, TypeVar

from dinox_mcp.errors import NotFoundError
from dinox_mcp.store.files import open_regular
from dinox_mcp.types.video import VideoResult

T = TypeVar("T")

KEPT = 10
"""As many of a tenant's answers are kept, and as many of its folders of temporary files."""
KEPT_OF_ALL = 100
"""As many are kept of all tenants together."""
MAX_FILE_BYTES = 64 * 1024 * 1024
_MAX_ANSWER_BYTES = 64 * 1024 * 1024
Part = Literal["video", "frames", "sheet", "answer"]


class _Held(NamedTuple, Generic[T]):
    """Something that is kept, and the bytes that it takes."""

    item: T
    size: int


class Shelf(Generic[T]):
    """Keeps things by names, apart for each tenant.

    A tenant has `KEPT` things at most. Where all tenants together have more than `KEPT_OF_ALL` things, or more than
    `max_bytes`, the oldest thing leaves of the tenant that holds most bytes. The newest thing always stays.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[tuple[str, str], _Held[T]] = OrderedDict()

    def put(self, tenant: str, name: str, item: T, size: int) -> list[T]:
        """Keep a thing that takes `size` bytes; give the things that left for it."""
        self._held[tenant, name] = _Held(item, size)
        own = [key for key in self._held if key[0] == tenant]
        left = [self._held.pop(key).item for key in own[:-KEPT]]
        while len(self._held) > 1 and (len(self._held) > KEPT_OF_ALL or self._bytes() > self._max_bytes):
            left.append(self._held.pop(self._next_to_leave()).item)
        return left

    def get(self, tenant: str, name: str) -> T | None:
        """Give a thing, if it is kept."""
        held = self._held.get((tenant, name))
        return held.item if held else None

    def _bytes(self) -> int:
        return sum(held.size for held in self._held.values())

    def _next_to_leave(self) -> tuple[str, str]:
        sizes: Counter[str] = Counter()
        for (tenant, _), held in self._held.items():
            sizes[tenant] += held.size
        *older, _ = self._held
        return next(key for tenant, _ in sizes.most_common() for key in older if key[0] == tenant)


class Videos:
    """Keeps answers about videos, apart for each tenant."""

    def __init__(self) -> None:
        self._results: Shelf[VideoResult] = Shelf(_MAX_ANSWER_BYTES)

    def put(self, result: VideoResult, tenant: str = "") -> VideoResult:
        """Keep an answer; older ones leave where there are too many."""
        self._results.put(tenant, result.result_id, result, len(result.model_dump_json()))
        return result

    def get(self, result_id: str, tenant: str = "") -> VideoResult:
        """Fetch an answer.

        Raises:
            NotFoundError: it was never given, given to another tenant, or has left to make room.
        """
        result = self._results.get(tenant, result_id)
        if result is None:
            raise NotFoundError(
                f"there is no result {result_id[:40]!r} of a video (the last {KEPT} are kept); call detect_video again"
            )
        return result

    def file(self, result_id: str, part: Part, tenant: str = "") -> bytes:
        """Read one of the files of an answer. Slow: call it in a thread.

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
