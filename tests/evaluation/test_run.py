"""A data set is detected in once, whatever interrupts it, and its report says what the figures are of."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import numpy as np
import pytest

from dinox_mcp.backends.base import Call, Capabilities, silent
from dinox_mcp.detect.options import Options
from dinox_mcp.detector import Detector
from dinox_mcp.errors import BackendError, BusyError, InputError, QuotaError, UnsupportedError
from dinox_mcp.evaluation.datasets import load
from dinox_mcp.evaluation.labelled import Iou
from dinox_mcp.evaluation.report import Report
from dinox_mcp.evaluation.results import DETECTIONS, JOURNAL, REPORT
from dinox_mcp.evaluation.run import Choices, Evaluation
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.store.jobs import lock
from dinox_mcp.types import masks
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections, Keypoint, Output
from dinox_mcp.types.keypoints import BODY
from tests.fakes import FakeBackend, png

pytestmark = pytest.mark.anyio
NAMES = ("dog", "baseball_bat", "bow_(weapon)", "bow_(ribbon)")


@dataclass
class Oracle(FakeBackend):
    """Finds the label of each box at its place: image N has a box of category N, as wide as 10 + N."""

    prompts: list[tuple[str, ...]] = field(default_factory=list)
    stops_after: int = 1000

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        await super().detect(image, request, call)
        if len(self.asked) > self.stops_after:
            raise QuotaError("there is no credit left; top it up")
        wanted = request.prompts or ()
        self.prompts.append(wanted)
        names = ("dog", "baseball bat", "bow weapon", "bow ribbon")
        label = names[image.width - 100]
        found = [Detection(label=label, bbox=(5, 5, 15 + image.width - 100, 25), score=0.5)] if label in wanted else []
        return Detections(model="fake-1", objects=tuple(found), unknown=tuple({"bow ribbon"} & set(wanted)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images with a box of another category each; the last one is broken."""
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(png(100 + number, 50) if number < 3 else b"broken")
    data = {
        "images": [{"id": 10 + number, "file_name": f"{number}.png"} for number in range(4)],
        "categories": [{"id": 20 + number, "name": name} for number, name in enumerate(NAMES)],
        "annotations": [
            {"image_id": 10 + number, "category_id": 20 + number, "bbox": [5, 5, 10 + number, 20]}
            for number in range(4)
        ],
    }
    (tmp_path / "instances.json").write_text(json.dumps(data))
    return tmp_path


async def run(
    folder: Path, backend: FakeBackend, limit: int | None = None, iou: Iou = "bbox", **choices: object
) -> Report:
    dataset = load("count" if choices.get("kind") == "count" else "coco", folder, None, limit, iou)
    async with Detector(Settings.load(backend="fake"), [backend]) as detector:
        chosen = Choices(**{"kind": "coco", **choices})  # type: ignore[arg-type]
        return await Evaluation(detector, dataset, chosen).run(folder / "run", silent)


def figures(report: Report) -> Sequence[float | None]:
    return [one.ap for one in report.precision[0].categories]


async def test_boxes_are_compared_and_what_is_broken_is_left_out(folder: Path) -> None:
    report = await run(folder, Oracle())
    assert report.precision[0].figures["AP"] == pytest.approx(1)
    assert figures(report) == [pytest.approx(1), pytest.approx(1), pytest.approx(1), None]
    assert (report.answered, report.total, report.failed, report.complete) == (3, 4, 1, False)
    assert "3.png" in report.failures[0].line
    assert report.unknown == ("bow ribbon",)
    assert (report.prompts, report.prompt_count, report.model, report.backend) == ("all", 4, "fake-1", "fake")


async def test_the_folder_has_the_report_and_the_boxes_as_coco_has_them(folder: Path) -> None:
    report = await run(folder, Oracle())
    assert Report.model_validate_json((folder / "run" / REPORT).read_text()) == report
    found = json.loads((folder / "run" / DETECTIONS).read_text())
    assert found[1] == {"image_id": 11, "category_id": 21, "bbox": [5, 5, 11, 20], "score": 0.5}
    assert len(found) == 3


@pytest.mark.parametrize("first", [1, None], ids=["in a second run", "in one run"])
async def test_a_copy_with_other_labels_is_left_out_where_only_these_are_searched_for(
    folder: Path, first: int | None
) -> None:
    (folder / "1.png").write_bytes((folder / "0.png").read_bytes())
    await run(folder, Oracle(), first, prompts="present")
    report = await run(folder, Oracle(), 2, prompts="present")
    assert report.answered == 1
    assert "has the same bytes as another one and other labels" in report.failures[0].line


async def test_the_same_run_again_detects_in_nothing(folder: Path) -> None:
    first, second = Oracle(), Oracle()
    before, after = await run(folder, first), await run(folder, second)
    assert (len(first.asked), len(second.asked)) == (3, 0)
    assert (before.detected, after.detected) == (3, 0)
    assert before.precision == after.precision
    assert after.unknown == ("bow ribbon",)


