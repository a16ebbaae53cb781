"""The models' process as the server sees it: started, asked many things at a time, watched, ended."""

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any, BinaryIO, cast

from dinox_mcp.backends.base import Model, Progress
from dinox_mcp.backends.local.process import wire
from dinox_mcp.errors import BackendError, BusyError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import MiB

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


logger = logging.getLogger(__name__)

GRACE_S = 0.5
"""How long the process may take to end before it is killed."""
KEPT_BYTES = 64 * MiB
"""Pictures that the process keeps for later questions; its models keep what they saw of more."""
_ENDED = b""
_SECRETS = ("DINOX_API_KEY", "DINOX_MCP_TOKEN", "AUTH_TOKEN")


@dataclass(frozen=True)
class Question:
    """A call that waits in an event loop; `news` brings `Report`s, and the `Answer` or `Failure` in the end."""

    number: int
    news: "asyncio.Queue[wire.Report | wire.Answer | wire.Failure]" = field(default_factory=asyncio.Queue)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def tell(self, news: wire.Report | wire.Answer | wire.Failure) -> None:
        """Bring news from another thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody waits
            self.loop.call_soon_threadsafe(self.news.put_nowait, news)


class Child:
    """One process, from its first question to its end: after `idle_s` without any (0: never), or with `end`.

    One that is alive but says nothing for too long (see `attention`) is ended, too. Two threads carry what is said: one
    starts the process, writes and buries it, the other reads.
    """

    def __init__(self, start: wire.Start, idle_s: float) -> None:
        self.models: tuple[Model, ...] | None = None  # as the backend there listed them last
        self._idle_s = idle_s
        self._numbers = itertools.count()
        self._outbox: SimpleQueue[bytes | None] = SimpleQueue()
        self._outbox.put(wire.dump(start))
        self._lock = Lock()  # guards what follows
        self._questions: dict[int, Question] = {}
        self._kept: OrderedDict[str, int] = OrderedDict()
        self._attention = Attention(start.settings.queue_max + 1, start.settings.timeout_s)
        self._silent_s = 0.0
        self._over = False
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: Thread | None = None
        self._buried = Event()

    @property
    def over(self) -> bool:
        """Whether it has ended or is about to: whatever it had in memory is gone."""
        return self._over

    @property
    def pid(self) -> int | None:
        """The process's number, once it has one."""
        return self._process.pid if self._process else None

    def ask(
        self, method: str, arguments: tuple[Any, ...], options: Mapping[str, Any], progress: Progress
    ) -> Question | None:
        """Call a method of the backend there; None if the process is about to end, so that another must be asked.

        Raises:
            BusyError: as many questions as may wait are in the pipe, and the process has not taken them yet.
        """
        self.end_if_stuck()
        with self._lock:
            if self._over:
                return None
            if self._attention.full:
                raise BusyError(
                    f"{self._attention.most} questions wait for the local model already; ask again later, or raise "
                    "DINOX_MCP_QUEUE_MAX"
                )
            question = Question(next(self._numbers))
            request, pictures = wire.dump_ask(wire.Ask(question.number, method, arguments, options), progress)
            self._keep(pictures)
            self._attention.sent(question.number, idle=not self._questions)
            self._questions[question.number] = question
            self._outbox.put(request)
            self._drop()
            if self._thread is None:  # had it begun without a question, it might be over before there is one
                self._thread = Thread(target=self._live, name="dinox-mcp models", daemon=True)
                self._thread.start()
            return question

    def leave(self, question: Question) -> None:
        """Wait no longer; what is still being done for it is cancelled."""
        with self._lock:
            if self._questions.pop(question.number, None) is not None:
                self._outbox.put(wire.dump(wire.Cancel(question.number)))

    def end_if_stuck(self) -> None:
        """Kill the process if it has been silent for too long; questions that wait fail, and the next starts another.

        Whoever waits for an answer calls this now and then; it takes no time.
        """
        with self._lock:
            silent_s = self._attention.silent_s(idle=not self._questions)
            if self._over or not silent_s or self._process is None:
                return
            self._over, self._silent_s = True, silent_s
        logger.warning("the local model's process has said nothing for %.0f s and is killed", silent_s)
        self._process.kill()

    def end(self) -> None:
        """End the process, within seconds whatever it does; questions that wait fail. Not for the event loop."""
        with self._lock:
            self._over = self._closed = True
        self._outbox.put(None)
        if self._thread and not self._buried.wait(GRACE_S) and self._process:
            self._process.kill()
            self._buried.wait(GRACE_S)

    def _keep(self, pictures: Mapping[str, Picture]) -> None:
        for digest, picture in pictures.items():
            if digest not in self._kept:
                self._outbox.put(wire.dump(wire.Keep(digest, picture.data)))
                self._kept[digest] = len(picture.data)
            self._kept.move_to_end(digest)

    def _drop(self) -> None:
        while sum(self._kept.values()) > KEPT_BYTES:
            digest, _ = self._kept.popitem(last=False)
            self._outbox.put(wire.dump(wire.Drop(digest)))

    # What follows runs in the two threads.

    def _live(self) -> None:
        try:
            process = self._process = _start()
            cause = self._talk(process)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            cause = f"the process for the local model does not start ({error}); free memory, or {_SAME}"
        with self._lock:
            self._over = True
            waiting = [*self._questions.values()]
            self._questions.clear()
        for question in waiting:
            question.tell(wire.Failure(question.number, BackendError, cause))
        self._buried.set()

    def _talk(self, process: "subprocess.Popen[bytes]") -> str:
        """Write what is asked until the process ends or is to end; gives the cause."""
        requests, answers = cast("BinaryIO", process.stdin), cast("BinaryIO", process.stdout)
        reader = Thread(target=self._read, args=(answers,), name="dinox-mcp models' answers", daemon=True)
        reader.start()
        with contextlib.suppress(OSError), requests:  # broken where the process has ended
            while (message := self._next()) is not None:
                requests.write(message)
                requests.flush()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
        process.kill()
        process.wait()
        reader.join()
        answers.close()
        return self._cause(process.returncode)

    def _next(self) -> bytes | None:
        """Wait for the next message to write; None when the process is to end."""
        while True:
            with self._lock:
                patience = None if self._questions else self._idle_s or None
            try:
                message = self._outbox.get(timeout=patience)
            except Empty:
                with self._lock:
                    if not self._questions and self._outbox.empty():
                        self._over = True
                        return None
            else:
                if message != _ENDED:
                    return message

    def _read(self, answers: BinaryIO) -> None:
        try:
            while True:
                self._take(wire.load(answers))
        except EOFError:
            pass
        except Exception as error:  # noqa: BLE001 - half a message, or one of another release of this package
            logger.debug("what the models' process said cannot be read: %s", error)
        self._outbox.put(None)

    def _take(self, message: wire.Ready | wire.Alive | wire.Taken | wire.Report | wire.Answer | wire.Failure) -> None:
        with self._lock:
            self._attention.heard(message.number if isinstance(message, wire.Taken) else None)
            if isinstance(message, wire.Ready):
                self._attention.ready = True
            if isinstance(message, wire.Ready | wire.Alive | wire.Taken):
                return
            if isinstance(message, wire.Report):
                question = self._questions.get(message.number)
            else:
                question = self._questions.pop(message.number, None)
                self._outbox.put(_ENDED)
            if isinstance(message, wire.Answer):
                self.models = message.models or self.models
        if question:
            question.tell(message)

    def _cause(self, status: int) -> str:
        """Say why the process has ended, and what to do."""
        how = _how(status)
        if self._closed:
            return "the local backend was closed; start it again and ask again"
        if self._silent_s:
            return (
                f"the local model's process said nothing for {self._silent_s:.0f} s and was ended; ask again, which "
                "starts another"
            )
        if not self._attention.ready and -status != _KILLED:
            return f"the process for the local model does not start ({how}; stderr says more); {_SAME}"
        if -status == _KILLED:
            how += ", as a system does when memory runs out"
        return (
            f"the local model's process ended before it answered ({how}); ask again, which starts another; if it "
            "happens again, choose a smaller model (DINOX_MCP_MODEL=fast) or free some memory"
        )


_SAME = "reinstall dinox-mcp, or have models run in the server's own process (DINOX_MCP_MODEL_PROCESS=same)"
_KILLED = 9


def _how(status: int) -> str:
    if status >= 0:
        return f"exit status {status}" if status < 256 else f"exit status {status:#x}"  # noqa: PLR2004 - Windows' codes
    with contextlib.suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"


def _start() -> "subprocess.Popen[bytes]":
    """Start this Python anew, out of reach of Ctrl-C in the terminal; what it has to say goes to our stderr."""
    environment = {name: value for name, value in os.environ.items() if name not in _SECRETS}
    environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)  # noqa: PTH109
    options: dict[str, Any] = {"process_group": 0}
    if sys.platform == "win32":
        options = {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    return subprocess.Popen(  # noqa: S603 - this Python, with our own module
        [sys.executable or "", "-P", "-m", "dinox_mcp.backends.local.process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if _has_stderr() else subprocess.DEVNULL,
        env=environment,
        **options,
    )


def _has_stderr() -> bool:
    try:
        os.fstat(2)
    except OSError:
        return False
    return True
