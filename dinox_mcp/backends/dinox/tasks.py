"""Paid tasks of the service that are under way: equal requests share one task, and none is paid for twice."""

import time
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import anyio

from dinox_mcp.errors import BackendError


@dataclass
class Task:
    """One paid task of the service; its id and time of creation once they are known.

    `number` counts the earlier tasks of the same request, and `begun` is the time of day at which this one was first
    requested, in seconds. Together with the request they make its idempotency key (see `ApiRequest.idempotency_key`).
    """

    number: int = 0
    begun: float = field(default_factory=time.time)
    uuid: str | None = None
    created: float = 0.0

    def renew(self) -> None:
        """Become the next task of the same request: the service has forgotten this one."""
        self.number, self.begun, self.uuid = self.number + 1, time.time(), None


@dataclass
class SharedTask:
    """The task of equal requests: the call that holds the lock runs it, the others wait for its outcome."""

    task: Task
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    outcome: dict[str, Any] | BackendError | None = None
    users: int = 0


class TasksInFlight:
    """The tasks that calls wait for, and the last `limit` tasks without a result for `life_s` seconds each, by request.

    The number of finished tasks of a request is kept too, as the next one needs another idempotency key.
    """

    def __init__(self, life_s: float, limit: int = 1000) -> None:
        self._life_s = life_s
        self._limit = limit
        self._shared: dict[Hashable, SharedTask] = {}
        self._unfinished: OrderedDict[Hashable, tuple[float, Task]] = OrderedDict()
        self._finished: OrderedDict[Hashable, int] = OrderedDict()

    def __len__(self) -> int:
        """Count the tasks that calls wait for, and those without a result."""
        return len(self._shared) + len(self._unfinished)

    @contextmanager
    def use(self, request: Hashable) -> Iterator[SharedTask]:
        """Join the task of an equal request, or take up the one that an earlier call left unfinished."""
        self._forget()
        if request not in self._shared:
            _, task = self._unfinished.pop(request, (0.0, Task(self._finished.get(request, 0))))
            self._shared[request] = SharedTask(task)
        shared = self._shared[request]
        shared.users += 1
        try:
            yield shared
        finally:
            shared.users -= 1
            if not shared.users and self._shared.get(request) is shared:
                self.close(request, finished=False)

    def close(self, request: Hashable, *, finished: bool) -> None:
        """Let later calls start anew: with the same task, unless it is finished.

        Calls that wait for the closed task still see its result or error.
        """
        shared = self._shared.pop(request)
        if not finished:
            self._unfinished[request] = monotonic(), shared.task
            return
        self._finished[request] = shared.task.number + 1
        self._finished.move_to_end(request)
        while len(self._finished) > self._limit:
            self._finished.popitem(last=False)

    def _forget(self) -> None:
        oldest = monotonic() - self._life_s
        while self._unfinished:
            since, _ = next(iter(self._unfinished.values()))
            if since > oldest and len(self._unfinished) <= self._limit:
                break
            self._unfinished.popitem(last=False)
