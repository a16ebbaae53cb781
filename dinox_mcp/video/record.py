"""What the backend answered about the key frames of a video so far, and what there is to note."""

from collections import Counter
from dataclasses import dataclass, field

from dinox_mcp.asking import Answer
from dinox_mcp.video.schema import Calls


@dataclass(slots=True)
class Record:
    """Counts calls and collects notes. Each key frame takes `calls_each` calls, unless it is known from memory."""

    calls_each: int
    asked: list[float] = field(default_factory=list)
    model: str = ""
    backend: str = ""
    found: bool = False
    unsearched: tuple[str, ...] = ()
    """Prompts that were looked for in no key frame."""
    unknown: tuple[str, ...] = ()
    """Those of them that no backend knows."""
    _made: int = 0
    _remembered: int = 0
    _notes: dict[str, None] = field(default_factory=dict)
    _answered: Counter[str] = field(default_factory=Counter)

    def add(self, time: float, answer: Answer) -> None:
        """Record the answer about the key frame at a time."""
        first = not self.asked
        self.asked.append(time)
        self._made += 0 if answer.cached else self.calls_each
        self._remembered += answer.cached
        self.model = answer.found.model
        self.backend = answer.backend
        self.found = self.found or bool(answer.found.objects)
        found = answer.found
        self.unsearched = tuple(one for one in found.unsearched if first or one in self.unsearched)
        self.unknown = tuple(one for one in found.unknown if first or one in self.unknown)
        self._answered.update(set(answer.found.notes))

    def note(self, text: str) -> None:
        """Note something about the video as a whole."""
        if text:
            self._notes[text] = None

    def notes(self) -> list[str]:
        """List the backend's notes, each with the number of key frames that it is about unless it is all, then ours."""
        total = len(self.asked)
        answered = (
            note if times == total else f"in {times} of {total} key frames: {note}"
            for note, times in self._answered.items()
        )
        return [*answered, *self._notes]

    def calls(self, planned: int) -> Calls:
        """Count the calls that were made, of those `planned`."""
        return Calls(planned=planned, made=self._made, memory=self._remembered)
