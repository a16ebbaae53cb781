"""What is under way: one ticket for each question, and the tasks of those that were given up."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from uuid import uuid4

import anyio

from dinox_mcp.errors import BackendError


@dataclass
class Task:
    """One paid task of the service: its idempotency key; its id and time of creation once they are known."""

    idempotency_key: str = field(default_factory=lambda: uuid4().hex)
    uuid: str | None = None
    created: float = 0.0


@dataclass
class Ticket:
    """One question: whoever holds the lock works on its task, the others wait for what comes of it."""

    task: Task
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    outcome: dict[str, Any] | BackendError | None = None
    users: int = 0


class Tickets:
    """Open tickets by question, and the last `limit` tasks without an answer, for `life_s` seconds each."""

    def __init__(self, life_s: float, limit: int = 1000) -> None:
        self._life_s = life_s
        self._limit = limit
        self._open: dict[Hashable, Ticket] = {}
        self._unfinished: OrderedDict[Hashable, tuple[float, Task]] = OrderedDict()

    def __len__(self) -> int:
        """Count what is remembered."""
        return len(self._open) + len(self._unfinished)

    @contextmanager
    def use(self, question: Hashable) -> Iterator[Ticket]:
        """Give the open ticket of a question, or one for the task that an earlier call left unfinished."""
        self._forget()
        if question not in self._open:
            _, task = self._unfinished.pop(question, (0.0, Task()))
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

    def _forget(self) -> None:
        oldest = monotonic() - self._life_s
        while self._unfinished:
            since, _ = next(iter(self._unfinished.values()))
            if since > oldest and len(self._unfinished) <= self._limit:
                break
            self._unfinished.popitem(last=False)
