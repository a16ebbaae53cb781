"""Whether the models' process still listens: what it was sent and has not taken, and how long it has been silent."""

from dataclasses import dataclass, field
from time import monotonic

SILENCE_S = 30.0
"""The process says every second that it is alive while it has questions; after this long without a word it is stuck."""
START_S = 120.0
"""How long it may be silent while it starts, which takes long where a disk is slow."""
LEAST_S = 5.0


@dataclass
class Attention:
    """The questions that wait in the pipe, of which `most` may, and the time of the last word from the other side.

    No question may take longer than `timeout_s` without a word. Not thread-safe: whoever owns it guards it.
    """

    most: int
    timeout_s: float
    ready: bool = False
    _sent: set[int] = field(default_factory=set)
    _heard: float = field(default_factory=monotonic)

    @property
    def full(self) -> bool:
        """Whether so many questions wait in the pipe that no other should be put there."""
        return len(self._sent) >= self.most

    def sent(self, number: int, *, idle: bool) -> None:
        """Note that a question was sent; a process that was `idle` had no reason to say anything before."""
        if idle and not self._sent:
            self._heard = monotonic()
        self._sent.add(number)

    def heard(self, taken: int | None = None) -> None:
        """Note a word from the other side, perhaps that it has taken a question."""
        self._heard = monotonic()
        if taken is not None:
            self._sent.discard(taken)

    def silent_s(self, *, idle: bool) -> float:
        """Say for how many seconds it has been silent, if that is too long for one that is alive; else 0."""
        if idle and not self._sent:
            return 0.0
        silent = monotonic() - self._heard
        usual = max(min(SILENCE_S, self.timeout_s), LEAST_S)
        return silent if silent > (usual if self.ready else START_S) else 0.0
