"""What two processes of this package say to each other, as pickles in a pipe that only they have.

Pictures go through it once: `Keep` carries the bytes, and what is asked afterwards names them by their digest.
"""

import io
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from dinox_mcp.backends.base import Model, Progress
from dinox_mcp.errors import DinoxError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings


@dataclass(frozen=True, slots=True)
class Start:
    """Comes first: which backend ("module:callable") to create from which settings."""

    factory: str
    settings: Settings


@dataclass(frozen=True, slots=True)
class Keep:
    """The bytes of a picture that will be asked about."""

    digest: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Drop:
    """A picture that was kept and is not worth its memory any more."""

    digest: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A call of one of the backend's methods."""

    number: int
    method: str
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody waits for the answer any more."""

    number: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The backend was created and takes calls."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A call was taken from the pipe, and is being worked on or waits for its model."""

    number: int


@dataclass(frozen=True, slots=True)
class Alive:
    """Nothing new, but the process is alive: said again and again while there are calls."""


@dataclass(frozen=True, slots=True)
class Report:
    """How far a call is."""

    number: int
    fraction: float
    message: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call gave, and the list of models where it has changed."""

    number: int
    value: Any
    models: tuple[Model, ...] | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The error that a call ended with."""

    number: int
    kind: type[DinoxError]
    message: str


def dump(message: object) -> bytes:
    """Write a message that holds no pictures."""
    return pickle.dumps(message, pickle.HIGHEST_PROTOCOL)


def dump_ask(ask: Ask, progress: Progress) -> tuple[bytes, dict[str, Picture]]:
    """Write a call without its pictures' bytes; gives these pictures by their digests.

    Wherever `progress` stands in the arguments, the reader gets a function that reports to this call.
    """
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, ask.number, progress)
    pickler.dump(ask)
    return buffer.getvalue(), pickler.pictures


def load(stream: BinaryIO) -> Any:  # noqa: ANN401 - any of the messages above
    """Read what `dump` wrote.

    Raises:
        EOFError: the other side has ended.
    """
    return pickle.load(stream)  # noqa: S301 - written by our own other half


def load_request(stream: BinaryIO, kept: Mapping[str, bytes], reporter: Callable[[int], Progress]) -> Any:  # noqa: ANN401
    """Read what `dump` or `dump_ask` wrote; `kept` has the pictures' bytes, `reporter` makes a call's progress.

    Raises:
        EOFError: the other side has ended.
    """
    return _Unpickler(stream, kept, reporter).load()


class _Pickler(pickle.Pickler):
    def __init__(self, file: BinaryIO, number: int, progress: Progress) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._number = number
        self._progress = progress
        self.pictures: dict[str, Picture] = {}

    def persistent_id(self, obj: object) -> object:
        if obj is self._progress:
            return self._number
        if isinstance(obj, Picture):
            self.pictures[obj.digest] = obj
            return obj.sharing(b"")
        return None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, kept: Mapping[str, bytes], reporter: Callable[[int], Progress]) -> None:
        super().__init__(file)
        self._kept = kept
        self._reporter = reporter

    def persistent_load(self, pid: Any) -> object:  # noqa: ANN401 - as in the base class
        if isinstance(pid, Picture):
            return pid.sharing(self._kept[pid.digest])
        return self._reporter(pid)
