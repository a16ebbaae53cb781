"""How long and how often to try: every number about waiting in one place."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """Attempts for one request, the pauses between them, and how long things are waited for or remembered.

    All times are in seconds. Pauses double from `first_s` up to `longest_s`, shortened by chance to as little
    as half, so that calls which failed together do not come back together. `remember_s` is also the window of time
    within which the same question has the same idempotency key, even after a restart.
    """

    attempts: int = 5
    first_s: float = 0.5
    longest_s: float = 8.0
    first_poll_s: float = 0.25
    connect_s: float = 10.0
    reply_s: float = 20.0
    remember_s: float = 3600.0
    heartbeat_s: float = 1.0

    def pause(self, attempt: int, asked_for: float | None) -> float:
        """Choose the pause after an attempt (1 for the first), at least what the service asked for."""
        pause = min(self.first_s * 2.0 ** (attempt - 1), self.longest_s)
        return max(pause * random.uniform(0.5, 1), asked_for or 0.0)  # noqa: S311 - spreads load, guards nothing
