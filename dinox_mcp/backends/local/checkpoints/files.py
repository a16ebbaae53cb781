"""The files of a model: which ones it needs, and the download of a large one, which resumes where it stopped."""

import hashlib
import json
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO

import httpx2

from dinox_mcp.backends.base import Report
from dinox_mcp.backends.local import families
from dinox_mcp.backends.local.checkpoints.presets import Role
from dinox_mcp.backends.local.families import Family
from dinox_mcp.errors import BackendError, UnsupportedError

CONFIG = "config.json"
REMEDY = "get it anew (for a model of the hub, 'dinox-mcp pull' with its name repairs it)"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_VOCABULARIES = ({"tokenizer.json"}, {"vocab.txt"}, {"vocab.json", "merges.txt"})  # without, there'd be an empty one
_PREPROCESSORS = {"preprocessor_config.json", "processor_config.json"}
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")
_SHOWN = 3
_ATTEMPTS = 5
_PAUSE_S = 0.2  # between two reports
PATIENCE_S = 1.0  # before the second attempt; each later one waits longer by as much
_OK, _RANGE_NOT_SATISFIABLE, _SERVER_ERROR = 200, 416, 500
_TIMEOUT = httpx2.Timeout(10)


def is_complete(folder: Path) -> bool:
    """Return whether a folder holds all files that a model needs; a broken link counts as missing."""
    try:
        names = {path.name for path in folder.iterdir() if path.is_file()}
        require_files(str(folder), names, reads_text=reads_text(folder))
        return bool(weight_files(folder))
    except BackendError:
        return False


def family(folder: Path, role: Role | None = "objects", *, follows: bool = False) -> Family:
    """Return the family of the model in a folder, without importing torch or transformers.

    Raises:
        UnsupportedError: there is none for it, or it is for another role; None is any.
        BackendError: the folder has no readable configuration.
    """
    return families.find(model_type(folder), role, follows=follows)


def reads_text(folder: Path) -> bool:
    """Return whether the model in a folder needs a vocabulary; if in doubt it does."""
    try:
        known = families.FAMILIES.get(model_type(folder))
    except BackendError:
        return True
    return known is None or known.reads_text


def weight_files(folder: Path, names: Collection[str] | None = None) -> list[str]:
    """Return the names of the files that hold a model's weights: one, or the shards that its index lists.

    `names` are the files that the repository has; None for those in the folder.

    Raises:
        BackendError: the index is broken, or one of them is missing.
    """
    present = {path.name for path in folder.iterdir() if path.is_file()} if names is None else names
    if WEIGHTS in present or INDEX not in present:
        shards = {WEIGHTS}
    else:
        index = read_json(folder / INDEX).get("weight_map")
        shards = set(map(str, index.values())) if isinstance(index, dict) else set()
        if not shards or any(Path(shard).name != shard for shard in shards):
            raise BackendError(f"{folder / INDEX} lists no weights; {REMEDY}")
    missing = sorted(shards - set(present))
    if missing:
        raise BackendError(f"{folder} lacks {few(missing)}; {REMEDY}")
    return sorted(shards)


