"""What need not be computed twice, and the memory that loaded models share."""

import contextlib
import hashlib
import logging
import sqlite3
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from dinox_mcp.backends.local.models.base import ImageState

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Rows = npt.NDArray[np.float32]


class Guest(Protocol):
    """A model in memory that can be asked to leave."""

    def leave(self) -> None:
        """Leave memory after the piece of work in hand, and return when that is done."""
        ...


class Room:
    """A budget of bytes for models in memory. One that is larger than the whole budget gets it to itself."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._guests: OrderedDict[Guest, int] = OrderedDict()
        self._lock = Lock()
        self._door = Lock()

    @contextmanager
    def entering(self, guest: Guest, nbytes: int) -> Iterator[None]:
        """Make room, then let the guest load in the block; one at a time. Blocks: not for the event loop."""
        with self._door:
            while oldest := self._in_the_way(nbytes):
                oldest.leave()
                self.left(oldest)
            yield
            with self._lock:
                self._guests[guest] = nbytes

    def used(self, guest: Guest) -> None:
        """Remember that a guest was of use just now."""
        with self._lock:
            if guest in self._guests:
                self._guests.move_to_end(guest)

    def left(self, guest: Guest) -> None:
        """Take note that a guest is no longer in memory."""
        with self._lock:
            self._guests.pop(guest, None)

    def _in_the_way(self, nbytes: int) -> Guest | None:
        with self._lock:
            if sum(self._guests.values()) + nbytes <= self._max_bytes:
                return None
            return next(iter(self._guests), None)


logger = logging.getLogger(__name__)

MAX_ROWS = 20_000
"""Labels kept per model, in memory and on disk: at most 60 MB of 768 numbers each."""
BATCH = 64
MAX_FILES = 16
"""Models whose label embeddings stay on disk; of more, those that were used longest ago go."""
PATIENCE_S = 2.0
"""How long to wait for another process that writes."""
_SCHEMA = "CREATE TABLE IF NOT EXISTS rows (label BLOB PRIMARY KEY, used REAL, crc INTEGER, vector BLOB) WITHOUT ROWID"


class ImageStates:
    """How models see pictures, the most recently used, within a limit of bytes. Thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._states: OrderedDict[tuple[str, str], ImageState] = OrderedDict()
        self._lock = Lock()
        self.nbytes = 0

    def get(self, model: str, digest: str) -> ImageState | None:
        """Give a model's view of a picture, if it is here."""
        with self._lock:
            state = self._states.get((model, digest))
            if state is not None:
                self._states.move_to_end((model, digest))
            return state

    def put(self, model: str, digest: str, state: ImageState) -> None:
        """Keep a view; the least recently used ones go. One that is larger than the limit is not kept."""
        with self._lock:
            self._remove((model, digest))
            if state.nbytes > self._max_bytes:
                return
            self._states[model, digest] = state
            self.nbytes += state.nbytes
            while self.nbytes > self._max_bytes:
                self._remove(next(iter(self._states)))

    def forget(self, model: str) -> None:
        """Drop all views of a model that leaves memory."""
        with self._lock:
            for key in [key for key in self._states if key[0] == model]:
                self._remove(key)

    def _remove(self, key: tuple[str, str]) -> None:
        state = self._states.pop(key, None)
        if state is not None:
            self.nbytes -= state.nbytes


