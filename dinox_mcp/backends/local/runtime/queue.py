"""The queue of one model: fair between callers, and requests may leave it at any time."""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition, Event
from typing import Any

from dinox_mcp.backends.local.models.base import Features, Interrupted, Loaded, interruptible
from dinox_mcp.errors import BackendError, BusyError, DinoxError
from dinox_mcp.images.picture import Picture

Work = Callable[[Loaded, Any], Any]
"""What to do with a loaded model and with the features of the request's image, None if it has no image."""
BATCH_WAIT_S = 0.003
"""How long an image waits for others to be encoded with it, where batches pay."""


@dataclass(eq=False, slots=True)
class Request:
    """One piece of work for a loaded model, and its result.

    Attributes:
        client: Who made it.
        image: The image whose features the work needs.
        features: Those features, where they are known.
        quick: Whether the work takes milliseconds once the features are known.
        wanted: Whether anybody still waits for the result.
    """

    client: str
    work: Work
    image: Picture | None = None
    features: Features | None = None
    quick: bool = False
    result: Future[Any] = field(default_factory=Future)
    wanted: bool = True

    @property
    def needs_encoding(self) -> bool:
        """Whether its image must be encoded first."""
        return self.image is not None and self.features is None

    @property
    def is_light(self) -> bool:
        """Whether it is about the model alone, so that it takes no time."""
        return self.image is None and self.features is None


class Waiting:
    """The waiting requests in their order: clients alternate, and each client's keep their order. Not thread-safe."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str, deque[Request]] = OrderedDict()
        self._overtaken = False

    def __len__(self) -> int:
        return sum(map(len, self._clients.values()))

    def __iter__(self) -> Iterator[Request]:
        for requests in self._clients.values():
            yield from requests

    def put(self, request: Request) -> None:
        """Add a request behind the others of its client."""
        self._clients.setdefault(request.client, deque()).append(request)

    def remove(self, request: Request) -> None:
        """Remove a request, if it is here."""
        requests = self._clients.get(request.client, deque())
        if request in requests:
            requests.remove(request)
            if not requests:
                del self._clients[request.client]

    def displaced_by(self, newcomer: Request) -> Request | None:
        """Return the last request of the client with the most, if it has more than the newcomer's would then have."""

        def alike(client: str) -> list[Request]:
            requests = self._clients.get(client, ())
            return [one for one in requests if one.is_light == newcomer.is_light and one.features is None]

        most = max((alike(client) for client in self._clients), key=len, default=[])
        return most[-1] if len(most) > len(alike(newcomer.client)) + 1 else None

    def next(self, *, quick_first: bool = True) -> Request | None:
        """Return the request that `take` would begin with; None if there is none."""
        if light := next((request for request in self if request.is_light), None):
            return light
        overtaking = self if quick_first and not self._overtaken else ()
        quick = next((request for request in overtaking if request.quick and not request.needs_encoding), None)
        return quick or self._first()

    def take(self, batch: int = 1, *, quick_first: bool = True) -> list[Request]:
        """Take the next request; if it needs encoding, up to `batch` that do, of different images.

        Light requests go first. Then comes a quick one, but only one between two others: a client that always has quick
        requests must not keep the others waiting. A client that was served goes to the end.
        """
        first = self.next(quick_first=quick_first)
        if first is None:
            return []
        if first.is_light:
            self.remove(first)
            return [first]
        self._overtaken = first is not self._first()
        if self._overtaken:
            self.remove(first)  # the client keeps its position
        else:
            self._serve(first)
        taken = [first]
        while first.needs_encoding and len(taken) < batch:
            images = [request.image for request in taken]
            heads = (requests[0] for requests in self._clients.values())
            also = next((head for head in heads if head.needs_encoding and head.image not in images), None)
            if also is None:
                break
            self._serve(also)
            taken.append(also)
        return taken

    def ahead_of(self, request: Request) -> int:
        """Count the requests that will be served before this one, if no more come."""
        position = list(self._clients.get(request.client, ())).index(request)
        before = sum(min(len(requests), position + 1) for requests in self._clients.values())
        later = list(self._clients)[list(self._clients).index(request.client) + 1 :]
        return before - 1 - sum(len(self._clients[name]) > position for name in later)

    def _first(self) -> Request | None:
        return next((requests[0] for requests in self._clients.values()), None)

    def _serve(self, request: Request) -> None:
        self.remove(request)
        if request.client in self._clients:
            self._clients.move_to_end(request.client)


