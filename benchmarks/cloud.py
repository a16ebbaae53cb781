"""The emulated DINO-X API in a process of its own, where it takes no time from who asks it."""

import multiprocessing
import socket
import threading
import time
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

import uvicorn

from tests.emulator.app import Emulator, Stats
from tests.emulator.pixels import picture_size
from tests.emulator.server import config

KEY = "emulator-key"
LABELS = ("person", "traffic light", "hard hat", "forklift")
CROWD = 100


class Cloud:
    """The emulator on 127.0.0.1: on a free port, or over TLS on 443 with `tls` (certificate and key as PEM files).

    `with Cloud() as cloud:` ask `cloud.url`, then look at `cloud.stats()`.
    """

    def __init__(self, tls: tuple[str, str] | None = None) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_work, args=(other, tls), daemon=True)
        self._process.start()
        self.url: str = self._pipe.recv()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.join()

    def configure(self, **attributes: object) -> None:
        """Forget all, then set attributes of the emulator, such as `model_time` and `keys`."""
        self._ask("configure", attributes)

    def set(self, **attributes: object) -> None:
        """Set attributes of the emulator."""
        self._ask("set", attributes)

    def stats(self, key: str = KEY) -> Stats:
        """Give the books of a key so far."""
        books: Stats = self._ask("stats", key)
        return books

    def _ask(self, what: str, detail: object) -> Any:  # noqa: ANN401 - as many kinds of answers as of questions
        self._pipe.send((what, detail))
        return self._pipe.recv()


def crowd(body: dict[str, Any]) -> dict[str, Any]:
    """See a crowd: `CROWD` objects of the prompted labels in a grid over the picture, none in whole pixels."""
    width, height = picture_size(body["image"])
    prompt = body["prompt"]
    labels = prompt["text"].split(".") if prompt["type"] == "text" else LABELS
    objects = []
    for number in range(CROWD):
        row, column = divmod(number, 10)
        left, top = (column + 0.137) / 10 * width, (row + 0.119) / 10 * height
        right, bottom = left + (0.5 + number % 7 / 8) / 10 * width, top + (0.5 + number % 5 / 8) / 10 * height
        score = 0.9517 - 0.00613 * number
        if score >= body.get("bbox_threshold", 0.25):
            bbox = [left, top, min(right, width), min(bottom, height)]
            objects.append({"category": labels[number % len(labels)], "score": score, "bbox": bbox})
    return {"objects": objects}


def fifty(body: dict[str, Any]) -> dict[str, Any]:
    """See the first half of the crowd."""
    return {"objects": crowd(body)["objects"][:50]}


def _work(pipe: Connection, tls: tuple[str, str] | None) -> None:
    emulator = Emulator()
    _reset(emulator)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 443 if tls else 0))
    options = {"ssl_certfile": tls[0], "ssl_keyfile": tls[1]} if tls else {}
    server = uvicorn.Server(config(emulator, **options))
    threading.Thread(target=server.run, args=([listener],), daemon=True).start()
    while not server.started:
        time.sleep(0.005)
    pipe.send(f"http://127.0.0.1:{listener.getsockname()[1]}")
    while True:
        what, detail = pipe.recv()
        if what == "stats":
            pipe.send(emulator.stats(detail))
            continue
        if what == "configure":
            _reset(emulator)
        for name, value in detail.items():
            setattr(emulator, name, value)
        pipe.send(None)


def _reset(emulator: Emulator) -> None:
    emulator.reset()
    emulator.strict = False  # the vendor's server sends no Idempotency-Key
