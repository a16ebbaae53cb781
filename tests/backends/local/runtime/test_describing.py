"""From boxes to more known of each, through real, tiny, random models and through doubles."""

# ruff: noqa: ANN401 - doubles take what they are given
import io
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
import pytest

from dinox_mcp.backends.base import Call, Describer
from dinox_mcp.backends.local.backend import LocalBackend, Workers
from dinox_mcp.backends.local.checkpoints.checkpoint import Checkpoint
from dinox_mcp.backends.local.models import regions
from dinox_mcp.backends.local.models.base import Prepared, check
from dinox_mcp.backends.local.models.sam2_torch import Sam2
from dinox_mcp.backends.local.runtime.describing import DESCRIBES, describe
from dinox_mcp.detector import Detector
from dinox_mcp.errors import BackendError, DeadlineError, ImageError, SettingsError, UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Detection, Keypoint, Output
from dinox_mcp.types.keypoints import BODY
from dinox_mcp.types.masks import area, decode
from tests.backends.local.fakes import FakeModel
from tests.backends.local.pictures import picture as draw

if TYPE_CHECKING:
    from dinox_mcp.backends.local.checkpoints.presets import Role

pytestmark = pytest.mark.anyio
Checkpoints = Callable[[str], Path]
MODELS = {"masks_model": "sam2", "pose_model": "vitpose", "caption_model": "florence2"}


def picture(width: int, height: int, seed: int = 0) -> Picture:
    buffer = io.BytesIO()
    draw(width, height, seed).save(buffer, "PNG")
    return Picture.from_bytes(buffer.getvalue(), "photo.png")


PHOTO = picture(160, 120)
MAN = Detection(label="man in red", bbox=(40, 10, 90, 110), score=0.9)
DOG = Detection(label="dog", bbox=(100, 70, 150, 115), score=0.8)
THINGS = (DOG, MAN)


@dataclass
class FakeState:
    nbytes: int = 10


@dataclass
class FakeDescriber:
    """Says of each box where it begins; each turn takes `turn_s`, in which it can be stopped."""

    turn_s: float = 0.0
    at_once: int = 2
    reuses_text: bool = False
    looks: int = 0
    asked: list[tuple[Output, int]] = field(default_factory=list)
    failure: Exception | None = None

    def prepare(self, image: Any) -> Prepared:
        return Prepared(np.zeros((3, 1, 1), dtype=np.float32), image.size)

    def encode(self, batch: Sequence[Prepared]) -> list[FakeState]:
        self.looks += len(batch)
        return [FakeState() for _ in batch]

    def describe(self, _state: Any, boxes: Sequence[Box], output: Output) -> list[Any]:
        for _ in range(20):
            check()
            time.sleep(self.turn_s / 20)
        if self.failure:
            raise self.failure
        self.asked.append((output, len(boxes)))
        if output == "pose":
            return [tuple(Keypoint(name=name, x=x1, y=y1) for name in BODY) for x1, y1, _, _ in boxes]
        return [f"{output} at {x1:g}" for x1, *_ in boxes]


class Fakes:
    """Describing with doubles for its models, by their roles."""

    def __init__(self, **settings: Any) -> None:
        self.models: dict[Role, FakeModel] = {
            role: FakeModel(f"org/{role}", FakeDescriber(), nbytes=100) for role in ("masks", "pose", "caption")
        }
        loaded = Settings.load(models_max_bytes=250, features_max_bytes=1000, **settings)
        self.workers = Workers(loaded, lambda _name, role, **_: self.models[role])

    async def ask(
        self, objects: Sequence[Detection], *include: Output, image: Picture = PHOTO, call: Call | None = None
    ) -> Any:
        return await describe(
            self.workers.get, self.workers.settings, image, objects, frozenset(include), call or Call()
        )


@pytest.fixture
async def fakes() -> Any:
    made = Fakes()
    yield made
    await made.workers.aclose()


async def test_real_models_give_every_output_of_each_box(
    checkpoint: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regions, "LONGEST", dict.fromkeys(regions.PROMPTS, 12))
    settings = Settings.load(**{name: str(checkpoint(kind)) for name, kind in MODELS.items()})
    backend = LocalBackend(settings)
    assert isinstance(backend, Describer)
    assert backend.capabilities().describes == DESCRIBES == {"masks", "pose", "caption", "category", "text"}
    told = await backend.describe(PHOTO, THINGS, DESCRIBES, Call())
    again = await backend.describe(PHOTO, THINGS, DESCRIBES, Call())
    await backend.aclose()
    dog, man = told.objects
    assert (dog.label, dog.bbox, dog.score) == ("dog", DOG.bbox, 0.8)
    for thing in (dog, man):
        assert thing.mask
        assert decode(thing.mask).shape == (120, 160)
    assert {point.name for point in man.keypoints} <= set(BODY)
    assert man.keypoints
    assert not dog.keypoints
    assert dog.caption or man.caption
    assert told.model.split(" + ") == [checkpoint(kind).name for kind in ("sam2", "vitpose", "florence2")]
    assert told.notes == (
        f"masks by {checkpoint('sam2').name}",
        f"poses by {checkpoint('vitpose').name}",
        f"captions and categories and texts by {checkpoint('florence2').name}",
    )
    assert again == told  # from features that were kept


