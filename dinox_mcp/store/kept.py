"""Keeps items by name for each tenant: in memory, and where several servers share a store, there too."""

from collections.abc import Callable
from functools import partial
from math import inf
from time import monotonic
from typing import Generic, NamedTuple, TypeVar

import anyio.to_thread

from dinox_mcp.errors import NotFoundError
from dinox_mcp.store import uris
from dinox_mcp.store.results import new_result_id
from dinox_mcp.store.shared import UPLOADED_S, SharedStore, damaged
from dinox_mcp.store.tenants import surplus

T = TypeVar("T")

KEPT, KEPT_OF_ALL = 10, 100  # items of each tenant and of all together, such as results of videos
UPLOADS, UPLOADS_OF_ALL = 50, 500  # uploaded images, likewise


class _Entry(NamedTuple, Generic[T]):
    """An item, the bytes that it takes, and until when it is kept."""

    item: T
    size: int
    end: float


class PerTenant(Generic[T]):
    """Keeps items by name, separate for each tenant.

    A tenant has at most `kept` items. If all tenants together have more than `kept_of_all` items or `max_bytes` bytes,
    the oldest item of the tenant that has most of them is removed. The newest item is never removed. After `keep_s`
    seconds an item is gone. Without numbers, they are `KEPT` and `KEPT_OF_ALL`.
    """

    def __init__(
        self, max_bytes: int, kept: int | None = None, kept_of_all: int | None = None, keep_s: float = inf
    ) -> None:
        self._kept, self._kept_of_all = kept or KEPT, kept_of_all or KEPT_OF_ALL
        self._max_bytes, self._keep_s = max_bytes, keep_s
        self._entries: dict[tuple[str, str], _Entry[T]] = {}

    def put(self, tenant: str, name: str, item: T, size: int) -> list[T]:
        """Keep an item that takes `size` bytes; give the items that were removed for it."""
        removed = self._remove_expired()
        self._entries.pop((tenant, name), None)
        self._entries[tenant, name] = _Entry(item, size, monotonic() + self._keep_s)
        own = [key for key in self._entries if key[0] == tenant]
        removed += self._remove(own[: -self._kept])
        sizes = [(key, key[0], entry.size) for key, entry in self._entries.items()]
        return removed + self._remove(surplus(sizes, self._kept_of_all, self._max_bytes))

    def get(self, tenant: str, name: str) -> T | None:
        """Give an item, if it is kept."""
        self._remove_expired()
        entry = self._entries.get((tenant, name))
        return entry.item if entry else None

    def _remove_expired(self) -> list[T]:
        return self._remove([key for key, entry in self._entries.items() if entry.end <= monotonic()])

    def _remove(self, keys: list[tuple[str, str]]) -> list[T]:
        return [self._entries.pop(key).item for key in keys]


class Kept(Generic[T]):
    """Keeps items in memory, and in the shared store where there is one.

    Args:
        kind: what they are, in one word.
        memory: keeps those of this process.
        shared: keeps those of all servers.
        dump: makes bytes of an item.
        load: makes an item of bytes; it raises ValueError if it cannot.

    Raises:
        SettingsError: the folder of the shared store cannot be used; `put` and `get` may raise it.
        UnreachableError: likewise, the shared store does not answer.
    """

    def __init__(
        self,
        kind: str,
        memory: PerTenant[T],
        shared: SharedStore | None,
        dump: Callable[[T], bytes],
        load: Callable[[bytes], T],
    ) -> None:
        self._kind, self._memory, self._shared = kind, memory, shared
        self._dump, self._load = dump, load

    async def put(self, tenant: str, name: str, item: T) -> None:
        """Keep an item, where the shared store fails in memory alone; older ones are removed if there are too many."""
        data = self._dump(item)
        self._memory.put(tenant, name, item, len(data))
        if self._shared is not None:
            await anyio.to_thread.run_sync(partial(self._shared.put, tenant, self._kind, name, data))

    def own(self, tenant: str, name: str) -> T | None:
        """Return an item that this process has put, if it is kept."""
        return self._memory.get(tenant, name)

    async def get(self, tenant: str, name: str) -> T | None:
        """Return an item, if it is kept.

        Raises:
            NotFoundError: it is damaged.
        """
        if (own := self.own(tenant, name)) is not None or self._shared is None:
            return own
        data = await anyio.to_thread.run_sync(self._shared.get, tenant, self._kind, name)
        try:
            return None if data is None else self._load(data)
        except ValueError:
            raise damaged(self._kind, name) from None


class Uploads:
    """Keeps the bytes of uploaded images and PDFs."""

    def __init__(self, max_bytes: int, keep_s: float = UPLOADED_S, shared: SharedStore | None = None) -> None:
        memory: PerTenant[bytes] = PerTenant(max_bytes, UPLOADS, UPLOADS_OF_ALL, keep_s)
        self._images: Kept[bytes] = Kept("upload", memory, shared, bytes, bytes)

    async def put(self, data: bytes, tenant: str = "") -> str:
        """Keep an image as `Kept` does, and give its URI."""
        image_id = new_result_id()
        await self._images.put(tenant, image_id, data)
        return uris.UPLOAD.replace("{image_id}", image_id)

    async def get(self, uri: str, tenant: str = "") -> bytes:
        """Fetch an image by its URI.

        Raises:
            NotFoundError: it never existed, belongs to another tenant, or was removed.
        """
        image_id = uri.strip()[len(uris.UPLOADS) :].strip("/")
        data = await self._images.get(tenant, image_id)
        if data is None:
            raise NotFoundError(
                f"there is no uploaded image {image_id[:40]!r} (each is kept for {UPLOADED_S // 60} minutes, for "
                "the caller who sent it); send it again by POST /images, and use the URI of the answer"
            )
        return data
