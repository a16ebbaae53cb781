"""The memory that models share, the features of images, and the embeddings of labels."""

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from cachetools import LRUCache

from dinox_mcp.backends.local.models.base import Features

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from dinox_mcp.backends.local.models.base import Rows

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
        self._features: LRUCache[tuple[str, str], Features] = LRUCache(max_bytes, getsizeof=lambda one: one.nbytes)
        self._lock = Lock()

    def get(self, model: str, digest: str) -> Features | None:
        """Return the features of an image for a model, if they are here."""
        with self._lock:
            return self._features.get((model, digest))

    def put(self, model: str, digest: str, features: Features) -> None:
        """Keep features, instead of the least recently used ones. What is larger than the limit is not kept."""
        with self._lock, suppress(ValueError):
            self._features[model, digest] = features

    def forget(self, model: str) -> None:
        """Drop the features of a model that leaves memory."""
        with self._lock:
            for key in [key for key in self._features if key[0] == model]:
                del self._features[key]


class LabelCache:
    """The embeddings of labels of one model, in memory and in a file. Used by one thread at a time.

    The file pays: OWL-ViT's text model takes about 15 ms a label on two CPU cores, so 1.4 s for 80 labels and half a
    minute for the nouns of prompt-free detection, again each time the models' process was idle and ended.
    It has only digests of labels. A damaged file is replaced; of several processes the last one writes it.

    Args:
        folder: Where files are kept; None for the user's cache.
        fingerprint: Identifies the model.
    """

    def __init__(self, folder: Path | None, fingerprint: str) -> None:
        from platformdirs import user_cache_path

        folder = folder or user_cache_path("dinox-mcp") / "labels"
        self._path = folder / f"{fingerprint}.safetensors"
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
        if not self._path.exists():
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