async def test_a_request_may_include_masks_whatever_model_finds_the_boxes(
    checkpoint: Checkpoints, tmp_path: Path
) -> None:
    draw(160, 120).save(tmp_path / "photo.png")
    settings = Settings.load(
        backend="local", model=str(checkpoint("owlv2")), masks_model=str(checkpoint("sam2")), model_process="same"
    )
    async with Detector(settings) as detector:
        result = await detector.detect(
            str(tmp_path / "photo.png"), ["dog"], min_score=0, max_objects=5, include=["masks"]
        )
    assert len(result.objects) == 5
    assert all(thing.mask and thing.mask.size == (120, 160) for thing in result.objects)
    assert any(checkpoint("sam2").name in note for note in result.notes)


async def test_without_features_that_are_kept_it_is_the_same(checkpoint: Checkpoints) -> None:
    answers = []
    for size in (0, 10_000_000):
        backend = LocalBackend(Settings.load(masks_model=str(checkpoint("sam2")), features_max_bytes=size))
        for _ in range(2):
            answers.append(await backend.describe(PHOTO, THINGS, frozenset({"masks"}), Call()))  # noqa: PERF401
        await backend.aclose()
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize("output", ["masks", "pose", "category"])
async def test_half_precision_reports_much_the_same(
    checkpoint: Checkpoints, monkeypatch: pytest.MonkeyPatch, output: Output
) -> None:
    monkeypatch.setattr(regions, "LONGEST", dict.fromkeys(regions.PROMPTS, 12))
    monkeypatch.setattr("dinox_mcp.backends.local.checkpoints.precision.slowness", lambda: None)
    names = {name: str(checkpoint(kind)) for name, kind in MODELS.items()}
    told = []
    for precision in ("float32", "bfloat16"):
        backend = LocalBackend(Settings.load(device="cpu", precision=precision, **names))
        told.append(await backend.describe(PHOTO, [MAN], frozenset({output}), Call()))
        await backend.aclose()
    exact, rough = told
    assert exact.notes == ()
    assert rough.notes[0].endswith("were computed in bfloat16")
    (one,), (other,) = exact.objects, rough.objects
    if one.mask and other.mask:
        assert np.mean(decode(one.mask) == decode(other.mask)) > 0.9
    assert len(one.keypoints) == pytest.approx(len(other.keypoints), abs=2)
    assert (one.category is None) == (other.category is None)


async def test_masks_of_many_objects_are_as_large_as_the_image(checkpoint: Checkpoints) -> None:
    backend = LocalBackend(Settings.load(masks_model=str(checkpoint("sam2"))))
    things = [DOG.model_copy(update={"bbox": (9 * i, 7 * i, 9 * i + 60, 7 * i + 80)}) for i in range(30)]
    told = await backend.describe(picture(640, 480), things, frozenset({"masks"}), Call())
    await backend.aclose()
    assert all(thing.mask and thing.mask.size == (480, 640) for thing in told.objects)
    assert sum(area(thing.mask) for thing in told.objects if thing.mask) > 0


@pytest.mark.parametrize("include", [(), ("masks",), ("pose", "caption")])
async def test_nothing_to_describe_loads_nothing(fakes: Fakes, include: tuple[Output, ...]) -> None:
    told = await fakes.ask([], *include)
    assert (told.objects, told.notes, told.model) == ((), (), "")
    assert not any(model.loads for model in fakes.models.values())


async def test_objects_keep_their_order_and_are_described_some_at_a_time(fakes: Fakes) -> None:
    things = [DOG.model_copy(update={"bbox": (i, 0, i + 10, 10)}) for i in range(5)]
    told = await fakes.ask(things, "caption")
    assert [thing.caption for thing in told.objects] == [f"caption at {i}" for i in range(5)]
    assert told.model == "org/caption@1234567"
    assert told.notes == ()
    assert fakes.models["caption"].adapter.asked == [("caption", 2), ("caption", 2), ("caption", 1)]


