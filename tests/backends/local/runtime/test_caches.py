import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from dinox_mcp.backends.local.models.base import Interrupted
from dinox_mcp.backends.local.runtime import caches
from dinox_mcp.backends.local.runtime.caches import FeatureCache, LabelCache


@dataclass
class State:
    nbytes: int


@dataclass
class Embedder:
    """Embeds a label as its length and first letter, and counts."""

    calls: int = 0
    labels: int = 0

    def __call__(self, labels: Sequence[str]) -> npt.NDArray[np.float32]:
        self.calls += 1
        self.labels += len(labels)
        return np.array([[len(label), ord(label[0]) / 7] for label in labels], dtype=np.float32)


def test_the_least_recently_used_view_leaves_when_memory_is_full() -> None:
    states = FeatureCache(250)
    for digest in ("a", "b"):
        states.put("m", digest, State(100))
    states.get("m", "a")
    states.put("m", "c", State(100))
    assert [states.get("m", digest) is not None for digest in "abc"] == [True, False, True]
    assert states._features.currsize == 200


def test_views_are_kept_apart_by_model_and_forgotten_with_it() -> None:
    states = FeatureCache(1000)
    states.put("m", "a", State(1))
    states.put("n", "a", State(2))
    states.forget("m")
    assert states.get("m", "a") is None
    assert states.get("n", "a") == State(2)
    assert states._features.currsize == 2


def test_a_view_larger_than_the_limit_is_not_kept() -> None:
    states = FeatureCache(10)
    states.put("m", "a", State(5))
    states.put("m", "b", State(11))
    states.put("m", "a", State(6))
    assert (states.get("m", "b"), states.get("m", "a"), states._features.currsize) == (None, State(6), 6)


def test_labels_are_embedded_once_and_come_in_the_callers_order(tmp_path: Path) -> None:
    embed = Embedder()
    labels = LabelCache(tmp_path, "fp")
    first = labels.rows(["dog", "red car", "dog"], embed)
    second = labels.rows(["red car", "bus"], embed)
    assert first[:, 0].tolist() == [3, 7, 3]
    assert second[:, 0].tolist() == [7, 3]
    assert embed.labels == 3
    assert first.dtype == np.float32


def test_another_process_finds_them_on_disk_exactly(tmp_path: Path) -> None:
    names = [f"label {number}" for number in range(200)]
    fresh = LabelCache(tmp_path, "fp").rows(names, Embedder())
    embed = Embedder()
    again = LabelCache(tmp_path, "fp").rows(names, embed)
    assert np.array_equal(fresh, again)
    assert embed.calls == 0


def test_another_model_finds_nothing(tmp_path: Path) -> None:
    LabelCache(tmp_path, "fp").rows(["dog"], Embedder())
    embed = Embedder()
    LabelCache(tmp_path, "other").rows(["dog"], embed)
    assert embed.labels == 1


def test_the_disk_does_not_reveal_which_labels_were_requested(tmp_path: Path) -> None:
    LabelCache(tmp_path, "fp").rows(["secret project"], Embedder())
    assert b"secret" not in (tmp_path / "fp.safetensors").read_bytes()


def test_work_that_is_interrupted_keeps_what_it_has(tmp_path: Path) -> None:
    names = [f"label {number}" for number in range(3 * caches.BATCH)]
    told: list[tuple[int, int]] = []

    def tell(done: int, total: int) -> None:
        told.append((done, total))
        if done == 2 * caches.BATCH:
            raise Interrupted

    with pytest.raises(Interrupted):
        LabelCache(tmp_path, "fp").rows(names, Embedder(), tell)
    embed = Embedder()
    LabelCache(tmp_path, "fp").rows(names, embed)
    assert embed.labels == caches.BATCH
    assert told == [(0, 192), (64, 192), (128, 192)]


@pytest.mark.parametrize("damage", ["no file of this kind", "empty", "a flipped bit"])
def test_a_damaged_file_is_replaced(tmp_path: Path, damage: str) -> None:
    expected = LabelCache(tmp_path, "fp").rows(["dog", "cat"], Embedder())
    path = tmp_path / "fp.safetensors"
    whole = path.read_bytes()
    flipped = whole[:-1] + bytes([whole[-1] ^ 1])
    path.write_bytes({"no file of this kind": b"text" * 99, "empty": b"", "a flipped bit": flipped}[damage])
    for embedded in (2, 0):
        embed = Embedder()
        assert np.array_equal(LabelCache(tmp_path, "fp").rows(["dog", "cat"], embed), expected)
        assert embed.labels == embedded


def test_without_a_disk_memory_does() -> None:
    embed = Embedder()
    labels = LabelCache(Path("/proc/nowhere"), "fp")
    for _ in range(2):
        assert labels.rows(["dog"], embed).shape == (1, 2)
    assert embed.labels == 1


def fill(folder: Path, start: int) -> int:
    labels = LabelCache(folder, "fp")
    embed = Embedder()
    for number in range(start, start + 30):
        labels.rows([f"label {number}", f"label {number + 1}"], embed)
    return embed.labels


def test_processes_may_share_the_folder(tmp_path: Path) -> None:
    with ProcessPoolExecutor(3) as processes:
        list(processes.map(fill, [tmp_path] * 3, [0, 15, 30]))
    embed = Embedder()
    rows = LabelCache(tmp_path, "fp").rows([f"label {number}" for number in range(60)], embed)
    assert rows[:, 0].tolist() == [7.0] * 10 + [8.0] * 50
    assert embed.labels < 60, "one of them has written last"
    assert [path.name for path in tmp_path.iterdir()] == ["fp.safetensors"]


def test_memory_and_disk_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "MAX_ROWS", 10)
    labels = LabelCache(tmp_path, "fp")
    for number in range(30):
        labels.rows([f"label {number}"], Embedder())
    for kept in (labels, LabelCache(tmp_path, "fp")):
        embed = Embedder()
        kept.rows([f"label {number}" for number in range(20, 30)], embed)
        assert embed.labels == 0
    labels.rows(["label 19"], embed)
    assert embed.labels == 1


def test_more_labels_than_are_kept_are_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "MAX_ROWS", 10)
    assert LabelCache(tmp_path, "fp").rows([f"label {number}" for number in range(30)], Embedder()).shape == (30, 2)


def test_models_that_were_used_long_ago_leave_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "MAX_FILES", 3)
    for age, name in enumerate(("newest", "newer", "old", "oldest")):
        LabelCache(tmp_path, name).rows(["dog"], Embedder())
        os.utime(tmp_path / f"{name}.safetensors", (1e9 - age, 1e9 - age))
    LabelCache(tmp_path, "fresh").rows(["dog"], Embedder())
    assert {path.stem for path in tmp_path.iterdir()} == {"newest", "newer", "fresh"}