class LabelStates:
    """What one model makes of labels: rows of numbers, in memory and in a small database on disk.

    Processes may share the database, which has no label in it, only digests of labels. A row that is damaged
    is computed anew; a database that is damaged is deleted. Where the disk does not play along, memory does.
    Used by one thread at a time.
    """

    def __init__(self, folder: Path | None, fingerprint: str) -> None:
        self._path = folder / f"{fingerprint}.sqlite" if folder else None
        self._rows: OrderedDict[str, Rows] = OrderedDict()

    def known(self, labels: Iterable[str]) -> bool:
        """Tell whether all labels are in memory."""
        return all(label in self._rows for label in labels)

    def rows(
        self,
        labels: Sequence[str],
        embed: Callable[[Sequence[str]], Any],
        tell: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> "Rows":
        """Give one row for each label; those that are nowhere kept are embedded, some at a time.

        `embed` gives a row for each label, as an array or a tensor on the CPU. `tell` hears how many of how many are
        done. Whatever `embed` raises passes; the batches before are kept.
        """
        import numpy as np

        missing = [label for label in dict.fromkeys(labels) if label not in self._rows]
        if missing:
            self._rows.update(self._read(missing))
            missing = [label for label in missing if label not in self._rows]
        for start in range(0, len(missing), BATCH):
            tell(start, len(missing))
            batch = missing[start : start + BATCH]
            fresh = dict(zip(batch, np.asarray(embed(batch), dtype=np.float32), strict=True))
            self._rows.update(fresh)
            self._write(fresh)
        stacked = np.stack([self._rows[label] for label in labels])
        for label in labels:
            self._rows.move_to_end(label)
        while len(self._rows) > MAX_ROWS:
            self._rows.popitem(last=False)
        return stacked

    def _read(self, labels: Sequence[str]) -> dict[str, "Rows"]:
        import numpy as np

        found = {}
        wanted = {_digest(label): label for label in labels}

        def select(database: sqlite3.Connection) -> None:
            database.execute("CREATE TEMP TABLE wanted (label BLOB PRIMARY KEY)")
            database.executemany("INSERT INTO wanted VALUES (?)", [(digest,) for digest in wanted])
            for digest, crc, vector in database.execute(
                "SELECT label, crc, vector FROM rows JOIN wanted USING (label)"
            ):
                if isinstance(vector, bytes) and len(vector) % 4 == 0 and zlib.crc32(digest + vector) == crc:
                    found[wanted[digest]] = np.frombuffer(vector, dtype="<f4").astype(np.float32)
            database.execute("UPDATE rows SET used = ? WHERE label IN wanted", (time.time(),))

        self._transact(select)
        sizes = [row.size for row in found.values()]
        return found if len(set(sizes)) <= 1 else {}

    def _write(self, rows: dict[str, "Rows"]) -> None:
        def insert(database: sqlite3.Connection) -> None:
            now = time.time()
            values = [(_digest(label), row.astype("<f4").tobytes()) for label, row in rows.items()]
            database.executemany(
                "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)",
                [(digest, now, zlib.crc32(digest + vector), vector) for digest, vector in values],
            )
            database.execute(
                "DELETE FROM rows WHERE label IN (SELECT label FROM rows ORDER BY used DESC LIMIT -1 OFFSET ?)",
                (MAX_ROWS,),
            )

        self._transact(insert)

    def _transact(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Work on the database, whole or not at all; without it, if it cannot be had."""
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if not self._path.exists():
                _forget_oldest(self._path.parent)
            with contextlib.closing(sqlite3.connect(self._path, timeout=PATIENCE_S)) as database, database:
                database.execute(_SCHEMA)
                work(database)
        except (sqlite3.OperationalError, OSError) as error:  # locked, read-only, full: no reason to fail
            logger.info("the cache of label embeddings %s is not used: %s", self._path, error)
        except sqlite3.DatabaseError as error:
            logger.warning("the cache of label embeddings %s is damaged and made anew: %s", self._path, error)
            with contextlib.suppress(OSError):
                self._path.unlink()


def _forget_oldest(folder: Path) -> None:
    """Make room for one more model, whose label embeddings are going to be kept."""
    files = sorted(folder.glob("*.sqlite"), key=lambda file: file.stat().st_mtime)
    for file in files[: max(0, len(files) + 1 - MAX_FILES)]:
        file.unlink()


def _digest(label: str) -> bytes:
    return hashlib.sha256(label.encode("utf-8", "surrogatepass")).digest()
