"""The memory that models share, the features of images, and the embeddings of labels."""

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from dinox_mcp.backends.local.models.base import Features, Loaded

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Rows = npt.NDArray[np.float32]

logger = logging.getLogger(__name__)

MAX_ROWS = 10_000
"""Label embeddings that are kept per model, in memory and on disk: at most 30 MB."""
BATCH = 64
MAX_FILES = 16
"""Models whose label embeddings stay on disk; of more, those that were used longest ago go."""


class Holder(Protocol):
    """The worker of a model in memory."""

    def unload(self) -> None:
        """Unload the model after the running request, and return when that is done."""
        ...

    def report(self, fraction: float, message: str) -> None:
        """Report the progress of the running request."""
        ...


class ModelMemory:
    """A budget of bytes for the models in memory. A model that is larger than the budget gets all of it."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._models: OrderedDict[Holder, int] = OrderedDict()
        self._lock = Lock()
        self._loading = Lock()

    @contextmanager
    def loading(self, model: Holder, nbytes: int) -> Iterator[None]:
        """Unload others until a model of this size fits, then let it load in the block; one model at a time.

        Blocks: not for the event loop.
        """
        with self._loading:
            while oldest := self._to_unload(nbytes):
                oldest.unload()
                self.freed(oldest)
            yield
            with self._lock:
                self._models[model] = nbytes

    def used(self, model: Holder) -> None:
        """Note that a model was used just now."""
        with self._lock:
            if model in self._models:
                self._models.move_to_end(model)

    def freed(self, model: Holder) -> None:
        """Note that a model is no longer in memory."""
        with self._lock:
            self._models.pop(model, None)

    def _to_unload(self, nbytes: int) -> Holder | None:
        with self._lock:
            if sum(self._models.values()) + nbytes <= self._max_bytes:
                return None
            return next(iter(self._models), None)


class FeatureCache:
    """The most recently used features of images, within a limit of bytes. Thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._features: OrderedDict[tuple[str, str], Features] = OrderedDict()
        self._lock = Lock()
        self.nbytes = 0

    def get(self, model: str, digest: str) -> Features | None:
        """Return the features of an image for a model, if they are here."""
        with self._lock:
            features = self._features.get((model, digest))
            if features is not None:
                self._features.move_to_end((model, digest))
            return features

    def put(self, model: str, digest: str, features: Features) -> None:
        """Keep features, instead of the least recently used ones. What is larger than the limit is not kept."""
        with self._lock:
            self._remove((model, digest))
            if features.nbytes > self._max_bytes:
                return
            self._features[model, digest] = features
            self.nbytes += features.nbytes
            while self.nbytes > self._max_bytes:
                self._remove(next(iter(self._features)))

    def forget(self, model: str) -> None:
        """Drop the features of a model that leaves memory."""
        with self._lock:
            for key in [key for key in self._features if key[0] == model]:
                self._remove(key)

    def _remove(self, key: tuple[str, str]) -> None:
        features = self._features.pop(key, None)
        if features is not None:
            self.nbytes -= features.nbytes