def weights_size(folder: Path) -> int:
    """Check that the weights in a folder can be read; return their size in bytes.

    Raises:
        BackendError: a file is broken.
    """
    from safetensors import SafetensorError, safe_open

    paths = [folder / name for name in weight_files(folder)]
    for path in paths:
        try:
            with safe_open(path, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            raise BackendError(f"{path} is broken ({error}); get it anew, or choose another model") from error
    return sum(path.stat().st_size for path in paths)


def require_files(subject: str, names: Iterable[str], *, reads_text: bool = True) -> None:
    """Raise UnsupportedError unless these files, by name, are a transformers model with safetensors.

    One that `reads_text` must have a vocabulary.
    """
    names = set(names)
    if CONFIG not in names:
        raise UnsupportedError(
            f"{subject} has no config.json, so it is not a transformers model; choose a preset, a repository or a "
            "folder that has one"
        )
    if reads_text and not any(vocabulary <= names for vocabulary in _VOCABULARIES):
        raise UnsupportedError(
            f"{subject} has no vocabulary (tokenizer.json), so it is not a model that reads or writes; choose another"
        )
    if not names & _PREPROCESSORS:
        raise UnsupportedError(
            f"{subject} has no preprocessor_config.json, so its input size is unknown; choose another"
        )
    if names & {WEIGHTS, INDEX}:
        return
    pickles = sorted(name for name in names if name.endswith(_PICKLES))
    if pickles:
        raise UnsupportedError(
            f"{subject} has its weights only as {few(pickles)}; such files can run code and are not loaded: choose a "
            "model with model.safetensors, or convert it (save_pretrained of transformers)"
        )
    raise UnsupportedError(f"{subject} has no weights (model.safetensors); choose another model")


def model_type(folder: Path) -> str:
    """Return the `model_type` of the checkpoint in a folder.

    Raises:
        BackendError: The folder has no readable configuration.
    """
    return str(read_json(folder / CONFIG).get("model_type"))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a model's folder.

    Raises:
        BackendError: it is not there, or not a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UnsupportedError(
            f"{path.parent} has no {path.name}, so it is not a transformers model; choose another folder"
        ) from None
    except (OSError, ValueError) as error:
        raise BackendError(f"{path} cannot be read ({error}); {REMEDY}") from error
    if not isinstance(content, dict):
        raise BackendError(f"{path} is not a JSON object; {REMEDY}")
    return content


def few(names: Collection[str]) -> str:
    """List the first few names."""
    listed = ", ".join(list(names)[:_SHOWN])
    return f"{listed} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else listed


class Stopped(Exception):  # noqa: N818 - it reports a wish, not a fault
    """The download was cancelled; what has arrived is kept."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository: where it is, how large, and its SHA-256 where the hub has it."""

    url: str
    size: int
    sha256: str | None
    headers: Mapping[str, str]


@dataclass(slots=True)
class Meter:
    """Counts the bytes of a download and reports them, five times a second at most."""

    report: Report
    total: int
    subject: str
    _done: int = 0
    _arrived: int = 0
    _start: float = field(default_factory=time.monotonic)
    _next: float = 0.0

    def add(self, count: int, *, arrived: bool = True) -> None:
        """Count bytes; `arrived` is False for those that were on the disk already."""
        self._done += count
        self._arrived += count if arrived else 0
        now = time.monotonic()
        if now >= self._next or self._done >= self.total:
            self._next = now + _PAUSE_S
            self.report(self._done / self.total if self.total else 0.0, self._describe(now - self._start))

    def _describe(self, seconds: float) -> str:
        megabytes = f"{self._done / 1e6:.0f} of {self.total / 1e6:.0f} MB"
        pace = f", {self._arrived / 1e6 / seconds:.1f} MB/s" if seconds > 1 else ""
        return f"downloading {self.subject}: {megabytes}{pace}"


def fetch(session: httpx2.Client, remote: RemoteFile, target: Path, lock: Path, meter: Meter, stop: Event) -> None:
    """Download a file to `target`, going on after what an earlier attempt left beside it.

    One process at a time does so: the others, which find the `lock` taken, wait and find it done.

    Raises:
        Stopped: the event was set; the next call goes on from here.
        BackendError: what arrived is not what the hub announced.
        httpx2.HTTPError, OSError: the network or the disk failed for good; the next call goes on from here.
    """
    part = target.with_name(f"{target.name}.incomplete")
    part.parent.mkdir(parents=True, exist_ok=True)
    with _locked(lock, stop):
        if target.exists() and _intact(target, remote):
            meter.add(remote.size, arrived=False)
            return
        _complete(session, remote, part, meter, stop)
        if not _intact(part, remote):
            part.unlink()
            raise BackendError(f"{remote.url} arrived damaged (wrong checksum) and was thrown away; try again")
        part.replace(target)


def _complete(session: httpx2.Client, remote: RemoteFile, part: Path, meter: Meter, stop: Event) -> None:
    """Receive what a file lacks, in several attempts."""
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
def _locked(path: Path, stop: Event) -> Iterator[None]:
    """Hold a lock file; wait for a process that holds it, unless the event is set."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    while not lock.is_locked:
        _check(stop)
        with suppress(Timeout):
            lock.acquire(timeout=0.2)
    try:
        yield
    finally:
        lock.release()


def _check(stop: Event) -> None:
    if stop.is_set():
        raise Stopped
