"""A batch on Ray: two workers on this machine, one of them killed; and what is refused before Ray starts."""

import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Unpack

import pyarrow.parquet as pq
import pytest

from dinox_mcp.batch import ray_engine
from dinox_mcp.batch.job import BatchOptions, BatchResult
from dinox_mcp.batch.ray_engine import _Resources
from dinox_mcp.detector import Detector
from dinox_mcp.errors import InputError, SettingsError
from dinox_mcp.types.detection import DetectionRequest
from tests.batch.killers import ALWAYS, ONCE, UNREACHABLE, USUAL, Deadly, DeadlyDetector, Forgetful, settings
from tests.fakes import FakeBackend, png

pytestmark = pytest.mark.anyio
IMAGES = 30
on_ray = pytest.mark.usefixtures("cluster")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Start Ray on this machine, once for all tests."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed: make test-ray")
    from dinox_mcp.batch.cluster import join

    ray = join(log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of different images."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(IMAGES):
        (folder / f"{number:02}.png").write_bytes(png(USUAL, 50 + number))
    return folder


def rows(run: Path) -> list[dict[str, Any]]:
    return [row for part in sorted((run / "parts").glob("*.parquet")) for row in pq.read_table(part).to_pylist()]


async def batch(photos: Path, run: Path, **options: Unpack[BatchOptions]) -> BatchResult:
    async with DeadlyDetector(settings()) as detector:
        return await detector.batch(str(photos), run, ["dog"], engine="ray", workers=2, shard_size=5, **options)


@pytest.mark.ray
@on_ray
@pytest.mark.filterwarnings("default")
class TestOnACluster:
    async def test_two_workers_share_the_shards(self, photos: Path, tmp_path: Path) -> None:
        reports: list[str] = []

        async def progress(_: float, message: str) -> None:
            reports.append(message)

        result = await batch(photos, tmp_path / "run", progress=progress)
        found = rows(tmp_path / "run")
        assert (result.done, result.failed, result.counts["dog"]) == (IMAGES, 0, IMAGES)
        assert [Path(row["source"]).stem for row in found] == [f"{number:02}" for number in range(IMAGES)]
        assert len({row["model"] for row in found}) == 2, "two processes"
        assert f"{IMAGES} of {IMAGES} images" in reports[-1]

    async def test_a_worker_that_is_killed_in_the_middle_costs_nothing(self, photos: Path, tmp_path: Path) -> None:
        (photos / "07.png").write_bytes(png(ONCE, 50))
        result = await batch(photos, tmp_path / "run")
        names = Counter(Path(row["source"]).stem for row in rows(tmp_path / "run"))
        assert (photos / "07.png.killed").exists()
        assert (result.done, result.failed) == (IMAGES, 0)
        assert names == Counter({f"{number:02}": 1 for number in range(IMAGES)})
        assert not list((tmp_path / "run" / "journals").iterdir())

    async def test_a_shard_whose_worker_dies_after_its_part_is_not_repeated(
        self, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ray_engine, "Worker", Forgetful)
        result = await batch(photos, tmp_path / "run")
        models = Counter(row["model"] for row in rows(tmp_path / "run"))
        died = (tmp_path / "run" / "killed").read_text()
        assert result.done == IMAGES == models.total()
        assert models[f"process {died}"] == 5, "its shard has the rows that it wrote"

    async def test_an_image_that_kills_each_worker_becomes_one_row(self, photos: Path, tmp_path: Path) -> None:
        (photos / "07.png").write_bytes(png(ALWAYS, 50))
        result = await batch(photos, tmp_path / "run")
        failed = [row for row in rows(tmp_path / "run") if row["error"]]
        assert (result.done, result.failed) == (IMAGES, 1)
        assert [(Path(row["source"]).stem, row["code"]) for row in failed] == [("07", "worker_died")]
        assert len(rows(tmp_path / "run")) == IMAGES

    async def test_the_run_continues_after_the_backend_failed(self, photos: Path, tmp_path: Path) -> None:
        bad = photos / "29.png"
        bad.write_bytes(png(UNREACHABLE, 50))
        stopped = await batch(photos, tmp_path / "run")
        assert "nobody answers" in stopped.stopped
        assert stopped.done < IMAGES
        before = {row["source"]: row["model"] for row in rows(tmp_path / "run")}
        bad.write_bytes(png(USUAL, 99))
        result = await batch(photos, tmp_path / "run")
        after = {row["source"]: row["model"] for row in rows(tmp_path / "run")}
        assert (result.done, result.failed, result.stopped) == (IMAGES, 0, "")
        assert before.items() <= after.items(), "what was finished stays"

    async def test_no_further_shard_is_begun_after_a_stop(self, photos: Path, tmp_path: Path) -> None:
        result = await batch(photos, tmp_path / "run", stopping=iter([*[False] * 2, *[True] * 10_000]).__next__)
        assert 0 < result.done < IMAGES
        assert (await batch(photos, tmp_path / "run")).done == IMAGES

    async def test_another_answer_than_the_drivers_is_refused(self, photos: Path, tmp_path: Path) -> None:
        backend = FakeBackend()
        async with Detector(settings(), [backend]) as detector:  # a backend that a worker cannot make
            with pytest.raises(SettingsError, match="fake"):
                await detector.batch(str(photos), tmp_path / "run", ["dog"], engine="ray", workers=1)
        assert not backend.asked

    async def test_more_gpus_than_there_are_is_refused(self, photos: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="do not fit on the cluster"):
            await batch(photos, tmp_path / "run", gpus_per_worker=1000)


class Paid(Deadly):
    """Costs a call for each image."""

    def calls(self, _: DetectionRequest) -> int:
        return 1


async def test_a_paid_backend_is_refused(photos: Path, tmp_path: Path) -> None:
    backend = Paid()
    async with Detector(settings(), [backend]) as detector:
        with pytest.raises(InputError, match="a paid backend is kept by one process; use the engine local"):
            await detector.batch(str(photos), tmp_path / "run", ["dog"], engine="ray")
    assert not backend.asked


async def test_without_the_extra_the_error_names_it(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SettingsError, match=r"pip install 'dinox-mcp\[ray\]'"):
        await batch(photos, tmp_path / "run")


async def test_options_of_ray_are_refused_by_the_local_engine(photos: Path, tmp_path: Path) -> None:
    async with DeadlyDetector(settings()) as detector:
        with pytest.raises(InputError, match="workers is an option of the engine ray"):
            await detector.batch(str(photos), tmp_path / "run", ["dog"], workers=2)


@pytest.mark.parametrize(
    ("nodes", "workers", "gpus", "expected"),
    [
        ([{"CPU": 8}], None, 0, (1, 8, 0)),
        ([{"CPU": 8}, {"CPU": 4}], None, 0, (2, 4, 0)),
        ([{"CPU": 8}], 3, 0, (3, 2, 0)),
        ([{"CPU": 2}], 4, 0, (4, 0.5, 0)),
        ([{"CPU": 16, "GPU": 4}] * 2, None, 1, (8, 4, 1)),
        ([{"CPU": 16, "GPU": 1}], None, 0.5, (2, 8, 0.5)),
    ],
)
def test_workers_share_the_machines(
    nodes: list[dict[str, float]], workers: int | None, gpus: float, expected: tuple[int, float, float]
) -> None:
    planned = _Resources.of(nodes, workers, gpus, 100)
    assert (planned.workers, planned.cpus, planned.gpus) == expected


def test_there_are_no_more_workers_than_shards() -> None:
    assert _Resources.of([{"CPU": 8}] * 5, None, 0, 2).workers == 2
