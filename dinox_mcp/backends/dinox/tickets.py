"""What is under way: one ticket for each question, and the tasks of those that were given up."""

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

    `number` counts the earlier tasks of the same question, and `begun` is the time of day at which this one was first
    asked for, in seconds. Together with the question they make its idempotency key (see `Job.idempotency_key`).
    """

    number: int = 0
    begun: float = field(default_factory=time.time)
    uuid: str | None = None
    created: float = 0.0

    def renew(self) -> None:
        """Become the next task of the same question: the service has forgotten this one."""
        self.number, self.begun, self.uuid = self.number + 1, time.time(), None


@dataclass
class Ticket:
    """One question: whoever holds the lock works on its task, the others wait for what comes of it."""

    task: Task
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    outcome: dict[str, Any] | BackendError | None = None
    users: int = 0


class Tickets:
    """Open tickets by question, and the last `limit` tasks without an answer, for `life_s` seconds each.

    How many tasks of a question are finished is remembered too, as the next one needs another idempotency key.
    """

    def __init__(self, life_s: float, limit: int = 1000) -> None:
        self._life_s = life_s
        self._limit = limit
        self._open: dict[Hashable, Ticket] = {}
        self._unfinished: OrderedDict[Hashable, tuple[float, Task]] = OrderedDict()
        self._finished: OrderedDict[Hashable, int] = OrderedDict()

    def __len__(self) -> int:
        """Count what is remembered."""
        return len(self._open) + len(self._unfinished)

    @contextmanager
    def use(self, question: Hashable) -> Iterator[Ticket]:
        """Give the open ticket of a question, or one for the task that an earlier call left unfinished."""
        self._forget()
        if question not in self._open:
            _, task = self._unfinished.pop(question, (0.0, Task(self._finished.get(question, 0))))
            self._open[question] = Ticket(task)
        ticket = self._open[question]
        ticket.users += 1
        try:
            yield ticket
        finally:
            ticket.users -= 1
            if not ticket.users and self._open.get(question) is ticket:
                self.close(question, finished=False)

    def close(self, question: Hashable, *, finished: bool) -> None:
        """Let later callers ask anew, of the same task unless it is finished.

        Those who wait with the ticket that is closed see its result or error.
        """
        ticket = self._open.pop(question)
        if not finished:
            self._unfinished[question] = monotonic(), ticket.task
            return
        self._finished[question] = ticket.task.number + 1
        self._finished.move_to_end(question)
        while len(self._finished) > self._limit:
            self._finished.popitem(last=False)

    def _forget(self) -> None:
        oldest = monotonic() - self._life_s
        while self._unfinished:
            since, _ = next(iter(self._unfinished.values()))
            if since > oldest and len(self._unfinished) <= self._limit:
                break
            self._unfinished.popitem(last=False)
