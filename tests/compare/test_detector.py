"""`Detector.compare`: both images are detected in, and the comparison is kept."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio
import pytest
from PIL import Image

from dinox_mcp.backends.base import Call
from dinox_mcp.detect.options import Caller
from dinox_mcp.detector import Detector
from dinox_mcp.errors import InputError, NotFoundError, ServiceError
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections
from tests.compare.scenes import Knowing, picture, put, room
from tests.compare.test_run import HERE, THERE, parcel
from tests.fakes import FakeBackend, detector_with

pytestmark = pytest.mark.anyio

BEFORE, AFTER = picture(room()), picture(put(put(room(), HERE), THERE))
SMALL = picture(room()[:72, :96].copy())
"""An image that is compared with itself, where it does not matter what is found."""


def knowing(*found: Detection) -> Knowing:
    return Knowing(known={AFTER.digest: found})


async def test_changes_name_the_objects_of_two_kept_results() -> None:
    async with detector_with(knowing(parcel(HERE), parcel(THERE))) as detector:
        found = await detector.compare(BEFORE, AFTER)
        assert [change.kind for change in found.changes] == ["appeared", "appeared"]
        assert found.counts == {"appeared": 2}
        assert detector.result(found.after.result_id).result.objects[0].bbox == HERE
        assert detector.result(found.before.result_id).result.counts == {}


async def test_with_prompts_only_these_are_compared() -> None:
    backend = knowing(parcel(HERE), parcel(THERE, label="crate"))
    async with detector_with(backend) as detector:
        found = await detector.compare(BEFORE, AFTER, ["crate"], min_score=0.1)
    assert [(change.kind, change.label) for change in found.changes] == [("appeared", "crate")]
    assert {request.min_score for _, request, _ in backend.asked} == {0.1}


async def test_images_of_different_scenes_cost_no_call() -> None:
    backend = knowing()
    async with detector_with(backend) as detector:
        with pytest.raises(InputError, match="cannot be registered"):
            await detector.compare(BEFORE, picture(room(1)))
    assert not backend.asked


async def test_an_error_of_the_backend_is_raised_as_it_is() -> None:
    async with detector_with(FakeBackend(error=ServiceError("it failed; try again"))) as detector:
        with pytest.raises(ServiceError, match="it failed"):
            await detector.compare(SMALL, SMALL)


async def test_progress_covers_both_detections() -> None:
    heard: list[tuple[float, str]] = []

    async def progress(share: float, message: str) -> None:
        heard.append((share, message))

    async with detector_with(knowing()) as detector:
        await detector.compare(BEFORE, AFTER, progress=progress)
    assert {message.partition(":")[0] for _, message in heard} == {"before", "after"}
    assert max(share for share, _ in heard) == pytest.approx(0.45)


@dataclass
class Waiting(FakeBackend):
    """A backend that never answers, and counts the requests that were cancelled."""

    waiting: list[Picture] = field(default_factory=list)
    cancelled: list[Picture] = field(default_factory=list)
    both: anyio.Event = field(default_factory=anyio.Event)

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        del request, call
        self.waiting.append(image)
        if len(self.waiting) == 2:
            self.both.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.cancelled.append(image)
        raise AssertionError


async def test_both_detections_run_at_once_and_are_cancelled_together() -> None:
    backend = Waiting()
    async with detector_with(backend) as detector, anyio.create_task_group() as group:
        group.start_soon(detector.compare, SMALL, SMALL)
        await backend.both.wait()
        group.cancel_scope.cancel()
    assert len(backend.cancelled) == 2


async def test_the_side_by_side_image_is_an_image_like_others() -> None:
    async with detector_with(knowing(parcel(HERE))) as detector:
        found = await detector.compare(BEFORE, AFTER)
        shown = await detector.load(f"dinox://comparisons/{found.comparison_id}/side-by-side.jpg")
        assert shown.data == await detector.comparisons.side_by_side(found.comparison_id)
        with Image.open(
            io.BytesIO(await detector.comparisons.side_by_side(found.comparison_id, mime_type="image/png"))
        ) as image:
            assert image.format == "PNG"


async def _kept(detector: Detector, callers: Sequence[Caller]) -> str:
    found = [await detector.compare(SMALL, SMALL, caller=caller) for caller in callers]
    return found[0].comparison_id


async def test_a_comparison_belongs_to_its_caller() -> None:
    mine, other = Caller.with_key("mine"), Caller.with_key("other")
    async with detector_with(knowing()) as detector:
        name = await _kept(detector, [mine])
        assert (await detector.comparisons.get(name, mine)).comparison_id == name
        with pytest.raises(NotFoundError, match=r"no comparison .*; call compare_images again"):
            await detector.comparisons.get(name, other)


@pytest.mark.slow
async def test_old_comparisons_are_removed() -> None:
    async with detector_with(knowing()) as detector:
        name = await _kept(detector, [Caller.with_key("mine")] * 11)
        with pytest.raises(NotFoundError, match="the last 10 are kept"):
            await detector.comparisons.get(name, Caller.with_key("mine"))


async def test_a_wrong_request_is_refused_before_the_images_are_read() -> None:
    async with detector_with(knowing()) as detector:
        with pytest.raises(InputError, match="max_objects"):
            await detector.compare("missing.png", "missing.png", max_objects=0)