async def test_a_image_is_encoded_once_for_all_words(fakes: Fakes) -> None:
    await fakes.ask(THINGS, "caption", "category", "text")
    await fakes.ask(THINGS, "text")
    model = fakes.models["caption"]
    assert (model.loads, model.adapter.looks) == (1, 1)


async def test_only_people_have_poses(fakes: Fakes) -> None:
    told = await fakes.ask(THINGS, "pose")
    dog, man = told.objects
    assert dog == DOG
    assert [(point.name, point.x) for point in man.keypoints[:2]] == [("nose", 40), ("left_eye", 40)]
    assert fakes.models["pose"].adapter.asked == [("pose", 1)]


async def test_without_people_nothing_is_loaded_for_poses(fakes: Fakes) -> None:
    told = await fakes.ask([DOG], "pose")
    assert told.objects == (DOG,)
    assert told.notes == ("no object is a person by its label, so there are no poses",)
    assert not fakes.models["pose"].loads


async def test_a_new_pose_replaces_the_old_one_and_leaves_the_hands(fakes: Fakes) -> None:
    points = (Keypoint(name="nose", x=1, y=1), Keypoint(name="thumb_tip", x=2, y=2))
    told = await fakes.ask([MAN.model_copy(update={"keypoints": points})], "pose")
    names = [point.name for point in told.objects[0].keypoints]
    assert sorted(names) == sorted([*BODY, "thumb_tip"])
    assert told.objects[0].keypoints[0].x == 40


async def test_boxes_are_cut_at_the_image_s_edge_and_left_alone_beyond_it(fakes: Fakes) -> None:
    things = [
        DOG.model_copy(update={"bbox": bbox})
        for bbox in [(-50, -5, 30, 30), (200, 200, 300, 300), (5, 5, 5, 80), (150, 100, 120, 90)]
    ]
    told = await fakes.ask(things, "caption")
    assert [thing.caption for thing in told.objects] == ["caption at 0", None, None, "caption at 120"]
    assert [thing.bbox for thing in told.objects] == [thing.bbox for thing in things]
    assert told.notes == ("2 of 4 boxes lie outside the image and were left as they are",)


async def test_what_the_model_says_nothing_of_stays_as_it_is(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeDescriber, "describe", lambda *_: [None])
    told = await fakes.ask([DOG.model_copy(update={"caption": "a dog"})], "caption")
    assert told.objects[0].caption == "a dog"


async def test_progress_names_what_is_done_and_never_goes_back(fakes: Fakes) -> None:
    heard: list[tuple[float, str]] = []

    async def hear(fraction: float, message: str) -> None:
        heard.append((fraction, message))

    things = [MAN.model_copy(update={"bbox": (i, 0, i + 10, 10)}) for i in range(5)]
    await fakes.ask(things, "masks", "pose", "caption", call=Call(hear))
    messages = [message for _, message in heard]
    assert [message for message in messages if " of 5" in message] == [
        f"{kind} {first} of 5" for kind in ("mask", "pose", "caption") for first in (1, 3, 5)
    ]
    fractions = [fraction for fraction, _ in heard]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] <= fractions[-1] <= 1


async def test_a_slow_turn_says_what_it_does(fakes: Fakes) -> None:
    fakes.models["caption"].adapter.turn_s = 0.8
    heard: list[str] = []

    async def hear(_: float, message: str) -> None:
        heard.append(message)

    await fakes.ask([DOG], "caption", call=Call(hear))
    assert heard.count("caption 1 of 1") >= 2
    assert "finding objects" not in heard