class Queue:
    """The requests of one model, waiting and running: at most `queue_max` wait. Any thread may call its methods."""

    def __init__(self, key: str, queue_max: int) -> None:
        self.changed = Condition()  # guards the queue, and what its owner changes together with it
        self.closed = False
        self.stage = (0.0, "loading the model")  # the progress of what runs
        self._key = key
        self._queue_max = queue_max
        self._waiting = Waiting()
        self._running: Sequence[Request] = ()
        self._stop = Event()

    @property
    def waiting(self) -> list[Request]:
        """List the requests that wait."""
        with self.changed:
            return list(self._waiting)

    def put(self, request: Request, known: Features | None = None) -> None:
        """Add a request, with the features of its image if they are known.

        In a full queue it takes the position of the last request of the client with the most, if that has more.

        Raises:
            BusyError: too many wait already.
            BackendError: the queue is closed.
        """
        with self.changed:
            if self.closed:
                raise closed()
            waiting = sum(other.is_light == request.is_light for other in self._waiting)
            if waiting >= self._queue_max and request.features is None:
                busy = BusyError(
                    f"{waiting} requests wait for the model {self._key} already; "
                    "try again later, or raise DINOX_MCP_QUEUE_MAX"
                )
                other = self._waiting.displaced_by(request)
                if other is None:
                    raise busy
                self.fail([other], busy)
            request.features = request.features or known
            self._waiting.put(request)
            self.changed.notify_all()

    def abandon(self, request: Request) -> None:
        """Remove a request; stop what runs if nobody wants its result any more."""
        with self.changed:
            request.wanted = False
            self._waiting.remove(request)
            if request in self._running and not self._is_wanted():
                self._stop.set()

    def progress_of(self, request: Request, *, loaded: bool) -> tuple[float, str]:
        """Return the progress of a request, as a fraction and a message."""
        with self.changed:
            if not loaded or request not in self._waiting:
                return self.stage
            ahead = self._waiting.ahead_of(request) + len(self._running)
        return 0.3, f"waiting for the model, {ahead} {'request' if ahead == 1 else 'requests'} ahead"

    def fail(self, requests: Sequence[Request], error: DinoxError) -> None:
        """End requests with an error, unless they have a result."""
        with self.changed:
            for request in requests:
                self._waiting.remove(request)
                if not request.result.done():
                    request.result.set_exception(error)

    def close(self) -> None:
        """Stop what runs, fail what waits, and take no more."""
        with self.changed:
            self.closed = True
            self.fail(self.waiting, closed())
            self._stop.set()
            self.changed.notify_all()

    def report(self, fraction: float, message: str) -> None:
        """Note the progress of what runs.

        Raises:
            Interrupted: the queue was closed, so the work should stop.
        """
        if self.closed:
            raise Interrupted
        self.stage = fraction, message

    def take(self, batch: int, *, quick_first: bool) -> list[Request]:
        """Take the next request, and others whose images can be encoded with its own; waits a moment for those."""
        with self.changed:
            first = self._waiting.next(quick_first=quick_first)
            if batch > 1 and first and first.needs_encoding:
                self.changed.wait_for(lambda: len(self._waiting) >= batch or self.closed, BATCH_WAIT_S)
            return self._waiting.take(batch, quick_first=quick_first)

    def share(self, image: Picture, features: Features) -> None:
        """Give features to the waiting requests about the same image."""
        with self.changed:
            for other in self._waiting:
                if other.needs_encoding and other.image == image:
                    other.features = features

    @contextmanager
    def running(self, requests: Sequence[Request]) -> Iterator[None]:
        """Stop the block, with `Interrupted`, as soon as nobody wants what it computes."""
        with self.changed:
            self._running, self._stop = requests, Event()
            if self.closed or not self._is_wanted():
                self._stop.set()
        try:
            with interruptible(self._stop):
                yield
        finally:
            with self.changed:
                self._running = ()

    def _is_wanted(self) -> bool:
        """Return whether somebody waits for what runs, or for the same image to be encoded."""
        images = {request.image for request in self._running if request.needs_encoding}
        alike = (request for request in self._waiting if request.needs_encoding and request.image in images)
        return any(request.wanted for request in self._running) or any(alike)


def closed() -> BackendError:
    """Make the error for requests that come too late."""
    return BackendError("the local backend was closed; start it again and repeat the request")
