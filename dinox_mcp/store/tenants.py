"""What keeps tenants apart: the names under which their items are stored, and whose items are removed first."""

import hashlib
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from typing import TypeVar

Name = TypeVar("Name")


def folder_name(tenant: str, nobody: str) -> str:
    """Name the folder of a tenant, from which no key can be read; `nobody` is that of callers without a key."""
    return hashlib.sha256(tenant.encode()).hexdigest()[:32] if tenant else nobody


def surplus(items: Sequence[tuple[Name, str, int]], max_items: int, max_bytes: int) -> list[Name]:
    """Choose what to remove until the others are within limits: the oldest items of whoever has most.

    Args:
        items: the name, the owner and the bytes of each item, the oldest first; the last one always stays.
        max_items: how many may stay.
        max_bytes: how many bytes they may have together.

    Returns:
        The names of the items to remove.
    """
    if not items:
        return []
    *older, newest = items
    queues: defaultdict[str, deque[tuple[Name, int]]] = defaultdict(deque)
    numbers, sizes = Counter([newest[1]]), Counter({newest[1]: newest[2]})
    for name, owner, size in older:
        queues[owner].append((name, size))
        numbers[owner] += 1
        sizes[owner] += size
    removed = []
    while queues and ((too_many := numbers.total() > max_items) or sizes.total() > max_bytes):
        used = numbers if too_many else sizes
        most = max(queues, key=lambda owner: used[owner])
        name, size = queues[most].popleft()
        if not queues[most]:
            del queues[most]
        numbers[most] -= 1
        sizes[most] -= size
        removed.append(name)
    return removed