async def test_cancelling_stops_the_model_soon(fakes: Fakes) -> None:
    adapter = fakes.models["caption"].adapter
    await fakes.ask([DOG], "caption")
    adapter.turn_s = 5.0
    with anyio.move_on_after(0.2):
        await fakes.ask([DOG], "caption")
    adapter.turn_s = 0.0
    start = time.perf_counter()
    await fakes.ask([DOG], "category")
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(("kind", "family"), [("masks", Sam2), ("caption", regions.Florence2)])
async def test_cancelling_stops_real_models_soon(
    checkpoint: Checkpoints, kind: Output, family: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.load(**{name: str(checkpoint(model)) for name, model in MODELS.items()})
    backend = LocalBackend(settings)
    await backend.describe(PHOTO, THINGS, frozenset({kind}), Call())
    parts: list[int] = []
    describe_part = family.describe

    def counted(self: Any, features: Any, boxes: Sequence[Box], output: Output) -> Any:
        parts.append(len(boxes))
        return describe_part(self, features, boxes, output)

    monkeypatch.setattr(family, "describe", counted)
    async with anyio.create_task_group() as group:
        group.start_soon(backend.describe, PHOTO, THINGS * 500, frozenset({kind}), Call())
        with anyio.fail_after(20):
            while not parts:  # noqa: ASYNC110 - a thread changes it, and sets no event
                await anyio.sleep(0.001)
        group.cancel_scope.cancel()
    await backend.aclose()
    assert len(parts) < 100, "of 250"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dinox-mcp")]


async def test_what_is_known_when_time_is_up_is_kept() -> None:
    fakes = Fakes(timeout_s=0.5)
    fakes.models["caption"].adapter.turn_s = 0.2
    things = [DOG.model_copy(update={"bbox": (i, 0, i + 10, 10)}) for i in range(20)]
    told = await fakes.ask(things, "masks", "caption")
    done = [thing for thing in told.objects if thing.caption]
    assert 0 < len(done) < 20
    assert f"within 0.5 s there were {len(done)} of 20 captions; try again with fewer objects" in told.notes[-1]
    await fakes.workers.aclose()


async def test_nothing_known_when_time_is_up_is_an_error() -> None:
    fakes = Fakes(timeout_s=0.2)
    fakes.models["caption"].adapter.turn_s = 5
    with pytest.raises(DeadlineError, match=r"within 0.2 s there were 0 of 1 captions; .*DINOX_MCP_TIMEOUT_S"):
        await fakes.ask([DOG], "caption")
    await fakes.workers.aclose()


async def test_a_model_that_fails_is_explained(fakes: Fakes) -> None:
    fakes.models["masks"].adapter.failure = RuntimeError("shapes differ")
    with pytest.raises(BackendError, match="the model failed: shapes differ; try again"):
        await fakes.ask([DOG], "masks")


def test_running_out_of_memory_names_the_smallest_model_of_the_role() -> None:
    explained = Checkpoint(None, Settings.load(device="cpu"), role="masks").explain(MemoryError())
    assert "choose a smaller model (DINOX_MCP_MASKS_MODEL=sam2.1-tiny)" in str(explained)


async def test_a_damaged_image_fails_its_own_request(fakes: Fakes) -> None:
    damaged = Picture(PHOTO.data[:300], 160, 120, "PNG", "photo.png")
    with pytest.raises(ImageError, match=r"photo\.png"):
        await fakes.ask([DOG], "caption", image=damaged)
    assert (await fakes.ask([DOG], "caption")).objects[0].caption


async def test_models_share_the_memory_budget(fakes: Fakes) -> None:
    await fakes.ask([MAN], "masks", "pose", "caption")  # each takes 100 of 250
    await fakes.ask([MAN], "masks")
    assert [fakes.models[role].loads for role in ("masks", "pose", "caption")] == [2, 1, 1]


@pytest.mark.parametrize(
    ("settings", "output", "kind", "message"),
    [
        ({"masks_model": "sam2.1-tyni"}, "masks", SettingsError, "DINOX_MCP_MASKS_MODEL: .* did you mean sam2.1-tiny"),
        ({"masks_model": "balanced"}, "masks", SettingsError, "not a model for it but one for DINOX_MCP_MODEL"),
        ({"caption_model": "vitpose"}, "caption", UnsupportedError, "type 'vitpose' cannot be used for caption; "),
        ({"caption_model": "owlv2"}, "caption", UnsupportedError, "choose florence2 for DINOX_MCP_CAPTION_MODEL"),
    ],
)
async def test_wrong_models_are_refused_by_the_name_of_their_setting(
    checkpoint: Checkpoints, settings: dict[str, str], output: Output, kind: type[Exception], message: str
) -> None:
    names = {
        name: str(checkpoint(value)) if value in {"vitpose", "owlv2"} else value for name, value in settings.items()
    }
    backend = LocalBackend(Settings.load(**names))
    with pytest.raises(kind, match=message):
        await backend.describe(PHOTO, [DOG], frozenset({output}), Call())
    await backend.aclose()


async def test_a_model_that_describes_finds_nothing(checkpoint: Checkpoints) -> None:
    from dinox_mcp.types.detection import DetectionRequest

    backend = LocalBackend(Settings.load(model=str(checkpoint("sam2"))))
    with pytest.raises(UnsupportedError, match=r"type 'sam2' find no objects, they are for masks; .*MASKS_MODEL"):
        await backend.detect(PHOTO, DetectionRequest(prompts=("dog",)), Call())
    await backend.aclose()


async def test_what_cannot_be_fetched_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    backend = LocalBackend(Settings.load(device="cpu"))
    with pytest.raises(BackendError, match=r"sam2.1-hiera-tiny is not on this machine .*set DINOX_MCP_MASKS_MODEL"):
        await backend.describe(PHOTO, [DOG], frozenset({"masks"}), Call())
    await backend.aclose()
