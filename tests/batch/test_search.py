"""`Detector.search`: which images hold what, as a job that goes on where it was left."""

import io
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from PIL import Image

import dinox_mcp.batch.search as module
from dinox_mcp.backends.base import Call, Capabilities
from dinox_mcp.batch.summary import SearchResult
from dinox_mcp.detect.options import Caller
from dinox_mcp.detect.visual_prompts import VisualPrompt
from dinox_mcp.detector import Detector
from dinox_mcp.errors import BusyError, InputError, NotFoundError, QuotaError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import DetectionRequest, Detections
from tests.fakes import CAT, DOG, FakeBackend, able, png

pytestmark = pytest.mark.anyio


@dataclass
class ByWidth(FakeBackend):
    """Finds as many dogs as an image is wider than 100 pixels, and a cat in the widest."""

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        found = await super().detect(image, request, call)
        dogs = [DOG.model_copy(update={"score": 0.5 + place / 100}) for place in range(image.width - 100)]
        return found.model_copy(update={"objects": (*dogs, *([CAT] if image.width >= 104 else []))})


class Paid(ByWidth):
    """The same at two calls an image."""

    def calls(self, _: DetectionRequest) -> int:
        return 2


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five images, of which four hold something, one copy, and a file that is not an image."""
    folder = tmp_path.resolve() / "photos"
    (folder / "more").mkdir(parents=True)
    for place in range(5):
        (folder / f"{place}.png").write_bytes(png(100 + place))
    (folder / "more" / "copy.png").write_bytes(png(103))
    (folder / "broken.jpg").write_text("not an image")
    return folder


def detector(folder: Path, backend: FakeBackend, **settings: object) -> Detector:
    return Detector(Settings.load(backend="fake", jobs_folder=folder.parent / "jobs", **settings), [backend])


def summary(result: SearchResult) -> list[tuple[str, dict[str, int]]]:
    return [(Path(found.image).name, found.counts) for found in result.images]


async def test_images_come_best_first_with_counts_in_each_and_in_total(photos: Path) -> None:
    async with detector(photos, ByWidth()) as here:
        result = await here.search(str(photos), ["dog", "cat"])
    assert summary(result) == [
        ("4.png", {"dog": 4, "cat": 1}),
        ("3.png", {"dog": 3}),
        ("copy.png", {"dog": 3}),
        ("2.png", {"dog": 2}),
        ("1.png", {"dog": 1}),
    ]
    assert result.counts == {"dog": 13, "cat": 1}
    assert (result.total, result.done, result.found, result.copies, result.complete) == (7, 7, 5, 1, True)
    assert (result.backend, result.model, result.calls) == ("fake", "fake-1", 0)
    assert [one.score for one in result.images[0].objects] == [0.53, 0.52, 0.51, 0.5, 0.4]
    assert [one.id for one in result.images[0].objects] == [1, 2, 3, 4, 5]


async def test_a_broken_file_is_listed_with_its_reason(photos: Path) -> None:
    async with detector(photos, ByWidth()) as here:
        result = await here.search(str(photos), "dog")
    assert result.failed == 1
    (failure,) = result.failures
    assert failure.image == str(photos / "broken.jpg")
    assert "; pass a JPEG" in failure.error
    assert failure.code == "image_unreadable"


async def test_the_same_search_again_detects_in_nothing(photos: Path) -> None:
    first, second, third = ByWidth(), ByWidth(), ByWidth()
    async with detector(photos, first) as here:
        before = await here.search(str(photos), "dog")
    async with detector(photos, second) as here:
        again = await here.search(str(photos), "dog")
    async with detector(photos, third) as here:
        by_job = await here.search(job=before.job)
    assert len(first.asked) == before.detected == 5
    assert second.asked == third.asked == []
    assert again == by_job == before.model_copy(update={"detected": 0})


async def test_only_new_and_changed_images_are_detected_in(photos: Path) -> None:
    backend = ByWidth()
    async with detector(photos, backend) as here:
        await here.search(str(photos), "dog")
        (photos / "new.png").write_bytes(png(107))
        (photos / "0.png").write_bytes(png(106))
        (photos / "4.png").unlink()
        result = await here.search(str(photos), "dog")
    assert {asked[0].width for asked in backend.asked[5:]} == {106, 107}
    assert [name for name, _ in summary(result)] == ["new.png", "0.png", "3.png", "copy.png", "2.png", "1.png"]


async def test_another_request_is_another_job(photos: Path) -> None:
    async with detector(photos, ByWidth()) as here:
        jobs = [
            (await here.search(str(photos), "dog")).job,
            (await here.search(str(photos), "cat")).job,
            (await here.search(str(photos), "dog", min_score=0.7)).job,
            (await here.search(str(photos / "*"), "dog")).job,
        ]
    assert len(set(jobs)) == 4


async def test_a_job_is_not_continued_by_another_request(photos: Path) -> None:
    changes: list[tuple[dict[str, Any], str]] = [
        ({"prompts": "cat"}, r'begun with request {"prompts": \["dog"\]}, now {"prompts": \["cat"\]}'),
        ({"min_score": 0.5}, "leave job out to search anew"),
        ({"images": "/elsewhere"}, r'begun with images \[".*photos"\], now \["/elsewhere"\]'),
    ]
    async with detector(photos, ByWidth()) as here:
        job = (await here.search(str(photos), "dog")).job
        for changed, difference in changes:
            with pytest.raises(InputError, match=difference):
                await here.search(job=job, **changed)


async def test_a_job_is_not_continued_by_another_version(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with detector(photos, ByWidth()) as here:
        job = (await here.search(str(photos), "dog")).job
        monkeypatch.setattr(module, "__version__", "99")
        with pytest.raises(InputError, match=r'begun with version ".*", now "99"'):
            await here.search(job=job)


async def test_a_call_that_names_nothing_says_what_to_pass(photos: Path) -> None:
    async with detector(photos, ByWidth()) as here:
        with pytest.raises(InputError, match="nothing is given to search; pass images"):
            await here.search()
        with pytest.raises(InputError, match="both prompts and examples"):
            await here.search(str(photos), "dog", [VisualPrompt(saved="cup")])
        with pytest.raises(NotFoundError, match="there is no job"):
            await here.search(job="abcdefghijklmnop")


@pytest.mark.parametrize(
    ("old", "new"), [('"prompts":["dog"]', '"prompts":7'), ('"images":["', '"images":[7,"'), ('"images"', '"image"')]
)
async def test_a_job_of_another_version_says_so(photos: Path, old: str, new: str) -> None:
    async with detector(photos, ByWidth()) as here:
        job = (await here.search(str(photos), "dog")).job
        (journal,) = (photos.parent / "jobs").glob("own/*/journal.jsonl")
        journal.write_text(journal.read_text("utf-8").replace(old, new), "utf-8")
        for again in (here.search(job=job), here.searches.get(job)):
            with pytest.raises(NotFoundError, match=f"the job {job} is damaged or of another version; search without"):
                await again


async def test_a_job_belongs_to_its_caller(photos: Path) -> None:
    one, two = Caller.with_key("one"), Caller.with_key("two")
    async with detector(photos, ByWidth()) as here:
        job = (await here.search(str(photos), "dog", caller=one)).job
        assert (await here.searches.get(job, one)).found == 5
        for stranger in (two, Caller()):
            with pytest.raises(NotFoundError, match="there is no job"):
                await here.searches.get(job, stranger)
            with pytest.raises(NotFoundError, match="there is no job"):
                await here.search(job=job, caller=stranger)


async def test_two_calls_never_work_on_one_job(photos: Path) -> None:
    backend = ByWidth()

    async def second(_: float, _message: str) -> None:
        if not backend.asked:
            with pytest.raises(BusyError, match="another call works on the job"):
                await here.search(str(photos), "dog")

    async with detector(photos, backend) as here:
        await here.search(str(photos), "dog", progress=second)
    assert len(backend.asked) == 5


async def test_the_cost_is_said_before_anything_is_spent(photos: Path) -> None:
    backend = Paid()
    async with detector(photos, backend) as here:
        result = await here.search(str(photos), "dog", confirm_above=10)
        assert (result.calls, result.done, backend.asked, result.unconfirmed) == (14, 0, [], True)
        heard: list[str] = []

        async def progress(_: float, message: str) -> None:
            if not backend.asked:
                heard.append(message)

        result = await here.search(job=result.job, confirm_above=10, progress=progress)
    assert heard[0] == "7 of 7 images to search: at most 14 calls to fake"
    assert (result.calls, result.done, len(backend.asked), result.unconfirmed) == (0, 7, 5, False)


async def test_a_search_that_costs_more_than_is_allowed_is_refused(photos: Path) -> None:
    backend = Paid()
    async with detector(photos, backend, max_calls_per_job=13) as here:
        with pytest.raises(
            InputError, match=r"7 images take 14 calls to fake, more than the 13 .* raise DINOX_MCP_MAX"
        ):
            await here.search(str(photos), "dog")
    assert backend.asked == []


async def test_what_was_spent_before_counts(photos: Path) -> None:
    async with detector(photos, Paid(), max_calls_per_job=14) as here:
        await here.search(str(photos), "dog")
        (photos / "new.png").write_bytes(png(120))
        (photos / "newer.png").write_bytes(png(121))
        (photos / "newest.png").write_bytes(png(122))
        with pytest.raises(
            InputError, match=r"3 images take 6 calls to fake \(10 were made before\), more than the 14"
        ):
            await here.search(str(photos), "dog")


async def test_an_account_without_credit_is_an_error_or_ends_the_search(photos: Path) -> None:
    backend = ByWidth(error=QuotaError("no credit is left; buy some"))
    async with detector(photos, backend) as here:
        with pytest.raises(QuotaError):
            await here.search([str(photos / "0.png"), str(photos / "1.png")], "dog")
        backend.error = None
        await here.search(str(photos), "dog")
        (photos / "new.png").write_bytes(png(130))
        backend.error = QuotaError("no credit is left; buy some")
        result = await here.search(str(photos), "dog")
    assert (result.stopped, result.total - result.done, result.found) == ("no credit is left; buy some", 1, 5)


async def test_examples_are_searched_for_also_after_a_restart(photos: Path) -> None:
    backend = ByWidth(able=able("examples", "examples in other images"))
    example = VisualPrompt(bbox=(1, 1, 50, 50), image=str(photos / "0.png"), label="dog")
    async with detector(photos, backend) as here:
        job = (await here.search(str(photos / "*.png"), examples=[example])).job
    again = ByWidth(able=backend.able)
    (photos / "new.png").write_bytes(png(130))
    async with detector(photos, again) as here:
        await here.search(job=job)
    for asked in (backend.asked[0], again.asked[0]):
        (one,) = asked[1].examples
        assert asked[2].pictures[one.image] == Picture.from_bytes((photos / "0.png").read_bytes())


@pytest.mark.parametrize("content", [None, b"damaged"])
async def test_a_job_whose_examples_are_lost_says_so(photos: Path, content: bytes | None) -> None:
    example = VisualPrompt(bbox=(1, 1, 50, 50), image=str(photos / "0.png"))
    async with detector(photos, ByWidth(able=able("examples", "examples in other images"))) as here:
        job = (await here.search(str(photos), examples=[example])).job
        (kept,) = (photos.parent / "jobs").glob("own/*/example-*")
        kept.unlink()
        if content is not None:
            kept.write_bytes(content)
        with pytest.raises(NotFoundError, match="has lost the images of its examples; search without job"):
            await here.search(job=job)


async def test_an_example_without_an_image_is_refused(photos: Path) -> None:
    async with detector(photos, ByWidth(able=able("examples"))) as here:
        with pytest.raises(InputError, match="example 1 does not say which image it is in; pass image beside"):
            await here.search(str(photos), examples=[VisualPrompt(bbox=(1, 1, 50, 50))])


async def test_prompts_that_nobody_knows_are_named_once(photos: Path) -> None:
    backend = ByWidth(able=Capabilities(labels=("dog",)), unknown=("narwhal",), unsearched=("narwhal",))
    async with detector(photos, backend) as here:
        result = await here.search(str(photos), ["dog", "narwhal"])
    (note,) = [note for note in result.notes if "narwhal" in note]
    assert "the backend fake cannot find 'narwhal'" in note
    assert result.counts.keys() == {"dog", "cat"}


async def test_a_note_on_many_images_is_one_note(photos: Path) -> None:
    async with detector(photos, ByWidth(notes=("it is dark",))) as here:
        result = await here.search(str(photos), "dog")
    assert result.notes[0] == "it is dark (5 images)"


async def test_an_image_that_was_searched_in_part_is_not_counted_as_empty(photos: Path) -> None:
    class Partly(ByWidth):
        async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
            found = await super().detect(image, request, call)
            return found.model_copy(
                update={"complete": False, "unsearched": ("dog",), "notes": ("not looked for: dog",)}
            )

    async with detector(photos, Partly()) as here:
        result = await here.search(str(photos / "0.png"), ["dog"])
    assert result.failures[0].error == "not looked for: dog"


async def test_the_sheet_shows_the_best_images(photos: Path) -> None:
    async with detector(photos, ByWidth()) as here:
        result = await here.search(str(photos), "dog")
        (photos / "1.png").unlink()
        sheet = await here.searches.sheet(result)
        nothing = await here.searches.sheet(result.model_copy(update={"images": ()}))
    assert sheet is not None
    assert nothing is None
    with Image.open(io.BytesIO(sheet)) as image:
        assert image.width > 2 * 400
        assert image.height < 3 * 400


async def test_a_sheet_does_not_wait_for_slow_images(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with detector(photos, ByWidth()) as here:
        result = await here.search(str(photos), "dog")
        load = here.load

        async def slow(image: str, caller: Caller) -> Picture:
            if image != result.images[0].image:
                await anyio.sleep_forever()
            return await load(image, caller)

        monkeypatch.setattr(here, "load", slow)
        with anyio.fail_after(20):
            assert await here.searches.sheet(result, budget_s=0.2) is not None


async def test_over_http_local_folders_are_refused(photos: Path) -> None:
    async with detector(photos, ByWidth(), transport="http") as here:
        with pytest.raises(InputError, match="files are not readable over HTTP"):
            await here.search(str(photos), "dog")


KILLED = """
import sys
from pathlib import Path
import anyio
from dinox_mcp.detector import Detector
from dinox_mcp.settings import Settings
from tests.fakes import FakeBackend

