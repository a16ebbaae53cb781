"""What several server processes keep together, so that a result made by one can be read through another."""

import hashlib
import re
import threading
import time
from pathlib import Path

from dinox_mcp.errors import DinoxError, NotFoundError
from dinox_mcp.settings import Settings
from dinox_mcp.store.areas import Area, Folder, InRedis, Item
from dinox_mcp.store.tenants import folder_name, surplus

MEMORY = "memory"
UPLOADED_S = 600  # that an uploaded image is kept
_NAME = re.compile(r"[0-9a-z]{1,64}")
_ITEM = re.compile(
    r"(?P<group>known|unknown)/(?P<owner>[0-9a-z]+)/(?:[a-z-]+-[0-9a-z]{1,64}|(?P<unfinished>\.[0-9a-f]{16}\.tmp))"
)
"""The names of our own items: other files in the folder are never touched."""
_DIGEST_BYTES = 32
_KNOWN, _UNKNOWN = "known", "unknown"
"""Items of invented tenants are apart, and count as those of one tenant."""
_SHARE = 20
"""Limits are checked when a process has written this part of what is allowed."""


class SharedStore:
    """Keeps bytes by kind and name, separate for each tenant, bounded, and for a while. Every method blocks.

    If there are too many items or bytes, those of the tenant that has most are removed first, the oldest before
    others. Each item carries a digest, so that a damaged one is noticed. Nothing is ever unpickled.

    Args:
        area: where the bytes are.
        max_items: items of all tenants together.
        max_bytes: bytes of all tenants together.
        keep_s: seconds that an item is kept; an uploaded image is kept for `UPLOADED_S` at most.
        remote: whether callers come over HTTP: those without a key share one tenant, which is not that of the user of
            this machine.

    Raises:
        SettingsError: the folder cannot be used; each method may raise it.
        UnreachableError: Redis does not answer; each method may raise it.
    """

    def __init__(self, area: Area, max_items: int, max_bytes: int, keep_s: float, *, remote: bool = False) -> None:
        self._area = area
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._keep_s = keep_s
        self._nobody = "http" if remote else "own"
        self._lock = threading.Lock()
        self._new_items, self._new_bytes = max_items, 0  # so that the first call checks the limits

    def put(self, tenant: str, kind: str, name: str, data: bytes, *, known: bool = True) -> None:
        """Keep an item; if it is there already, for longer."""
        path = f"{_KNOWN if known else _UNKNOWN}/{folder_name(tenant, self._nobody)}/{kind}-{name}"
        keep_s = self._keep(kind)
        if not self._area.renew(path, keep_s):
            self._area.write(path, hashlib.sha256(data).digest() + data, keep_s)
            self._count(len(data), path)

    def get(self, tenant: str, kind: str, name: str) -> bytes | None:
        """Return an item, if it is kept.

        Raises:
            NotFoundError: it is damaged.
        """
        if not _NAME.fullmatch(name):
            return None
        for group in (_KNOWN, _UNKNOWN):
            found = self._area.read(f"{group}/{folder_name(tenant, self._nobody)}/{kind}-{name}", self._keep(kind))
            if found is not None:
                digest, data = found[:_DIGEST_BYTES], found[_DIGEST_BYTES:]
                if hashlib.sha256(data).digest() != digest:
                    raise damaged(kind, name)
                return data
        return None

    def close(self) -> None:
        """Close the connections."""
        self._area.close()

    def _keep(self, kind: str) -> float:
        return min(self._keep_s, UPLOADED_S) if kind == "upload" else self._keep_s

    def _count(self, size: int, newest: str) -> None:
        """Count what this process has written; at times, remove what has expired or is too much."""
        with self._lock:
            self._new_items += 1
            self._new_bytes += size
            if self._new_items * _SHARE <= self._max_items and self._new_bytes * _SHARE <= self._max_bytes:
                return
            self._new_items = self._new_bytes = 0
        self._area.remove(_to_remove(self._area.items(), self._max_items, self._max_bytes, self._keep_s, newest))


def damaged(kind: str, name: str) -> NotFoundError:
    """Make the error of an item that cannot be read, or was written by another version."""
    return NotFoundError(
        f"the {kind} {name[:40]!r} is damaged in the shared store, or of another version of dinox-mcp; make it again"
    )


def kept_here_alone(error: DinoxError) -> str:
    """Write the note of a result that could not be put into the shared store: it is not lost for that."""
    return f"only the server that made this result can read it later: {error}"


def open_shared(settings: Settings) -> SharedStore | None:
    """Open the shared store of the settings; None if everything stays in the memory of this process.

    Raises:
        SettingsError: it is a Redis, and the extra `redis` is not installed.
    """
    if settings.store == MEMORY:
        return None
    password = settings.store_password.get_secret_value() if settings.store_password else None
    is_url = "://" in settings.store
    area: Area = InRedis.connect(settings.store, password) if is_url else Folder(Path(settings.store))
    # A result and its image are two items.
    most = 2 * settings.store_max_results
    return SharedStore(
        area, most, settings.store_max_bytes, settings.store_keep_s, remote=settings.transport != "stdio"
    )


def _to_remove(items: list[Item], max_items: int, max_bytes: int, keep_s: float, newest: str) -> list[str]:
    """Choose what to remove: what has expired, and what is too much. Files that are not ours stay."""
    now, expired = time.time(), []
    current: list[tuple[str, str, int]] = []
    for item in sorted(items, key=lambda one: (one.name == newest, one.changed)):
        match = _ITEM.fullmatch(item.name)
        if match and item.changed + keep_s <= now:
            expired.append(item.name)
        elif match and not match["unfinished"]:
            current.append((item.name, _UNKNOWN if match["group"] == _UNKNOWN else match["owner"], item.size))
    return expired + surplus(current, max_items, max_bytes)
