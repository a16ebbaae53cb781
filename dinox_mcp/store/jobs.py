"""The folders of jobs, one for each job, on disk, and separate for each tenant."""

import base64
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from platformdirs import user_data_path

from dinox_mcp.errors import BusyError, NotFoundError, SettingsError
from dinox_mcp.settings import MiB
from dinox_mcp.store import uris
from dinox_mcp.store.tenants import folder_name, surplus

MAX_JOBS = 100  # of the user of this machine
MAX_JOBS_OF_CALLER, MAX_JOBS_OF_CALLERS = 20, 200  # of one caller over HTTP, and of all of them together
MAX_BYTES, MAX_BYTES_OF_CALLERS = 1024 * MiB, 4096 * MiB  # likewise; the newest job is kept in any case
_ADDRESS = uris.JOB.partition("{")[0]
_ID = re.compile(r"[a-z2-7]{16}")
_OWN, _SHARED = "own", "http"
_PRIVATE = 0o700  # only this user may read it


def job_id(content: str) -> str:
    """Make the id of a job of what decides what it finds: the same request has the same job, also after a restart."""
    digest = hashlib.sha256(content.encode()).digest()
    return base64.b32encode(digest[:10]).decode().lower()[::-1]


class _Folder(NamedTuple):
    """A job's folder, with the time of its last change and the bytes in it."""

    path: Path
    changed: float
    size: int


class Jobs:
    """The jobs in a folder.

    Callers over HTTP who bring no key share one tenant, which is not that of the user of this machine: a local job
    names local files.
    """

    def __init__(self, folder: Path | None = None, *, remote: bool = False) -> None:
        self._folder = folder or user_data_path("dinox-mcp") / "jobs"
        self._remote = remote

    def path(self, job: str, tenant: str = "") -> Path:
        """Give the folder of a job, whether or not it is there.

        Raises:
            NotFoundError: this is not the id of a job.
        """
        job = job.strip().removeprefix(_ADDRESS)
        if not _ID.fullmatch(job):
            raise NotFoundError(f"there is no job {job[:40]!r}; a job has 16 letters and digits, as a reply gives them")
        return self._owner(tenant) / job

    @contextmanager
    def locked(self, job: str, tenant: str = "") -> Iterator[Path]:
        """Hold a job's folder, made if it is not there, for one call of one process. Blocks shortly.

        The lock ends with the process, however that ends.

        Raises:
            BusyError: another call works on this job.
            SettingsError: the folder cannot be written.
        """
        path = self.path(job, tenant)
        busy = f"another call works on the job {job}; call again with job={job} when it has replied"
        with _held(path, "job", busy, "set DINOX_MCP_JOBS_FOLDER to a folder that can be written"):
            yield path

    def make_room(self, tenant: str, newest: Path) -> None:
        """Remove the oldest jobs where there are too many; over HTTP, first those of the tenant that has most.

        A job that a call works on stays.
        """
        owner = self._owner(tenant)
        _remove(_folders(owner), MAX_JOBS_OF_CALLER if self._remote else MAX_JOBS, MAX_BYTES, newest)
        if self._remote:
            with suppress(OSError):
                owners = [path for path in self._folder.iterdir() if path.name != _OWN]
                jobs = [one for path in owners for one in _folders(path)]
                _remove(jobs, MAX_JOBS_OF_CALLERS, MAX_BYTES_OF_CALLERS, newest)

    def _owner(self, tenant: str) -> Path:
        return self._folder / folder_name(tenant, _SHARED if self._remote else _OWN)


def _folders(owner: Path) -> list[_Folder]:
    """List the jobs of an owner."""
    found = []
    with suppress(OSError):
        for path in owner.iterdir():
            with suppress(OSError):
                files = [file.stat() for file in path.iterdir()]
                changed = max((file.st_mtime for file in files), default=0.0)
                found.append(_Folder(path, changed, sum(file.st_size for file in files)))
    return found


def _remove(folders: list[_Folder], most: int, max_bytes: int, newest: Path) -> None:
    """Remove jobs beyond the limits, but not the newest, and none that a call works on."""
    oldest_first = sorted(folders, key=lambda one: (one.path == newest, one.changed))
    # A job counts no more than one caller may have, so that the newest does not displace those of all others.
    items = [(one.path, one.path.parent.name, min(one.size, MAX_BYTES)) for one in oldest_first]
    for path in surplus(items, most, max_bytes):
        if not _in_use(path):
            shutil.rmtree(path, ignore_errors=True)


def _in_use(folder: Path) -> bool:
    """Return whether a call works on the job in a folder."""
    try:
        os.close(lock(folder))
    except OSError as error:
        return isinstance(error, BlockingIOError)
    return False


@contextmanager
def held_run(folder: Path) -> Iterator[None]:
    """Hold the folder of a run that a user named, made if it is not there, for one call of one process. Blocks shortly.

    Raises:
        BusyError: another call works on this run.
        SettingsError: the folder cannot be written.
    """
    busy = f"another call works on the run in {folder}; wait for it, or choose another --out"
    with _held(folder, "run", busy, "choose another --out"):
        yield


@contextmanager
def _held(folder: Path, what: str, busy: str, remedy: str) -> Iterator[None]:
    """Hold a folder; `busy` is the error if another call holds it, `remedy` what to do if it cannot be written."""
    try:
        descriptor = lock(folder)
    except BlockingIOError:
        raise BusyError(busy) from None
    except OSError as error:
        raise SettingsError(f"the {what} cannot be kept in {folder} ({error.strerror}); {remedy}") from None
    try:
        yield
    finally:
        os.close(descriptor)


def lock(folder: Path) -> int:
    """Lock a folder, made if it is not there, until the file descriptor that is returned is closed.

    Raises:
        BlockingIOError: another one holds it.
        OSError: it cannot be written.
    """
    folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise BlockingIOError(error.errno, error.strerror) from None
    return descriptor
