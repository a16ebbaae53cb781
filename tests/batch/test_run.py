"""A run detects in each image once, notes what is wrong with one, and stops for what is wrong with all."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from dinox_mcp.backends.base import silent
from dinox_mcp.batch import run as module
from dinox_mcp.batch.journal import Journal
from dinox_mcp.batch.run import Outcome, pending, run
from dinox_mcp.batch.sources import Entry
from dinox_mcp.errors import BusyError, DinoxError, ImageError, QuotaError, ServiceError
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.detection import Detections
from tests.fakes import DOG, picture

pytestmark = pytest.mark.anyio
FOUND = Detections(model="fake-1", objects=(DOG,))
Answer = Callable[[Picture], Awaitable[Detections]]


class Folder:
    """Images by name, each of another size unless a test says otherwise, and what was done with them."""

    def __init__(self, number: int) -> None:
        self.pictures: dict[str, Picture | DinoxError] = {
            f"/photos/{place:02}.png": picture(10 + place, 10) for place in range(number)
        }
        self.loaded: list[str] = []
        self.detected: list[str] = []

    @property
    def entries(self) -> list[Entry]:
        return [Entry(name, "1") for name in self.pictures]

    async def load(self, source: str) -> Picture:
        self.loaded.append(source)
        found = self.pictures[source]
        if isinstance(found, DinoxError):
            raise found
        return found

    async def detect(self, image: Picture) -> Detections:
        self.detected.append(image.digest)
        await anyio.lowlevel.checkpoint()
        return FOUND


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.open(tmp_path / "journal.jsonl", {})
    yield journal
    journal.close()


async def go(folder: Folder, journal: Journal, detect: Answer | None = None, **options: object) -> Outcome:
    journal.plan(folder.entries)
    left = pending(folder.entries, journal)
    given = {"progress": silent, **options}
    return await run(left, journal, folder.load, detect or folder.detect, **given)  # type: ignore[arg-type]


async def test_each_image_is_written_down_once(journal: Journal) -> None:
    folder = Folder(20)
    assert await go(folder, journal) == Outcome(20)
    assert journal.records.keys() == folder.pictures.keys()
    assert await go(folder, journal) == Outcome(0)
    assert len(folder.loaded) == 20


async def test_equal_bytes_are_detected_in_once(journal: Journal) -> None:
    folder = Folder(6)
    folder.pictures = dict.fromkeys(folder.pictures, picture(50, 50))
    assert (await go(folder, journal)).detected == 1
    assert [record.counts for record in journal.records.values()] == [{"dog": 1}] * 6
    assert sum(record.copy for record in journal.records.values()) == 5


async def test_a_copy_is_detected_in_where_the_first_one_failed(journal: Journal) -> None:
    folder = Folder(2)
    folder.pictures = dict.fromkeys(folder.pictures, picture(50, 50))
    errors = iter([ServiceError("it failed; try again")])

    async def detect(image: Picture) -> Detections:
        await anyio.sleep(0.01)
        for error in errors:
            raise error
        return await folder.detect(image)

    assert (await go(folder, journal, detect)).detected == 1
    assert sorted(bool(record.error) for record in journal.records.values()) == [False, True]


async def test_a_broken_image_is_noted_and_the_others_go_on(journal: Journal) -> None:
    folder = Folder(5)
    folder.pictures["/photos/02.png"] = ImageError("it is damaged; pass another")
    assert (await go(folder, journal)).detected == 4
    assert journal.records["/photos/02.png"].error == "it is damaged; pass another"
    assert pending(folder.entries, journal) == []


async def test_what_failed_on_the_way_is_tried_again_at_the_end(journal: Journal) -> None:
    folder = Folder(2)
    address = "https://example.com/a.jpg"
    folder.pictures[address] = ImageError("it cannot be reached; try again later")
    entries = [Entry(name, "" if name == address else "1") for name in folder.pictures]
    journal.plan(entries)
    await run(pending(entries, journal), journal, folder.load, folder.detect, progress=silent)
    assert pending(entries, journal) == [Entry(address)]
    folder.pictures[address] = picture(99, 99)
    await run(pending(entries, journal), journal, folder.load, folder.detect, progress=silent)
    assert journal.records[address].counts == {"dog": 1}


async def test_an_account_without_credit_stops_the_run_and_keeps_the_images_for_later(journal: Journal) -> None:
    folder = Folder(10)

    async def detect(image: Picture) -> Detections:
        if len(folder.detected) == 3:
            raise QuotaError("no credit is left; buy some")
        return await folder.detect(image)

    outcome = await go(folder, journal, detect, at_a_time=1)
    assert (outcome.detected, str(outcome.error)) == (3, "no credit is left; buy some")
    assert len(pending(folder.entries, journal)) == 7


async def test_a_backend_that_fails_again_and_again_stops_the_run(journal: Journal) -> None:
    async def detect(_: Picture) -> Detections:
        raise ServiceError("it failed; try again later")

    outcome = await go(Folder(20), journal, detect, at_a_time=1)
    assert isinstance(outcome.error, ServiceError)
    assert len(journal.records) == module.MAX_FAILURES - 1


async def test_a_busy_backend_is_waited_for(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EVERY_S", 0.001)
    folder, busy = Folder(3), iter([BusyError("16 images wait; try again")] * 5)

    async def detect(image: Picture) -> Detections:
        for error in busy:
            raise error
        return await folder.detect(image)

    assert await go(folder, journal, detect) == Outcome(3)


async def test_a_fault_of_a_backend_is_raised_as_it_is(journal: Journal) -> None:
    async def detect(_: Picture) -> Detections:
        raise KeyError("a fault in a plug-in")

    with pytest.raises(KeyError, match="a fault in a plug-in"):
        await go(Folder(3), journal, detect)


async def test_few_images_are_worked_on_at_the_same_time(journal: Journal) -> None:
    folder, now, most = Folder(12), 0, 0

    async def detect(image: Picture) -> Detections:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        await anyio.sleep(0.001)
        now -= 1
        return await folder.detect(image)

    await go(folder, journal, detect, at_a_time=3)
    assert most == 3


async def test_at_the_end_of_its_time_a_run_keeps_what_is_complete(journal: Journal) -> None:
    folder = Folder(10)

    async def detect(image: Picture) -> Detections:
        if len(folder.detected) == 4:
            await anyio.sleep_forever()
        return await folder.detect(image)

    with anyio.fail_after(20):
        assert await go(folder, journal, detect, budget_s=0.3, at_a_time=1) == Outcome(4)
    assert len(pending(folder.entries, journal)) == 6
    assert await go(folder, journal) == Outcome(6)


async def test_a_cancelled_run_keeps_what_is_complete(journal: Journal) -> None:
    folder = Folder(10)
    with anyio.CancelScope() as scope:

        async def detect(image: Picture) -> Detections:
            if len(folder.detected) == 5:
                scope.cancel()
            return await folder.detect(image)

        await go(folder, journal, detect, at_a_time=1)
    assert len(journal.records) == 5
    assert await go(folder, journal) == Outcome(5)


async def test_progress_is_the_share_of_all_images(journal: Journal) -> None:
    heard: list[tuple[float, str]] = []

    async def progress(share: float, message: str) -> None:
        heard.append((share, message))

    await go(Folder(4), journal, progress=progress)
    assert heard[-1] == (1.0, "4 of 4 images, objects in 4")
    assert heard == sorted(heard)
