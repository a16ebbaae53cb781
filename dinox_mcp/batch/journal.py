"""What a job has found so far: a file of JSON lines that survives the program being killed at any moment.

The first line is the header: all that decides what is found. Each later line is an image with its objects, or with the
reason why it has none; the newest line of an image counts. A line is on the disk before its image counts as done.
"""

import json
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Self

from pydantic import ValidationError

from dinox_mcp.batch.sources import Entry
from dinox_mcp.errors import InputError, NotFoundError, SettingsError
from dinox_mcp.settings import MiB
from dinox_mcp.store.files import open_regular
from dinox_mcp.types.detection import Detection, certainty, count_labels

MAX_OBJECTS = 100
"""Objects of an image that are kept, those that score highest; the counts cover all."""
MAX_BYTES = 256 * MiB
"""Bytes of a journal; a job that needs more stops."""
REMEDY = "set DINOX_MCP_JOBS_FOLDER to a folder with room"
"""What to do where a job cannot be written."""
_MAX_LINE = 16 * MiB
_MOST_TEXT = 100
_FORMAT = 1
_PRIVATE = 0o600  # only this user may read it
_OPEN = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one image, without its boxes, which stay in the file.

    Attributes:
        source: where the image is, as its entry says.
        stamp: that of the entry when the image was read.
        sha256: the digest of its bytes; empty where it could not be read.
        size: width and height in pixels.
        model: what detected.
        counts: the objects of each label.
        best: the highest score of each label; 1 for objects without scores.
        text: the first text that was read on an object.
        notes: what the backend had to say of this image.
        unknown: the prompts that the backend does not know.
        seconds: how long the backend took, its queue included.
        copy: another image has the same bytes, so this one was not detected in.
        error: why there are no objects; empty if there may be some.
        code: the kind of this error.
        at: where the line with the objects is in the file.
    """

    source: str
    stamp: str = ""
    sha256: str = ""
    size: tuple[int, int] = (0, 0)
    model: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    best: Mapping[str, float] = field(default_factory=dict)
    text: str = ""
    notes: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    seconds: float = 0.0
    copy: bool = False
    error: str = ""
    code: str = ""
    at: int = 0


@dataclass(frozen=True, slots=True)
class Keeping:
    """How much a journal keeps, and how safely.

    Attributes:
        most_objects: objects of an image that are kept, those that score highest.
        max_bytes: bytes that the journal may take.
        at_once: wait for the disk at each image, so that not even a power failure repeats what was paid for.
        remedy: what to do where the file cannot be written.
        too_long: what to do where it has more than `max_bytes`.
    """

    most_objects: int = MAX_OBJECTS
    max_bytes: int = MAX_BYTES
    at_once: bool = True
    remedy: str = REMEDY
    too_long: str = "pass fewer images at once"


_SEARCH = Keeping()


class Journal:
    """The journal of a job. Only one may be open for writing (see `Jobs.locked`); threads may share it.

    Attributes:
        header: what decides what is found.
        records: the newest record of each image, by source.
        detected: the record of each image that was detected in, by digest.
        total: the number of images of the job, as far as it is known.
        begun: the images that an earlier process had in hand when it died, with the number of times that it had nothing
            else in hand.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self.header = header
        self._keeping = _SEARCH
        self.records: dict[str, Record] = {}
        self.detected: dict[str, Record] = {}
        self.total = 0
        self.begun: dict[str, int] = {}
        self._path = path
        self._end = 0
        self._file = -1
        self._lock = threading.Lock()

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a journal that another call may be writing: a last line that is not complete is left out.

        Raises:
            NotFoundError: there is none, or it has no header.
        """
        try:
            with open_regular(path) as file:
                lines = _Lines(file)
                header = lines.next()
                if header is None or header.get("format") != _FORMAT or not isinstance(header.get("header"), dict):
                    raise NotFoundError(
                        f"the job in {path.parent.name} is damaged or of another version; search without job"
                    )
                journal = cls(path, header["header"])
                while (line := lines.next()) is not None:
                    with suppress(AttributeError, KeyError, OverflowError, TypeError, ValueError):  # it is damaged
                        journal._take(line, lines.begin)
                journal._end = lines.end
        except OSError:
            raise NotFoundError(
                f"there is no job {path.parent.name!r} (jobs are kept until newer ones take their place); search "
                "without job, with images and prompts"
            ) from None
        return journal

    @classmethod
    def open(cls, path: Path, header: Mapping[str, Any], keeping: Keeping = _SEARCH) -> Self:
        """Open a journal to go on writing, or begin one; a line that was cut off is removed. Blocks.

        Args:
            path: the file.
            header: what decides what is found.
            keeping: how much is kept, and how safely; by default as a search needs it.

        Raises:
            InputError: it was begun with another header; the message names the difference.
            SettingsError: it cannot be written.
        """
        try:
            journal = cls.read(path)
        except NotFoundError:
            journal = cls(path, header)
        check_same(path.parent.name, journal.header, header)
        journal._keeping = keeping
        try:
            journal._file = os.open(path, _OPEN, _PRIVATE)
            os.ftruncate(journal._file, journal._end)
            if not journal._end:
                journal._write({"format": _FORMAT, "header": header})
        except (OSError, SettingsError) as error:
            journal.close()
            raise (journal._unwritable(error) if isinstance(error, OSError) else error) from None
        return journal

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)

    def plan(self, entries: Sequence[Entry]) -> None:
        """Note which images the job has now; what is known of others and of files that changed is dropped. Blocks.

        These lines need not be on the disk at once: if they are lost, the next plan writes them again.
        """
        stamps = {entry.source: entry.stamp for entry in entries}
        for source, record in list(self.records.items()):
            if stamps.get(source) != record.stamp:
                self._write({"gone": source}, at_once=False)
                del self.records[source]
        if self.total != len(stamps):
            self._write({"total": len(stamps)}, at_once=False)
            self.total = len(stamps)

    def begin(self, source: str, times_alone: int) -> None:
        """Note that an image is in hand, so that one that kills its process is known afterwards. Blocks shortly.

        `times_alone` counts how often it was in hand with no other beside it, this time included.
        """
        with self._lock:
            self._write({"begun": source, "alone": times_alone}, at_once=False)

    def rest(self) -> None:
        """Note that nothing is in hand: the process ends, and no image is to blame. Blocks shortly."""
        with self._lock, suppress(SettingsError):
            self._write({"rest": True}, at_once=False)

    def add(self, record: Record, objects: Sequence[Detection] | None = None) -> Record:
        """Write what is known of an image to the disk. Blocks.

        Args:
            record: the image; counts and scores are those of `objects` where these are given.
            objects: what was detected in it; None for an error or a copy of another image.

        Raises:
            InputError: its objects take too many bytes.
            SettingsError: the disk is full, or the journal is.
        """
        line: dict[str, Any] = {"source": record.source, "stamp": record.stamp, "sha256": record.sha256}
        if record.error:
            line |= {"error": record.error, "code": record.code}
        if objects is not None:
            kept = sorted(objects, key=certainty, reverse=True)[: self._keeping.most_objects]
            line |= {
                "size": record.size,
                "model": record.model,
                "counts": count_labels(objects),
                "objects": [one.model_dump(mode="json", exclude_defaults=True) for one in kept],
            }
            line |= {name: more for name in ("notes", "unknown", "seconds") if (more := getattr(record, name))}
        with self._lock:
            at = self._write(line, at_once=self._keeping.at_once)
            return self._take(line, at)

    def objects(self, record: Record) -> tuple[Detection, ...]:
        """Read the objects of an image, the one that scores highest first. Blocks."""
        try:
            with open_regular(self._path) as file:
                file.seek(record.at)
                line = _Lines(file).next() or {}
            return tuple(Detection.model_validate(one) for one in line.get("objects", ()))
        except (OSError, ValidationError):
            return ()

    def _take(self, line: Mapping[str, Any], at: int) -> Record:
        """Take a line into memory."""
        if "total" in line:
            self.total = int(line["total"])
        if "gone" in line:
            self.records.pop(line["gone"], None)
        if "begun" in line:
            self.begun[line["begun"]] = int(line["alone"])
        if "rest" in line:
            self.begun.clear()
        if "source" not in line:
            return Record("")
        record = Record(line["source"], line["stamp"], line["sha256"], at=at)
        self.begun.pop(record.source, None)
        if "error" in line:
            record = replace(record, error=line["error"], code=line["code"])
        elif "objects" in line:
            record = _with_objects(record, line)
            self.detected[record.sha256] = record
        elif original := self.detected.get(record.sha256):
            record = replace(original, source=record.source, stamp=record.stamp, copy=True, notes=())
        else:
            return record  # a copy of an image whose line is damaged: it is detected in again
        self.records[record.source] = record
        return record

    def _write(self, line: Mapping[str, Any], *, at_once: bool = True) -> int:
        """Append a line, and give where it begins; `at_once` waits until it is on the disk."""
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        begin, most = self._end, self._keeping.max_bytes
        if len(data) > _MAX_LINE:
            raise InputError(
                f"the objects of one image take more than {_MAX_LINE // MiB} MiB; include less, or raise min_score"
            )
        if begin + len(data) > most:
            raise SettingsError(f"{self._path} would have more than {most // MiB} MiB; {self._keeping.too_long}")
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            if at_once:
                os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, begin)
            raise self._unwritable(error) from None
        self._end = begin + len(data)
        return begin

    def _unwritable(self, error: OSError) -> SettingsError:
        return SettingsError(
            f"the job cannot be kept in {self._path.parent} ({error.strerror}); {self._keeping.remedy}"
        )


class _Lines:
    """The lines of a journal; one that is damaged is left out, one that is not complete is the end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.begin = self.end = 0

    def next(self) -> dict[str, Any] | None:
        """Give the next line, None at the end; `begin` and `end` are where it is in the file."""
        while (raw := self._file.readline(_MAX_LINE)).endswith(b"\n"):
            self.begin, self.end = self.end, self.end + len(raw)
            try:
                line = json.loads(raw)
            except (ValueError, RecursionError):
                continue
            if isinstance(line, dict):
                return line
        return None


def _with_objects(record: Record, line: Mapping[str, Any]) -> Record:
    best: dict[str, float] = {}
    for found in line["objects"]:
        score = found.get("score")
        best[found["label"]] = max(best.get(found["label"], 0.0), 1.0 if score is None else score)
    width, height = line["size"]
    return replace(
        record,
        size=(width, height),
        model=line["model"],
        counts=line["counts"],
        best=best,
        text=next((found["text"][:_MOST_TEXT] for found in line["objects"] if found.get("text")), ""),
        notes=tuple(line.get("notes", ())),
        unknown=tuple(line.get("unknown", ())),
        seconds=float(line.get("seconds", 0)),
    )


def check_same(job: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Refuse to continue a job with another header than it was begun with.

    Raises:
        InputError: they differ; the message says in what.
    """
    if changed := difference(old, new):
        raise InputError(f"the job {job} was begun with {changed}; leave job out to search anew")


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Say in what two headers differ; empty if they do not."""
    old, new = (json.loads(json.dumps(header)) for header in (old, new))
    names = [name for name in dict.fromkeys((*old, *new)) if old.get(name) != new.get(name)]
    return " and ".join(f"{name} {_short(old.get(name))}, now {_short(new.get(name))}" for name in names)


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
