import os
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from dinox_mcp.backends.local.models.base import Interrupted
from dinox_mcp.backends.local.runtime import caches
from dinox_mcp.backends.local.runtime.caches import ImageStates, LabelStates


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
    states = ImageStates(250)
    for digest in ("a", "b"):
        states.put("m", digest, State(100))
    states.get("m", "a")
    states.put("m", "c", State(100))
    assert [states.get("m", digest) is not None for digest in "abc"] == [True, False, True]
    assert states.nbytes == 200


def test_views_are_kept_apart_by_model_and_forgotten_with_it() -> None:
    states = ImageStates(1000)
    states.put("m", "a", State(1))
    states.put("n", "a", State(2))
    states.forget("m")
    assert states.get("m", "a") is None
    assert states.get("n", "a") == State(2)
    assert states.nbytes == 2


def test_a_view_larger_than_the_limit_is_not_kept() -> None:
    states = ImageStates(10)
    states.put("m", "a", State(5))
    states.put("m", "b", State(11))
    states.put("m", "a", State(6))
    assert (states.get("m", "b"), states.get("m", "a"), states.nbytes) == (None, State(6), 6)


def test_labels_are_embedded_once_and_come_in_the_callers_order(tmp_path: Path) -> None:
    embed = Embedder()
    labels = LabelStates(tmp_path, "fp")
    first = labels.rows(["dog", "red car", "dog"], embed)
    second = labels.rows(["red car", "bus"], embed)
    assert first[:, 0].tolist() == [3, 7, 3]
    assert second[:, 0].tolist() == [7, 3]
    assert embed.labels == 3
    assert first.dtype == np.float32
    assert labels.known(["dog", "bus"])
    assert not labels.known(["cat"])


def test_another_process_finds_them_on_disk_exactly(tmp_path: Path) -> None:
    names = [f"label {number}" for number in range(200)]
    fresh = LabelStates(tmp_path, "fp").rows(names, Embedder())
    embed = Embedder()
    again = LabelStates(tmp_path, "fp").rows(names, embed)
    assert np.array_equal(fresh, again)
    assert embed.calls == 0


def test_another_model_finds_nothing(tmp_path: Path) -> None:
    LabelStates(tmp_path, "fp").rows(["dog"], Embedder())
    embed = Embedder()
    LabelStates(tmp_path, "other").rows(["dog"], embed)
    assert embed.labels == 1


def test_the_disk_does_not_tell_which_labels_were_asked_for(tmp_path: Path) -> None:
    LabelStates(tmp_path, "fp").rows(["secret project"], Embedder())
    assert b"secret" not in (tmp_path / "fp.sqlite").read_bytes()


def test_work_that_is_interrupted_keeps_what_it_has(tmp_path: Path) -> None:
    names = [f"label {number}" for number in range(3 * caches.BATCH)]
    told: list[tuple[int, int]] = []

    def tell(done: int, total: int) -> None:
        told.append((done, total))
        if done == 2 * caches.BATCH:
            raise Interrupted

    with pytest.raises(Interrupted):
        LabelStates(tmp_path, "fp").rows(names, Embedder(), tell)
    embed = Embedder()
    LabelStates(tmp_path, "fp").rows(names, embed)
    assert embed.labels == caches.BATCH
    assert told == [(0, 192), (64, 192), (128, 192)]


@pytest.mark.parametrize(
    "damage", [b"this is no database, but long enough to look like one" * 20, b"", b"SQLite format 3\0" * 9]
)
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "fp.sqlite").write_bytes(damage)
    for embedded in (1, 0):
        embed = Embedder()
        for labels in ("dog",), ("dog",):
            LabelStates(tmp_path, "fp").rows(labels, embed)
        assert embed.labels in {embedded, 2 * embedded}
    assert embed.labels == 0


def test_a_row_with_a_flipped_bit_is_embedded_anew(tmp_path: Path) -> None:
    expected = LabelStates(tmp_path, "fp").rows(["dog", "cat"], Embedder())
    with sqlite3.connect(tmp_path / "fp.sqlite") as database:
        ((vector,),) = database.execute("SELECT vector FROM rows LIMIT 1").fetchall()
        database.execute("UPDATE rows SET vector = ? WHERE vector = ?", (bytes([vector[0] ^ 1]) + vector[1:], vector))
    database.close()
    embed = Embedder()
    assert np.array_equal(LabelStates(tmp_path, "fp").rows(["dog", "cat"], embed), expected)
    assert embed.labels == 1


@pytest.mark.parametrize("folder", [None, Path("/proc/nowhere")])
def test_without_a_disk_memory_does(folder: Path | None) -> None:
    embed = Embedder()
    labels = LabelStates(folder, "fp")
    for _ in range(2):
        assert labels.rows(["dog"], embed).shape == (1, 2)
    assert embed.labels == 1


def test_a_locked_database_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "PATIENCE_S", 0.05)
    LabelStates(tmp_path, "fp").rows(["dog"], Embedder())
    other = sqlite3.connect(tmp_path / "fp.sqlite")
    other.execute("BEGIN EXCLUSIVE")
    assert LabelStates(tmp_path, "fp").rows(["cat"], Embedder())[0, 0] == 3
    other.close()


def fill(folder: Path, start: int) -> int:
    labels = LabelStates(folder, "fp")
    embed = Embedder()
    for number in range(start, start + 30):
        labels.rows([f"label {number}", f"label {number + 1}"], embed)
    return embed.labels


def test_processes_may_share_the_folder(tmp_path: Path) -> None:
    with ProcessPoolExecutor(3) as processes:
        list(processes.map(fill, [tmp_path] * 3, [0, 15, 30]))
    embed = Embedder()
    rows = LabelStates(tmp_path, "fp").rows([f"label {number}" for number in range(60)], embed)
    assert rows[:, 0].tolist() == [7.0] * 10 + [8.0] * 50
    assert embed.labels == 0


def test_memory_and_disk_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "MAX_ROWS", 10)
    labels = LabelStates(tmp_path, "fp")
    for number in range(30):
        labels.rows([f"label {number}"], Embedder())
    assert not labels.known(["label 19"])
    assert labels.known([f"label {number}" for number in range(20, 30)])
    with sqlite3.connect(tmp_path / "fp.sqlite") as database:
        assert database.execute("SELECT count(*) FROM rows").fetchone() == (10,)
    database.close()


def test_models_that_were_used_long_ago_leave_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "MAX_FILES", 3)
    for age, name in enumerate(("newest", "newer", "old", "oldest")):
        LabelStates(tmp_path, name).rows(["dog"], Embedder())
        os.utime(tmp_path / f"{name}.sqlite", (1e9 - age, 1e9 - age))
    LabelStates(tmp_path, "fresh").rows(["dog"], Embedder())
    assert {path.stem for path in tmp_path.iterdir()} == {"newest", "newer", "fresh"}