class Counting(FakeBackend):
    "Writes down each image that it has detected in; stops for ever after some of them."

    async def detect(self, image, request, call):
        log, most = Path(sys.argv[3]), int(sys.argv[4])
        if self.asked and len(self.asked) >= most:
            await anyio.sleep_forever()
        found = await super().detect(image, request, call)
        with log.open("a") as file:
            file.write(image.digest + "\\n")
        return found

async def main():
    settings = Settings(backend="fake", jobs_folder=sys.argv[2])
    async with Detector(settings, [Counting()]) as detector:
        result = await detector.search(sys.argv[1], "dog")
        print(result.done, result.total, result.detected, result.counts["dog"])

anyio.run(main)
"""


@pytest.mark.slow
def test_a_job_that_is_killed_goes_on_and_detects_nothing_twice(tmp_path: Path) -> None:
    photos, jobs, log = tmp_path / "photos", tmp_path / "jobs", tmp_path / "detected"
    photos.mkdir()
    for place in range(20):
        (photos / f"{place:02}.png").write_bytes(png(100 + place))

    def start(most: int) -> "subprocess.Popen[str]":
        program = [sys.executable, "-c", KILLED, str(photos), str(jobs), str(log), str(most)]
        return subprocess.Popen(program, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own program

    def written() -> int:
        return sum(path.read_bytes().count(b'"objects":') for path in jobs.glob("own/*/journal.jsonl"))

    with start(12) as process:
        while written() < 12:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()  # while further images are being worked on
    assert process.returncode == -signal.SIGKILL
    (journal,) = jobs.glob("own/*/journal.jsonl")
    with journal.open("ab") as file:
        file.write(b'{"source": "/cut o')  # as if the kill had hit the middle of a line
    with start(100) as process:
        assert process.stdout is not None
        assert process.stdout.read() == "20 20 8 20\n"
    detected = log.read_text().split()
    assert len(detected) == len(set(detected)) == 20
    assert len([json.loads(line) for line in journal.read_text().splitlines()]) == 22
