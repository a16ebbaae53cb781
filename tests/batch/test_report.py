"""The pace of a run counts what this call did, and its summary has the notes that images share."""

import time

import pytest

from dinox_mcp.backends.base import silent
from dinox_mcp.batch.manifest import Shard
from dinox_mcp.batch.parts import Done
from dinox_mcp.batch.report import Tracker, per_second, sum_up_run

ONE, TWO = (Shard(number, 100, 0, "") for number in range(2))


@pytest.mark.anyio
async def test_images_that_an_earlier_call_did_count_as_done_but_not_for_the_pace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[tuple[float, str]] = []

    async def hear(share: float, message: str) -> None:
        said.append((share, message))

    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    tracker = Tracker({ONE: 0, TWO: 100}, {}, hear, lambda: False)
    await tracker.working(TWO, 0.4)  # in the journal from before
    now += 10
    await tracker.working(TWO, 0.6)
    assert said == [(0.7, "140 of 200 images"), (0.8, "160 of 200 images, 2 images/s")]
    assert (tracker.images, tracker.seconds) == (20, 10)


@pytest.mark.anyio
async def test_a_shard_that_is_begun_again_counts_once() -> None:
    tracker = Tracker({ONE: 100, TWO: 100}, {}, silent, lambda: False)
    for share in (0, 0.5, 0.2, 1):
        await tracker.working(ONE, share)
    assert tracker.images == 100


def test_a_pace_has_the_digits_that_say_something() -> None:
    assert [per_second(rate) for rate in (0.03456, 3.456, 99.96, 1234.5)] == [
        "0.0346 images/s",
        "3.46 images/s",
        "100 images/s",
        "1,234 images/s",
    ]


def test_counts_failures_and_notes_of_all_shards_are_added() -> None:
    notes = {f"note {number}": 20 - number for number in range(12)}
    shards = [
        Done("run", 0, 10, failed=1, found=4, counts={"dog": 5}, model="A", notes=notes),
        Done("run", 1, 5, found=2, counts={"cat": 9, "dog": 1}, model="B", notes={"note 1": 4}),
    ]
    result = sum_up_run(shards, ["dog", "bird"], ["a plan's own"])
    assert (result.done, result.failed, result.found, result.model) == (15, 1, 6, "A + B")
    assert list(result.counts.items()) == [("cat", 9), ("dog", 6), ("bird", 0)]
    assert result.notes[:3] == ("a plan's own", "note 1 (23 images)", "note 0 (20 images)")
    assert result.notes[-1] == "2 other notes in the column notes of the parts"
