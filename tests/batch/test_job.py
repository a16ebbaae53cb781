"""`Detector.batch`: any number of images into Parquet files, each exactly once, whatever stops it on the way."""

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import duckdb
import fsspec
import pyarrow.parquet as pq
import pytest

from dinox_mcp.backends.base import Call, Capabilities
from dinox_mcp.batch import job as module
from dinox_mcp.batch.report import BatchResult
from dinox_mcp.detect.visual_prompts import VisualPrompt
from dinox_mcp.detector import Detector
from dinox_mcp.errors import (
    BusyError,
    InputError,
    QuotaError,
    ServiceError,
    SettingsError,
    UnsupportedError,
)
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.store.jobs import held_run, lock
from dinox_mcp.types.detection import DetectionRequest, Detections, Mask
from tests.batch.containers import tar
from tests.fakes import CAT, DOG, DescribingBackend, FakeBackend, able, png

pytestmark = pytest.mark.anyio


@dataclass
class Dogs(FakeBackend):
    """Finds a dog in images wider than 100 pixels, and fails where a test says so."""

    failing: dict[int, Exception] = field(default_factory=dict)
    """The error for images of a width."""
    most: int = 1000
    """Requests after which there is no credit left."""

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        if len(self.asked) >= self.most:
            raise QuotaError("there is no credit left; top it up")
        found = await super().detect(image, request, call)
        if error := self.failing.get(image.width):
            raise error
        return found.model_copy(update={"objects": (DOG,) if image.width > 100 else ()})

    @property
    def widths(self) -> list[int]:
        return [image.width for image, _, _ in self.asked]