async def test_a_run_that_stopped_goes_on_where_it_was(folder: Path) -> None:
    stopped = await run(folder, Oracle(stops_after=1))
    assert "no credit left" in stopped.stopped
    assert stopped.answered == 1
    rest = Oracle()
    report = await run(folder, rest)
    assert (len(rest.asked), report.answered, report.stopped) == (2, 3, "")


async def test_more_images_may_be_added(folder: Path) -> None:
    await run(folder, Oracle(), limit=1)
    more = Oracle()
    report = await run(folder, more, limit=2)
    assert (len(more.asked), report.answered, report.total) == (1, 2, 2)


async def test_another_request_is_refused_with_the_difference(folder: Path) -> None:
    await run(folder, Oracle())
    with pytest.raises(InputError, match=r"begun with prompts \"all\", now \"present\"; choose another --out"):
        await run(folder, Oracle(), prompts="present")
    with pytest.raises(InputError, match="begun with options"):
        await run(folder, Oracle(), options=Options(min_score=0.5))


async def test_only_prompts_that_are_labelled_in_an_image_are_used(folder: Path) -> None:
    backend = Oracle()
    report = await run(folder, backend, prompts="present")
    assert sorted(backend.prompts) == [("baseball bat",), ("bow weapon",), ("dog",)]
    assert report.prompts == "present"


async def test_many_prompts_take_several_calls(folder: Path) -> None:
    backend = Oracle()
    report = await run(folder, backend, prompts_per_call=3)
    assert len(backend.asked) == 6
    assert {len(prompts) for prompts in backend.prompts} == {3, 1}
    assert report.calls_per_image == 2
    assert figures(report)[0] == pytest.approx(1)


@dataclass
class Paid(Oracle):
    """Takes a call for each request."""

    def calls(self, _request: DetectionRequest) -> int:
        return 1


async def test_what_costs_too_much_is_refused_before_the_first_call(folder: Path) -> None:
    backend = Paid()
    with pytest.raises(InputError, match=r"4 images take 8 calls to fake, more than the 7 .*; pass --max-calls 8"):
        await run(folder, backend, prompts_per_call=3, max_calls=7)
    assert not backend.asked
    assert (await run(folder, backend, prompts_per_call=3, max_calls=8)).answered == 3


async def test_calls_that_were_made_before_count_too(folder: Path) -> None:
    await run(folder, Paid(), limit=1, max_calls=1)
    with pytest.raises(InputError, match=r"1 images take 1 calls to fake \(1 were made before\).*; pass --max-calls 2"):
        await run(folder, Paid(), limit=2, max_calls=1)
    assert (await run(folder, Paid(), limit=1, max_calls=1)).answered == 1, "nothing is left to pay"


async def test_the_cost_is_the_first_message(folder: Path) -> None:
    heard: list[str] = []

    async def hear(_share: float, message: str) -> None:
        heard.append(message)

    async with Detector(Settings.load(backend="fake"), [Paid()]) as detector:
        await Evaluation(detector, load("coco", folder, None), Choices("coco")).run(folder / "run", hear)
    assert heard[0] == "4 of 4 images to detect in: at most 4 calls to fake"


async def test_counts_are_compared(folder: Path) -> None:
    report = await run(folder, Oracle(), kind="count", prompts="present")
    every, *each = report.counts
    assert (every.name, every.counts, every.mae, every.exact) == ("all", 3, 0, 1)
    assert [one.name for one in each] == ["dog", "baseball_bat", "bow_(weapon)"]
    assert report.precision == ()


async def test_counts_of_what_is_absent_are_compared_with_zero(folder: Path) -> None:
    report = await run(folder, Oracle(), kind="count", prompts="all")
    assert report.counts[0].counts == 3 * 4


async def test_a_run_that_answered_nothing_has_no_errors_of_counts(folder: Path) -> None:
    for number in range(3):
        (folder / f"{number}.png").write_bytes(b"broken")
    report = await run(folder, Oracle(), kind="count")
    assert (report.answered, report.counts) == (0, ())


async def test_synonyms_of_one_object_count_once(folder: Path) -> None:
    data = json.loads((folder / "instances.json").read_text())
    data["categories"][0]["synonyms"] = ["hound"]
    (folder / "instances.json").write_text(json.dumps(data))

    class Twice(Oracle):
        async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
            found = await super().detect(image, request, call)
            return found.model_copy(
                update={
                    "objects": (*found.objects, *(one.model_copy(update={"label": "hound"}) for one in found.objects))
                }
            )

    report = await run(folder, Twice(), limit=1, synonyms=True)
    assert report.precision[0].categories[0].found == 1
    assert report.prompt_count == 5


async def test_two_calls_on_one_folder_are_refused(folder: Path) -> None:
    held = lock(folder / "run")
    with pytest.raises(BusyError, match=r"another call works on the run in .*; wait for it"):
        await run(folder, Oracle())
    os.close(held)
    assert (await run(folder, Oracle())).answered == 3


async def test_a_damaged_journal_is_refused(folder: Path) -> None:
    await run(folder, Oracle())
    await anyio.Path(folder / "run" / JOURNAL).write_text("nonsense\n")
    with pytest.raises(InputError, match="is damaged or of another version; choose another --out"):
        await run(folder, Oracle())


