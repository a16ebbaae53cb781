"""Requests wait for a model in a queue, fair between clients, and may leave at any time."""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition, Event
from typing import Any

from dinox_mcp.backends.local.models.base import ImageState, Interrupted, interruptible
from dinox_mcp.errors import BackendError, BusyError, DinoxError
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


WINDOW_S = 0.003
"""How long a pass waits for others to share its batch, where batches pay."""


class Desk:
    """Questions to the model `key`, of which `queue_max` may wait. All of it is safe to call from any thread.

    `changed` guards it, and whatever else its owner wants to change together with it.
    """

    def __init__(self, key: str, queue_max: int) -> None:
        self.changed = Condition()
        self.closed = False
        self.stage = (0.0, "loading the model")
        """How far the work in hand is."""
        self._key = key
        self._queue_max = queue_max
        self._line = Line()
        self._current: Sequence[Question] = ()
        self._stop = Event()

    @property
    def waiting(self) -> list[Question]:
        """List the questions in line."""
        with self.changed:
            return list(self._line)

    def put(self, question: Question, known: ImageState | None = None) -> None:
        """Let a question stand in line, with what is known of its picture.

        Where the line is full, the last question of the client with the most gives way to one of a client with fewer.

        Raises:
            BusyError: too many wait already.
            BackendError: the desk is closed.
        """
        with self.changed:
            if self.closed:
                raise closed()
            waiting = sum(other.light == question.light for other in self._line)
            if waiting >= self._queue_max and question.state is None:
                busy = BusyError(
                    f"{waiting} questions wait for the model {self._key} already; "
                    "ask again later, or raise DINOX_MCP_QUEUE_MAX"
                )
                other = self._line.to_give_way(question)
                if other is None:
                    raise busy
                self.fail([other], busy)
            question.state = question.state or known
            self._line.put(question)
            self.changed.notify_all()

    def abandon(self, question: Question) -> None:
        """Do without a question; stop what runs if nobody wants it any more."""
        with self.changed:
            question.wanted = False
            self._line.remove(question)
            if question in self._current and not self._is_awaited():
                self._stop.set()

    def describe(self, question: Question, *, loaded: bool) -> tuple[float, str]:
        """Say how far a question is, as a fraction and in words."""
        with self.changed:
            if not loaded or question not in self._line:
                return self.stage
            ahead = self._line.ahead_of(question) + len(self._current)
        return 0.3, f"waiting for the model, {ahead} {'question' if ahead == 1 else 'questions'} ahead"

    def fail(self, questions: Sequence[Question], error: DinoxError) -> None:
        """Answer questions with an error, unless they were answered."""
        with self.changed:
            for question in questions:
                self._line.remove(question)
                if not question.outcome.done():
                    question.outcome.set_exception(error)

    def close(self) -> None:
        """Stop what runs, fail what waits, and take no more."""
        with self.changed:
            self.closed = True
            self.fail(self.waiting, closed())
            self._stop.set()
            self.changed.notify_all()

    def tell(self, fraction: float, message: str) -> None:
        """Note how far the work in hand is.

        Raises:
            Interrupted: the desk was closed, so the work should stop.
        """
        if self.closed:
            raise Interrupted
        self.stage = fraction, message

    def take(self, batch: int, *, quick_first: bool) -> list[Question]:
        """Take the next question, and others whose passes share a batch with its own; waits a moment for those."""
        with self.changed:
            first = self._line.next(quick_first=quick_first)
            if batch > 1 and first and first.looks:
                self.changed.wait_for(lambda: len(self._line) >= batch or self.closed, WINDOW_S)
            return self._line.take(batch, quick_first=quick_first)

    def share(self, picture: Picture, state: ImageState) -> None:
        """Give those in line what the model saw in their picture."""
        with self.changed:
            for other in self._line:
                if other.looks and other.picture == picture:
                    other.state = state

    @contextmanager
    def running(self, questions: Sequence[Question]) -> Iterator[None]:
        """Let the block be stopped, with `Interrupted`, as soon as nobody waits for what it does."""
        with self.changed:
            self._current, self._stop = questions, Event()
            if self.closed or not self._is_awaited():
                self._stop.set()
        try:
            with interruptible(self._stop):
                yield
        finally:
            with self.changed:
                self._current = ()

    def _is_awaited(self) -> bool:
        """Whether anybody waits for what runs: those who asked, or others in line with the same picture."""
        pictures = {question.picture for question in self._current if question.looks}
        alike = (question for question in self._line if question.looks and question.picture in pictures)
        return any(question.wanted for question in self._current) or any(alike)


def closed() -> BackendError:
    """Make the error of those who ask too late."""
    return BackendError("the local backend was closed; start it again and ask again")