class Paid(Dogs):
    """The same at two calls an image."""

    def calls(self, _: DetectionRequest) -> int:
        return 2


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Nine images of the widths 100 to 108, and a file that is not an image, which comes last."""
    folder = tmp_path.resolve() / "photos"
    folder.mkdir()
    for place in range(9):
        (folder / f"{place}.png").write_bytes(png(100 + place))
    (folder / "broken.jpg").write_text("not an image")
    return folder


async def run(photos: Path, backend: FakeBackend, out: str = "run", **options: Any) -> BatchResult:  # noqa: ANN401 - of a batch
    """Run a batch of shards of four images, with one of them at a time unless a test says otherwise."""
    settings = Settings(backend="fake", prompts_folder=photos.parent / "prompts")
    given = {"prompts": "dog", "shard_size": 4, "at_once": 1, **options}
    async with Detector(settings, [backend]) as detector:
        return await detector.batch(str(photos), photos.parent / out, **given)


def rows(photos: Path) -> dict[str, dict[str, Any]]:
    """Read the rows of a run by the name of their image, and check that no image has two."""
    parts = sorted((photos.parent / "run" / "parts").glob("*.parquet"))
    found = [row for part in parts for row in pq.read_table(part).to_pylist()]
    assert len(found) == len({row["source"] for row in found})
    return {Path(row["source"]).name: row for row in found}


def files(photos: Path) -> list[str]:
    run = photos.parent / "run"
    return sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())


async def test_each_image_has_one_row_and_what_is_broken_says_why(photos: Path) -> None:
    result = await run(photos, Dogs())
    assert (result.total, result.done, result.failed, result.found, result.detected) == (10, 10, 1, 8, 10)
    assert (result.counts, result.backend, result.model) == ({"dog": 8}, "fake", "fake-1")
    assert result.complete
    found = rows(photos)
    assert list(found) == [*(f"{place}.png" for place in range(9)), "broken.jpg"]
    assert found["8.png"] | {"sha256": "", "seconds": 0, "objects": []} == {
        "source": str(photos / "8.png"),
        "sha256": "",
        "width": 108,
        "height": 100,
        "objects": [],
        "model": "fake-1",
        "seconds": 0,
        "notes": ["the image is blank: all of it has the colour #ffffff"],
        "error": None,
        "code": None,
    }
    assert found["8.png"]["objects"][0] | {"keypoints": 0} == DOG.model_dump(exclude={"owner"}) | {
        "bbox": list(DOG.bbox),
        "keypoints": 0,
    }
    assert found["broken.jpg"]["code"] == "image_unreadable"
    assert "; pass a JPEG" in found["broken.jpg"]["error"]


async def test_a_finished_run_has_parts_a_plan_and_the_list_of_errors(photos: Path) -> None:
    await run(photos, Dogs())
    parts = [f"parts/part-{number:05}.parquet" for number in range(3)]
    assert files(photos) == ["errors.parquet", "images.jsonl", "lock", "manifest.json", *parts]
    errors = pq.read_table(photos.parent / "run" / "errors.parquet").to_pylist()
    assert [Path(row["source"]).name for row in errors] == ["broken.jpg"]


async def test_duckdb_reads_the_parts(photos: Path) -> None:
    await run(photos, Dogs())
    parts = duckdb.read_parquet(f"{photos.parent}/run/parts/*.parquet")
    assert parts.aggregate("count(*), count(error), sum(len(objects))").fetchall() == [(10, 1, 8)]
    boxes = parts.project("unnest(objects) as one").project("one.label, one.bbox[1], one.score")
    assert boxes.fetchall() == [("dog", 10.0, 0.9)] * 8


async def test_the_same_run_again_detects_in_nothing(photos: Path) -> None:
    first, second = Dogs(), Dogs()
    before = await run(photos, first)
    again = await run(photos, second)
    assert (len(first.asked), second.asked) == (9, [])
    assert again == before.model_copy(update={"detected": 0, "seconds": again.seconds})


async def test_a_run_that_was_stopped_continues_without_asking_twice(photos: Path) -> None:
    first, second = Dogs(most=6), Dogs()
    stopped = await run(photos, first)
    assert (stopped.done, stopped.stopped) == (4, "there is no credit left; top it up")
    assert not stopped.complete
    result = await run(photos, second)
    assert (result.done, result.detected, result.stopped) == (10, 4, "")
    assert first.widths + second.widths == list(range(100, 109))
    assert list(rows(photos)) == [*(f"{place}.png" for place in range(9)), "broken.jpg"]


async def test_a_run_that_begins_with_an_error_raises_it(photos: Path) -> None:
    with pytest.raises(QuotaError):
        await run(photos, Dogs(most=0))


async def test_a_run_stops_rather_than_go_on_with_another_backend(photos: Path) -> None:
    lost = QuotaError("there is no credit left; top it up")
    backends = [FakeBackend(name="cloud", PREFERENCE=200, error=lost), FakeBackend(name="here", PREFERENCE=100)]
    async with Detector(Settings(), backends) as detector:
        result = await detector.batch(str(photos), photos.parent / "run", "dog", max_calls=10)
    assert "the backend cloud did not answer, so here was used: there is no credit left; top it up" in result.stopped
    assert (result.backend, result.done) == ("cloud", 0)


async def test_no_shard_is_begun_once_the_caller_stops_the_run(photos: Path) -> None:
    backend = Dogs()
    result = await run(photos, backend, stopping=lambda: len(backend.asked) > 4)
    assert (result.done, result.total, len(backend.asked)) == (8, 10, 8)


async def test_prompts_that_the_backend_does_not_know_are_named_on_the_way_and_in_the_end(photos: Path) -> None:
    said: list[str] = []

    async def hear(_share: float, message: str) -> None:
        said.append(message)

    result = await run(photos, Dogs(unknown=("unicorn",)), prompts=["dog", "unicorn"], progress=hear)
    assert "cannot find 'unicorn'" in result.notes[0]
    assert result.counts == {"dog": 8, "unicorn": 0}
    assert said[-1].endswith(", not known: unicorn")


async def test_a_cancelled_run_suspects_no_image(photos: Path) -> None:
    scope = anyio.CancelScope()

    @dataclass
    class Cancelling(Dogs):
        async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
            if image.width == 106:
                scope.cancel()
                await anyio.sleep_forever()
            return await super().detect(image, request, call)

    first, second = Cancelling(), Dogs()
    with scope:
        await run(photos, first)
    journal = photos.parent / "run" / "journals" / "00001.jsonl"
    assert json.loads(journal.read_text().splitlines()[-1]) == {"rest": True}
    assert (await run(photos, second)).done == 10
    assert first.widths + second.widths == list(range(100, 109))


async def test_a_tar_from_elsewhere_is_kept_until_its_run_is_complete(
    tmp_path: Path, memory: fsspec.AbstractFileSystem
) -> None:
    memory.pipe("/b/s.tar", tar({f"{place}.png": png(100 + place) for place in range(5)}))
    fetched = tmp_path / "run" / "fetched"

    async def once(**options: Any) -> BatchResult:  # noqa: ANN401 - of a batch
        async with Detector(Settings(backend="fake"), [Dogs()]) as detector:
            return await detector.batch("memory://b/s.tar", tmp_path / "run", "dog", **options)

    assert (await once(stopping=lambda: True)).done == 0
    assert len(list(fetched.iterdir())) == 1
    with held_run(tmp_path / "run"), pytest.raises(InputError, match="has no field"):
        await once(column="seg.png")
    assert len(list(fetched.iterdir())) == 1, "another call works on the run"
    assert (await once()).counts == {"dog": 4}
    assert not fetched.exists()
    with pytest.raises(InputError, match=r"has no field 'seg\.png' in its samples"):
        await once(column="seg.png")
    assert not fetched.exists()


async def test_a_folder_with_the_name_of_kept_tars_stays_as_it_is(tmp_path: Path) -> None:
    own = tmp_path / "run" / "fetched" / "a.tar"
    own.parent.mkdir(parents=True)
    own.write_bytes(tar({"0.png": png()}))
    async with Detector(Settings(backend="fake"), [Dogs()]) as detector:
        with pytest.raises(InputError, match="there is no file"):
            await detector.batch(str(tmp_path / "b.tar"), tmp_path / "run", "dog")
        assert own.exists()
        (tmp_path / "a.png").write_bytes(png())
        assert (await detector.batch(str(tmp_path / "a.png"), tmp_path / "run", "dog")).done == 1
    assert own.exists()


async def test_a_part_that_was_cut_off_is_made_again(photos: Path) -> None:
    await run(photos, Dogs())
    part = photos.parent / "run" / "parts" / "part-00001.parquet"
    part.write_bytes(part.read_bytes()[:-20])
    backend = Dogs()
    result = await run(photos, backend)
    assert backend.widths == [104, 105, 106, 107]
    assert len(rows(photos)) == 10
    assert "1 damaged part replaced: the images were detected in again" in result.notes


async def test_a_part_of_another_run_does_not_count(photos: Path) -> None:
    await run(photos, Dogs())
    await run(photos, Dogs(), prompts="cat", out="cats")
    part = "parts/part-00001.parquet"
    (photos.parent / "cats" / part).replace(photos.parent / "run" / part)
    backend = Dogs()
    await run(photos, backend)
    assert backend.widths == [104, 105, 106, 107]


async def test_two_calls_cannot_work_on_one_run(photos: Path) -> None:
    other = lock(photos.parent / "run")
    with pytest.raises(BusyError, match=r"another call works on the run in .*run; wait for it, or choose another"):
        await run(photos, Dogs())
    os.close(other)


async def test_new_images_become_new_shards(photos: Path) -> None:
    await run(photos, Dogs())
    (photos / "3a.png").write_bytes(png(120))
    backend = Dogs()
    result = await run(photos, backend)
    assert (result.total, result.done, result.detected, backend.widths) == (11, 11, 1, [120])
    assert list(rows(photos))[-1] == "3a.png"


async def test_the_rows_of_images_that_are_gone_or_changed_stay(photos: Path) -> None:
    await run(photos, Dogs())
    (photos / "0.png").unlink()
    (photos / "1.png").write_bytes(png(300))
    result = await run(photos, Dogs())
    assert (result.total, result.detected) == (10, 0)
    assert "1 finished image not in the source any more; the rows stay" in result.notes
    assert "1 finished image changed since; the rows stay as they are, see sha256" in result.notes


@pytest.mark.parametrize(
    ("name", "value"), [("limit", 0), ("shard_size", -1), ("at_once", 2.5), ("max_calls", 0), ("workers", 0)]
)
async def test_a_number_below_one_is_refused(photos: Path, name: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"^{name} is {value}; pass a whole number from 1 on, or leave it out$"):
        await run(photos, Dogs(), **{name: value})
    assert not (photos.parent / "run").exists()


async def test_a_run_is_not_continued_by_another_request(photos: Path) -> None:
    backend = Dogs(able=Capabilities(outputs=frozenset({"masks"})))
    await run(photos, backend)
    changes: list[tuple[dict[str, Any], str]] = [
        ({"prompts": "cat"}, r'begun with request {"prompts": \["dog"\], .*, now {"prompts": \["cat"\]'),
        ({"min_score": 0.5}, r"begun with request .*0\.5"),
        ({"max_objects": 3}, "begun with max_objects 1000, now 3; choose another --out"),
        ({"include": ["masks"]}, r'now .*"include": \["masks"\]'),
    ]
    for changed, difference in changes:
        with pytest.raises(InputError, match=difference):
            await run(photos, backend, **changed)


async def test_a_run_without_results_gives_its_folder_to_another_request(photos: Path) -> None:
    with pytest.raises(QuotaError):
        await run(photos, Dogs(most=0))
    assert (await run(photos, Dogs(), prompts="cat", limit=1)).counts == {"cat": 0}
    assert list(rows(photos)) == ["0.png"]


async def test_an_image_in_a_journal_holds_the_folder_for_its_request(photos: Path) -> None:
    await run(photos, Dogs(most=2))
    assert rows(photos) == {}
    with pytest.raises(InputError, match=r'now {"prompts": \["cat"\]'):
        await run(photos, Dogs(), prompts="cat")


async def test_a_run_is_not_continued_by_another_version(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await run(photos, Dogs())
    monkeypatch.setattr(module, "__version__", "99")
    with pytest.raises(InputError, match=r'begun with version ".*", now "99"'):
        await run(photos, Dogs())


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": 2, "header": {}, "shards": [], "end": 0}'])
async def test_a_damaged_plan_is_one_line(photos: Path, content: str) -> None:
    (photos.parent / "run").mkdir()
    (photos.parent / "run" / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=r"manifest.json is damaged or of another version; choose another --out"):
        await run(photos, Dogs())


async def test_a_run_that_costs_too_much_is_refused_and_leaves_nothing(photos: Path) -> None:
    backend = Paid()
    with pytest.raises(
        InputError, match="10 images would take 20 calls to fake, more than the 19 of a run; pass --max-calls"
    ):
        await run(photos, backend, max_calls=19)
    assert (backend.asked, files(photos)) == ([], ["lock"])


async def test_tiles_and_descriptions_are_calls_too(photos: Path) -> None:
    class PaidDescribing(DescribingBackend):
        def calls(self, _: DetectionRequest) -> int:
            return 1

    with pytest.raises(InputError, match="10 images would take 60 calls to fake"):
        await run(photos, PaidDescribing(), tiles=2, include=["caption", "text"], max_calls=59)


async def test_the_cost_is_said_first_and_then_the_pace(photos: Path) -> None:
    said: list[tuple[float, str]] = []

    async def hear(share: float, message: str) -> None:
        said.append((share, message))

    await run(photos, Paid(most=6), progress=hear)
    assert said[0] == (0, "10 of 10 images to detect in: at most 20 calls to fake")
    said.clear()
    await run(photos, Paid(), progress=hear)
    assert said[0] == (0.4, "6 of 10 images to detect in: at most 12 calls to fake")
    assert said[-1][0] == 1
    assert said[-1][1].startswith("10 of 10 images, ")
    assert said[-1][1].endswith(" images/s, 1 without an answer")


async def test_with_a_limit_the_first_images_are_planned_and_later_the_others(photos: Path) -> None:
    backend = Dogs()
    assert (await run(photos, backend, limit=3)).total == 3
    assert (await run(photos, backend, limit=5)).total == 5
    assert (await run(photos, backend)).total == 10
    assert backend.widths == list(range(100, 109))


async def test_an_image_that_the_service_fails_on_is_tried_once_more(photos: Path) -> None:
    backend = Dogs(failing={105: ServiceError("the service failed; try again")})
    result = await run(photos, backend)
    assert (result.done, result.failed, backend.widths.count(105)) == (10, 2, 2)
    assert rows(photos)["5.png"]["code"] == "service_failed"


async def test_many_images_that_the_service_fails_on_do_not_stop_the_run(photos: Path) -> None:
    failing = {width: ServiceError("the service failed; try again") for width in (100, 101, 102, 104, 105, 106, 108)}
    result = await run(photos, Dogs(failing=failing), shard_size=100)
    assert (result.done, result.failed, result.stopped) == (10, 8, "")


async def test_a_defect_of_a_backend_is_an_error_of_its_image(photos: Path) -> None:
    backend = Dogs(failing={105: ZeroDivisionError("division by zero")})
    assert (await run(photos, backend)).failed == 2
    assert rows(photos)["5.png"]["error"] == "ZeroDivisionError: division by zero; report it"
    assert rows(photos)["5.png"]["code"] == "backend_failed"


async def test_an_answer_of_a_retry_that_was_stopped_is_kept_for_the_next_one(photos: Path) -> None:
    failing: dict[int, Exception] = {104: ServiceError("the server is away"), 105: ServiceError("the server is away")}
    await run(photos, Dogs(failing=failing))
    first, second = Dogs(most=1), Dogs()
    assert (await run(photos, first, retry=True)).stopped == "there is no credit left; top it up"
    assert (await run(photos, Dogs())).failed == 3, "no retry"
    assert (await run(photos, second, retry=True)).failed == 1
    assert first.widths + second.widths == [104, 105]


async def test_a_journal_that_its_process_left_beside_its_part_is_removed(photos: Path) -> None:
    await run(photos, Dogs(most=6))
    journal = photos.parent / "run" / "journals" / "00001.jsonl"
    content = journal.read_bytes()
    await run(photos, Dogs())
    journal.write_bytes(content)
    await run(photos, Dogs())
    assert not journal.exists()


@pytest.mark.parametrize("options", [{"retry": True}, {}])
async def test_a_part_that_is_damaged_inside_is_named_with_what_to_do(photos: Path, options: dict[str, Any]) -> None:
    await run(photos, Dogs(), shard_size=10)
    part = photos.parent / "run" / "parts" / "part-00000.parquet"
    data = part.read_bytes()
    part.write_bytes(data[:4] + b"\xff" * 1000 + data[1004:])
    with pytest.raises(InputError, match=r"part-00000.parquet is damaged .*; delete it, and run the same command"):
        await run(photos, Dogs(), **options)
    part.unlink()
    assert (await run(photos, Dogs(), **options)).done == 10


async def test_retry_detects_only_in_images_without_an_answer(photos: Path) -> None:
    await run(photos, Dogs())
    (photos / "broken.jpg").write_bytes(png(200))
    idle, backend = Dogs(), Dogs()
    assert (await run(photos, idle)).failed == 1
    result = await run(photos, backend, retry=True)
    assert (idle.asked, backend.widths) == ([], [200])
    assert (result.failed, result.done, result.counts) == (0, 10, {"dog": 9})
    assert rows(photos)["broken.jpg"]["width"] == 200
    assert "errors.parquet" not in files(photos)


async def test_equal_bytes_are_detected_in_once(photos: Path) -> None:
    (photos / "8a.png").write_bytes(png(108))
    backend = Dogs()
    result = await run(photos, backend)
    assert (len(backend.asked), result.counts) == (9, {"dog": 9})
    assert rows(photos)["8a.png"]["objects"] == rows(photos)["8.png"]["objects"]


async def test_masks_and_descriptions_are_in_the_rows(photos: Path) -> None:
    mask = Mask(size=(100, 100), counts="PPP")
    backend = DescribingBackend(answer=[DOG.model_copy(update={"mask": mask}), CAT])
    backend.able = Capabilities(
        answers=backend.able.answers, outputs=frozenset({"masks"}), describes=backend.able.describes
    )
    await run(photos, backend, include=["masks", "caption"], limit=1)
    first, second = rows(photos)["0.png"]["objects"]
    assert first["mask"] == {"size": [100, 100], "counts": "PPP"}
    assert (first["caption"], second["caption"], second["mask"]) == ("caption of dog", "caption of cat", None)
    assert len(rows(photos)) == 1


async def test_the_best_objects_are_kept_and_all_are_counted(photos: Path) -> None:
    result = await run(photos, FakeBackend(), prompts=["dog", "cat", "bird"], max_objects=1)
    assert result.counts == {"dog": 9, "cat": 9, "bird": 0}
    assert [one["label"] for one in rows(photos)["0.png"]["objects"]] == ["dog"]


async def test_examples_are_kept_with_the_run(photos: Path, tmp_path: Path) -> None:
    example = tmp_path / "example.png"
    example.write_bytes(png(50, 50))
    backend = FakeBackend(able=able("examples", "examples in other images"))
    like = [VisualPrompt(bbox=(1, 1, 20, 20), image=str(example), label="dog")]
    await run(photos, backend, prompts=None, examples=like)
    example_images = [call.pictures for _, _, call in backend.asked]
    assert {picture.width for pictures in example_images for picture in pictures.values()} == {50}


async def test_both_prompts_and_examples_are_too_much(photos: Path) -> None:
    with pytest.raises(InputError, match="both prompts and examples are given"):
        await run(photos, Dogs(), examples=[VisualPrompt(saved="cup")])


async def test_an_unknown_engine_is_one_line(photos: Path) -> None:
    with pytest.raises(InputError, match="there is no engine 'steam'; choose local"):
        await run(photos, Dogs(), engine="steam")


async def test_without_pyarrow_the_command_that_installs_it_is_named(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UnsupportedError, match=r"pyarrow is not installed; pip install 'dinox-mcp\[batch\]'"):
        await run(photos, Dogs())


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Let no file grow larger, as a full disk would not."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("planned", "size", "message"),
    [
        (False, 100, "the run cannot be kept in .*run .File too large.; choose another --out"),
        (True, 500, "the job cannot be kept in .*journals .File too large.; make room, and run the same command again"),
        (True, 3000, "part-00000.parquet cannot be written .File too large.; choose another --out with room, or make"),
    ],
)
async def test_a_full_disk_is_one_line_and_loses_at_most_the_image_in_hand(
    photos: Path, planned: bool, size: int, message: str
) -> None:
    first, second = Dogs(), Dogs()
    if planned:
        await run(photos, first, stopping=lambda: True)
    with disk_of(size):
        try:
            said = (await run(photos, first)).stopped
        except SettingsError as error:  # nothing was done before
            said = str(error)
    assert re.search(message, said)
    assert (await run(photos, second)).done == 10
    assert len(rows(photos)) == 10
    assert len(first.asked) + len(second.asked) <= 10
