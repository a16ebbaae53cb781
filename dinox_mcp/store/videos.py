"""Results of videos: bounded in number and bytes, for each tenant and for all together."""

from collections import Counter, OrderedDict
from pathlib import Path
from typing import Generic, Literal, NamedTuple, TypeVar

from dinox_mcp.errors import NotFoundError
from dinox_mcp.store.files import open_regular
from dinox_mcp.types.video import VideoResult

T = TypeVar("T")

KEPT = 10
"""Results of videos that are kept for each tenant, and folders of temporary files."""
KEPT_OF_ALL = 100
"""The same for all tenants together."""
MAX_FILE_BYTES = 64 * 1024 * 1024
_MAX_ANSWER_BYTES = 64 * 1024 * 1024
Part = Literal["video", "frames", "sheet", "answer"]


class _Entry(NamedTuple, Generic[T]):
    """An item, and the bytes that it takes."""

    item: T
    size: int


class PerTenant(Generic[T]):
    """Keeps items by name, separate for each tenant.

    A tenant has at most `KEPT` items. If all tenants together have more than `KEPT_OF_ALL` items or `max_bytes` bytes,
    the oldest item of the tenant that has most bytes is removed. The newest item is never removed.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[tuple[str, str], _Entry[T]] = OrderedDict()

    def put(self, tenant: str, name: str, item: T, size: int) -> list[T]:
        """Keep an item that takes `size` bytes; give the items that were removed for it."""
        self._entries[tenant, name] = _Entry(item, size)
        own = [key for key in self._entries if key[0] == tenant]
        removed = [self._entries.pop(key).item for key in own[:-KEPT]]
        while len(self._entries) > 1 and (len(self._entries) > KEPT_OF_ALL or self._bytes() > self._max_bytes):
            removed.append(self._entries.pop(self._next_to_remove()).item)
        return removed

    def get(self, tenant: str, name: str) -> T | None:
        """Give an item, if it is kept."""
        entry = self._entries.get((tenant, name))
        return entry.item if entry else None

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

    def has(self, result_id: str, tenant: str = "") -> bool:
        """Return whether a result is kept for a tenant."""
        return self._results.get(tenant, result_id) is not None

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
