"""Runs the emulator: in a thread for tests, in the foreground for benchmarks and demonstrations."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from tests.emulator.app import Emulator


@contextmanager
def serve(emulator: Emulator) -> Iterator[Emulator]:
    """Serve on a free port of 127.0.0.1 from a thread; `emulator.url` says where."""
    # Named as TCP, since asyncio switches Nagle's algorithm off only then: it would cost 40 ms a reply.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    emulator.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(config(emulator))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.005)
    try:
        yield emulator
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()


def config(emulator: Emulator, **options: object) -> uvicorn.Config:
    """Configure a server without chatter, whose open connections do not keep it from ending."""
    return uvicorn.Config(
        emulator.app(),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
        **options,  # type: ignore[arg-type]  # uvicorn's own names and types
    )
