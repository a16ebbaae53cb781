"""Where those who ask a model and the thread that serves it meet: questions in line, and the piece of work in hand."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Condition, Event

from dinox_mcp.backends.local.families.base import ImageState, Interrupted, interruptible
from dinox_mcp.backends.local.line import Line, Question
from dinox_mcp.errors import BackendError, BusyError, DinoxError
from dinox_mcp.images.picture import Picture

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
