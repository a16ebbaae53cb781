"""Who comes next: questions wait in line, fair between clients, and may leave at any time."""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from dinox_mcp.backends.local.families.base import ImageState
from dinox_mcp.images.picture import Picture

Work = Callable[[Any, Any], Any]
"""What to do with the loaded model and with its view of the question's picture, if there is one."""


@dataclass(eq=False, slots=True)
class Question:
    """One piece of work for a loaded model, and whoever waits for its outcome.

    With a `picture`, the work gets the model's view of it: `state`, where it is known beforehand. `quick` work
    takes milliseconds once there is a state.
    """

    client: str
    work: Work
    picture: Picture | None = None
    state: ImageState | None = None
    quick: bool = False
    outcome: Future[Any] = field(default_factory=Future)
    wanted: bool = True

    @property
    def looks(self) -> bool:
        """Whether a vision pass must come first."""
        return self.picture is not None and self.state is None

    @property
    def light(self) -> bool:
        """Whether it is about the model alone, so that it takes no time."""
        return self.picture is None and self.state is None

    @property
    def at_once(self) -> bool:
        """Whether serving it first delays the others only a little."""
        return self.quick and not self.looks


class Line:
    """Questions in line: clients take turns, and each client's questions keep their order. Not thread-safe."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str, deque[Question]] = OrderedDict()
        self._overtaken = False

    def __len__(self) -> int:
        return sum(map(len, self._clients.values()))

    def __iter__(self) -> Iterator[Question]:
        for questions in self._clients.values():
            yield from questions

    def put(self, question: Question) -> None:
        """Stand in line behind the client's own questions."""
        self._clients.setdefault(question.client, deque()).append(question)

    def remove(self, question: Question) -> bool:
        """Leave the line; tells whether the question was still in it."""
        questions = self._clients.get(question.client, deque())
        if question not in questions:
            return False
        questions.remove(question)
        if not questions:
            del self._clients[question.client]
        return True

    def to_give_way(self, newcomer: Question) -> Question | None:
        """Give the last question of the client with the most, if it has more than the newcomer's would then have."""

        def alike(client: str) -> list[Question]:
            return [one for one in self._clients.get(client, ()) if one.light == newcomer.light and one.state is None]

        most = max((alike(client) for client in self._clients), key=len, default=[])
        return most[-1] if len(most) > len(alike(newcomer.client)) + 1 else None

    def next(self, *, quick_first: bool = True) -> Question | None:
        """Tell which question `take` would begin with; None if nobody waits."""
        light = next((question for question in self if question.light), None)
        if light:
            return light
        overtakes = quick_first and not self._overtaken
        at_once = next((question for question in self if question.at_once), None) if overtakes else None
        return at_once or self._head()

    def take(self, passes: int = 1, *, quick_first: bool = True) -> list[Question]:
        """Take the next question; if it needs a vision pass, up to `passes` that do, of different pictures.

        What takes no time goes first. Then comes what can be answered at once, but only one between two turns: a
        client that always has such questions must not keep the others waiting. A client whose turn it was goes to
        the end.
        """
        first = self.next(quick_first=quick_first)
        if first is None:
            return []
        if first.light:
            self.remove(first)
            return [first]
        self._overtaken = first is not self._head()
        if self._overtaken:
            self.remove(first)  # the client's own turn is still to come
        else:
            self._serve(first)
        taken = [first]
        digests = {first.picture.digest} if first.picture and first.looks else set()
        while first.looks and len(taken) < passes:
            also = next((head for head in self._heads() if head.looks and _digest(head) not in digests), None)
            if also is None:
                break
            self._serve(also)
            taken.append(also)
            digests.add(_digest(also))
        return taken

    def ahead_of(self, question: Question) -> int:
        """Count the questions that will be served before this one, if no more come."""
        place = list(self._clients.get(question.client, ())).index(question)
        before = sum(min(len(questions), place + 1) for name, questions in self._clients.items())
        later = list(self._clients)[list(self._clients).index(question.client) + 1 :]
        return before - 1 - sum(len(self._clients[name]) > place for name in later)

    def _head(self) -> Question | None:
        return next(self._heads(), None)

    def _heads(self) -> Iterator[Question]:
        for questions in self._clients.values():
            yield questions[0]

    def _serve(self, question: Question) -> None:
        self.remove(question)
        if question.client in self._clients:
            self._clients.move_to_end(question.client)


def _digest(question: Question) -> str:
    return question.picture.digest if question.picture else ""