async def test_an_image_of_another_size_is_a_note(folder: Path) -> None:
    data = json.loads((folder / "instances.json").read_text())
    data["images"][0] |= {"width": 50, "height": 100}
    (folder / "instances.json").write_text(json.dumps(data))
    report = await run(folder, Oracle())
    assert report.notes == (
        "1 images have another size than the annotations say, so boxes may not fit: 0.png has 100x50 instead of 50x100",
    )


def add_shapes(folder: Path) -> None:
    """Give each labelled object the mask of its box, and those of the first category points on its diagonal."""
    data = json.loads((folder / "instances.json").read_text())
    data["categories"][0]["keypoints"] = list(BODY)
    for number, image in enumerate(data["images"]):
        image |= {"width": 100 + number, "height": 50}
    for one in data["annotations"]:
        x, y, width, height = one["bbox"]
        one["segmentation"] = [[x, y, x + width, y, x + width, y + height, x, y + height]]
        if one["category_id"] == 20:
            one["keypoints"] = [number for place in range(17) for number in (5 + place, 5 + place, 2)]
    (folder / "instances.json").write_text(json.dumps(data))


@dataclass
class Drawing(Oracle):
    """Gives masks with the objects, and keypoints of boxes afterwards."""

    able: Capabilities = field(
        default_factory=lambda: Capabilities(outputs=frozenset({"masks"}), describes=frozenset({"pose"}))
    )
    fails: bool = False

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        found = await super().detect(image, request, call)
        if "masks" not in request.include:
            return found
        bits = np.zeros((image.height, image.width), bool)
        for one in found.objects:
            bits[int(one.bbox[1]) : int(one.bbox[3]), int(one.bbox[0]) : int(one.bbox[2])] = True
        drawn = [one.model_copy(update={"mask": masks.encode(bits)}) for one in found.objects]
        return found.model_copy(update={"objects": tuple(drawn)})

    async def describe(
        self, _image: Picture, objects: Sequence[Detection], _include: frozenset[Output], _call: Call
    ) -> Detections:
        if self.fails:
            raise BackendError("the model of poses is missing; install it")
        points = tuple(Keypoint(name=name, x=5 + n, y=5 + n, score=0.5) for n, name in enumerate(BODY))
        posed = tuple(one.model_copy(update={"keypoints": points}) for one in objects)
        return Detections(model="poses-1", objects=posed)


async def test_masks_are_compared_and_written_without_boxes(folder: Path) -> None:
    add_shapes(folder)
    report = await run(folder, Drawing(), iou="segm")
    assert (report.iou, figures(report)[:3]) == ("segm", [pytest.approx(1)] * 3)
    first = json.loads((folder / "run" / DETECTIONS).read_text())[0]
    assert set(first) == {"image_id", "category_id", "score", "segmentation"}
    assert first["segmentation"]["size"] == [50, 100]


async def test_a_wrong_pose_is_drawn_with_the_score_that_the_threshold_is_compared_with(folder: Path) -> None:
    add_shapes(folder)
    data = json.loads((folder / "instances.json").read_text())
    data["annotations"][0]["keypoints"] = [80, 40, 2] * len(BODY)
    (folder / "instances.json").write_text(json.dumps(data))
    dataset = load("coco", folder, None, 1, "keypoints")
    async with Detector(Settings.load(backend="fake"), [Drawing()]) as detector:
        evaluation = Evaluation(detector, dataset, Choices("coco"))
        await evaluation.run(folder / "run", silent, page=folder / "page.html")
    assert ">dog 0.50</text>" in (folder / "page.html").read_text(), "of the box; that of the pose is 0.25"


async def test_keypoints_that_come_after_the_boxes_are_compared(folder: Path) -> None:
    add_shapes(folder)
    backend = Drawing()
    report = await run(folder, backend, limit=1, iou="keypoints")
    assert figures(report) == [pytest.approx(1)]
    assert backend.prompts == [("dog",)], "only categories with keypoints are searched for"
    (pose,) = json.loads((folder / "run" / DETECTIONS).read_text())
    assert set(pose) == {"image_id", "category_id", "score", "keypoints"}
    assert pose["score"] == pytest.approx(0.25), "that of the box times that of the points"


async def test_an_image_whose_keypoints_fail_is_not_answered(folder: Path) -> None:
    add_shapes(folder)
    report = await run(folder, Drawing(fails=True), limit=1, iou="keypoints")
    assert report.answered == 0
    assert "the model of poses is missing" in report.failures[0].line


async def test_what_the_backend_cannot_give_is_refused_before_the_first_image(folder: Path) -> None:
    add_shapes(folder)
    with pytest.raises(UnsupportedError, match="the backend fake cannot do masks"):
        await run(folder, Oracle(), iou="segm")


async def test_objects_without_a_mask_are_left_out_and_said(folder: Path) -> None:
    add_shapes(folder)

    @dataclass
    class Bare(Drawing):
        async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
            return await super().detect(image, request.model_copy(update={"include": frozenset()}), call)

    report = await run(folder, Bare(), iou="segm")
    assert "3 found objects have no mask and are left out" in report.notes
    assert figures(report)[:3] == [0, 0, 0]
