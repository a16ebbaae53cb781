"""One large file over HTTP: resumed where it stopped, checked, cancelled within a chunk."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import BinaryIO

import httpx2

from dinox_mcp.errors import BackendError

Progress = Callable[[int, int, str], None]
"""Takes the bytes done, the bytes in all, and what is being done in a few words."""

_ATTEMPTS = 5
PATIENCE_S = 1.0  # before the second attempt; each later one waits longer by as much
_OK, _RANGE_NOT_SATISFIABLE, _SERVER_ERROR = 200, 416, 500
_TIMEOUT = httpx2.Timeout(10)


class Stopped(Exception):  # noqa: N818 - it reports a wish, not a fault
    """The download was cancelled; what has arrived is kept."""


def silent(_done: int, _total: int, _message: str) -> None:
    """Do not report progress."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository: where it is, how large, and its SHA-256 where the hub has it."""

    url: str
    size: int
    sha256: str | None
    headers: Mapping[str, str]


class Meter:
    """Counts the bytes of a download and reports them, five times a second at most."""

    _PAUSE_S = 0.2

    def __init__(self, report: Progress, total: int, subject: str) -> None:
        self._report, self._total, self._subject = report, total, subject
        self._done = 0
        self._arrived = 0
        self._start = time.monotonic()
        self._next = 0.0

    def add(self, count: int, *, arrived: bool = True) -> None:
        """Count bytes; `arrived` is False for those that were on the disk already."""
        self._done += count
        self._arrived += count if arrived else 0
        now = time.monotonic()
        if now >= self._next or self._done >= self._total:
            self._next = now + self._PAUSE_S
            self._report(self._done, self._total, self._describe(now - self._start))

    def _describe(self, seconds: float) -> str:
        megabytes = f"{self._done / 1e6:.0f} of {self._total / 1e6:.0f} MB"
        pace = f", {self._arrived / 1e6 / seconds:.1f} MB/s" if seconds > 1 else ""
        return f"downloading {self._subject}: {megabytes}{pace}"


def fetch(session: httpx2.Client, remote: RemoteFile, target: Path, lock: Path, meter: Meter, stop: Event) -> None:
    """Download a file to `target`, going on after what an earlier attempt left beside it.

    One process at a time does so: the others, which see the `lock`, wait and find it done.

    Raises:
        Stopped: the event was set; the next call goes on from here.
        BackendError: what arrived is not what the hub announced.
        httpx2.HTTPError, OSError: the network or the disk failed for good; the next call goes on from here.
    """
    part = target.with_name(f"{target.name}.incomplete")
    part.parent.mkdir(parents=True, exist_ok=True)
    with _alone(lock, stop):
        if target.exists() and _intact(target, remote):
            meter.add(remote.size, arrived=False)
            return
        _complete(session, remote, part, meter, stop)
        if not _intact(part, remote):
            part.unlink()
            raise BackendError(f"{remote.url} arrived damaged (wrong checksum) and was thrown away; try again")
        part.replace(target)


def _complete(session: httpx2.Client, remote: RemoteFile, part: Path, meter: Meter, stop: Event) -> None:
    failures = 0
    with part.open("ab") as file:
        if file.tell() > remote.size:
            _empty(file)
        meter.add(file.tell(), arrived=False)
        while (before := file.tell()) < remote.size:
            try:
                _receive(session, remote, file, meter, stop)
            except httpx2.TransportError:
                failures = failures + 1 if file.tell() == before else 1
                if failures >= _ATTEMPTS:
                    raise
                meter.add(0)  # its callback may want to cancel
                stop.wait(failures * PATIENCE_S)


def _receive(session: httpx2.Client, remote: RemoteFile, file: BinaryIO, meter: Meter, stop: Event) -> None:
    from huggingface_hub import hf_raise_for_status

    _check(stop)
    headers = {**remote.headers, "Range": f"bytes={file.tell()}-", "Accept-Encoding": "identity"}
    with session.stream("GET", remote.url, headers=headers, timeout=_TIMEOUT, follow_redirects=True) as response:
        if response.status_code in {_OK, _RANGE_NOT_SATISFIABLE} and file.tell():
            # The server does not go on where we stopped: start anew, with this answer or the next.
            meter.add(-file.tell(), arrived=False)
            _empty(file)
            if response.status_code == _RANGE_NOT_SATISFIABLE:
                return
        if response.status_code >= _SERVER_ERROR:
            raise httpx2.RemoteProtocolError(f"the hub answered {response.status_code}")
        hf_raise_for_status(response)
        for chunk in response.iter_bytes():
            _check(stop)
            file.write(chunk)
            meter.add(len(chunk))
    if file.tell() < remote.size:
        raise httpx2.RemoteProtocolError("the answer ended early")


def _empty(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()


def _intact(path: Path, remote: RemoteFile) -> bool:
    if path.stat().st_size != remote.size:
        return False
    if remote.sha256 is None:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == remote.sha256


@contextmanager
def _alone(path: Path, stop: Event) -> Iterator[None]:
    """Hold a lock file; wait for a process that holds it, unless the event is set."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    while True:
        _check(stop)
        try:
            lock.acquire(timeout=0.2)
            break
        except Timeout:
            continue
    try:
        yield
    finally:
        lock.release()


def _check(stop: Event) -> None:
    if stop.is_set():
        raise Stopped