class LabelCache:
    """The embeddings of labels of one model, in memory and in a file. Used by one thread at a time.

    The file pays: OWL-ViT's text model takes about 15 ms a label on two CPU cores, so 1.4 s for 80 labels and half a
    minute for the nouns of prompt-free detection, again each time the models' process was idle and ended.
    It has only digests of labels. A damaged file is replaced; of several processes the last one writes it.

    Args:
        folder: Where files are kept; None for nowhere.
        fingerprint: Identifies the model.
    """

    def __init__(self, folder: Path | None, fingerprint: str) -> None:
        self._path = folder / f"{fingerprint}.safetensors" if folder else None
        self._rows: OrderedDict[bytes, Rows] | None = None

    def rows(
        self,
        labels: Sequence[str],
        embed: Callable[[Sequence[str]], Any],
        report: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> "Rows":
        """Return one embedding for each label.

        Args:
            labels: The labels.
            embed: Embeds some labels, one row each, as an array or a tensor on the CPU.
            report: Takes how many missing labels are done, of how many.

        Raises:
            Exception: whatever `embed` or `report` raises; the batches before are kept.
        """
        import numpy as np

        if self._rows is None:
            self._rows = self._read()
        rows = self._rows
        keys = [_digest(label) for label in labels]
        missing = {key: label for key, label in zip(keys, labels, strict=True) if key not in rows}
        try:
            for start in range(0, len(missing), BATCH):
                report(start, len(missing))
                batch = list(missing)[start : start + BATCH]
                fresh = np.asarray(embed([missing[key] for key in batch]), dtype=np.float32)
                rows.update(zip(batch, fresh, strict=True))
            stacked = np.stack([rows[key] for key in keys])
        finally:
            for key in keys:
                if key in rows:
                    rows.move_to_end(key)
            while len(rows) > MAX_ROWS:
                rows.popitem(last=False)
            if missing and rows:
                self._write(rows)
        return stacked

    def _read(self) -> "OrderedDict[bytes, Rows]":
        if self._path is None or not self._path.exists():
            return OrderedDict()
        import numpy as np
        from safetensors.numpy import load_file

        try:
            self._path.touch()  # it was used
            tensors = load_file(self._path)
            keys, rows = tensors["keys"], tensors["rows"].astype(np.float32)
            if _checksum(keys, rows) != tensors["checksum"].tobytes():
                raise ValueError("its checksum is wrong")  # noqa: TRY301 - as any other damage
            return OrderedDict((key.tobytes(), row) for key, row in zip(keys, rows, strict=True))
        except Exception as error:  # noqa: BLE001 - damaged in any way, or not readable: it is only a cache
            logger.warning("the cache of label embeddings %s is not used: %s", self._path, error)
            return OrderedDict()

    def _write(self, rows: "OrderedDict[bytes, Rows]") -> None:
        if self._path is None:
            return
        import numpy as np
        from safetensors.numpy import save

        keys, stacked = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1), np.stack(list(rows.values()))
        checksum = np.frombuffer(_checksum(keys, stacked), np.uint8)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if not self._path.exists():
                _forget_oldest(self._path.parent)
            with NamedTemporaryFile(dir=self._path.parent, suffix=".part", delete=False) as file:
                file.write(save({"keys": keys, "rows": stacked, "checksum": checksum}))
            Path(file.name).replace(self._path)
        except OSError as error:  # read-only, full, or open elsewhere on Windows: no reason to fail
            logger.info("the cache of label embeddings %s is not written: %s", self._path, error)


class Embeddings:
    """The label embeddings of all models: in memory while a model is loaded, and in a folder for longer."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._caches: dict[Holder, LabelCache] = {}

    def rows(self, worker: Holder, loaded: Loaded, labels: Sequence[str]) -> "Rows | None":
        """Return a row for each label, or None if the family does not reuse text. Runs in the worker's thread."""
        if not loaded.model.reuses_text:
            return None
        cache = self._caches.get(worker)
        if cache is None:
            cache = self._caches[worker] = LabelCache(self._cache_folder, loaded.fingerprint)

        def report(done: int, total: int) -> None:
            worker.report(0.5, f"reading the labels, {done} of {total}")

        return cache.rows(labels, loaded.model.embed, report)

    def forget(self, worker: Holder) -> None:
        """Drop what is in memory for a model that leaves it."""
        self._caches.pop(worker, None)

    @property
    def _cache_folder(self) -> Path:
        from platformdirs import user_cache_path

        return self._folder or user_cache_path("dinox-mcp") / "labels"


def _forget_oldest(folder: Path) -> None:
    """Delete the files of the models that were used longest ago, so that one more fits; and what a crash left."""
    for left in folder.glob("*.part"):
        left.unlink()
    files = sorted(folder.glob("*.safetensors"), key=lambda file: file.stat().st_mtime)
    for file in files[: max(0, len(files) + 1 - MAX_FILES)]:
        file.unlink()


def _digest(label: str) -> bytes:
    return hashlib.sha256(label.encode("utf-8", "surrogatepass")).digest()


def _checksum(keys: "npt.NDArray[np.uint8]", rows: "Rows") -> bytes:
    return hashlib.sha256(keys.tobytes() + rows.tobytes()).digest()
