"""Which backend answers which part of a question, where the settings leave that to the question."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from dinox_mcp.backends.base import Call, Capabilities, Fit, Unready
from dinox_mcp.backends.registry import Backends
from dinox_mcp.detect.routing import Plan, Router
from dinox_mcp.detect.visual_prompts import VisualPrompt
from dinox_mcp.detector import Detector
from dinox_mcp.errors import QuotaError, ServiceError, SettingsError, UnreachableError, UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections, Need, Output
from tests.fakes import CODE, DOG, DescribingBackend, FakeBackend, picture

pytestmark = pytest.mark.anyio

ALL: frozenset[Need] = frozenset({"text prompts", "prompt-free detection", "examples", "saved prompts"})
MASKS: frozenset[Output] = frozenset({"masks"})


@dataclass
class Cloud(FakeBackend):
    """Knows any noun, like a service."""

    name: str = "cloud"
    able: Capabilities = field(default_factory=lambda: Capabilities(ALL | {"descriptions"}, outputs=MASKS))
    PREFERENCE: int = 200


@dataclass
class Here(DescribingBackend):
    """Reads codes, knows dogs and cats, and looks for any other word in the text."""

    name: str = "here"
    able: Capabilities = field(
        default_factory=lambda: Capabilities(
            ALL,
            describes=frozenset({"text", "pose"}),
            labels=("dog", "cat", "QR code"),
            reads=("QR code",),
            min_score=0.35,
            iou_threshold=0.5,
            thorough="fake-1",
        )
    )
    PREFERENCE: int = 100

    def fit(self, prompt: str) -> Fit:
        return {"QR code": Fit.EXACT, "dog": Fit.KNOWN, "cat": Fit.KNOWN}.get(prompt, Fit.WORDS)


def detector_with(*backends: FakeBackend, backend: str = "auto") -> Detector:
    return Detector(Settings.load(backend=backend), backends=backends)


def plan(*backends: FakeBackend, settings: Settings | None = None, **question: object) -> Plan:
    router = Router(Backends(settings or Settings.load(), backends))
    return router.plan(DetectionRequest.model_validate(question))


def parts(plan: Plan) -> dict[str, tuple[str, ...] | None]:
    return {part.backend: part.request.prompts for part in plan.parts}


def test_what_is_read_exactly_is_never_paid_for() -> None:
    asked = plan(Cloud(), Here(), prompts=("forklift", "QR code", "dog"))
    assert parts(asked) == {"cloud": ("forklift", "dog"), "here": ("QR code",)}


def test_one_backend_that_answers_all_is_asked_once() -> None:
    assert parts(plan(Cloud(), Here(), prompts=("QR code",))) == {"here": ("QR code",)}
    assert parts(plan(Here(), prompts=("QR code", "dog", "forklift"))) == {"here": ("QR code", "dog", "forklift")}


def test_without_a_prompt_everything_is_found_and_codes_are_read() -> None:
    asked = parts(plan(Cloud(), Here()))
    assert (asked["cloud"], asked["here"]) == (None, ("QR code",))
    assert "QR code" not in (asked["embedded"] or ()), "what one backend reads, no other is asked for"
    assert parts(plan(Here()))["here"] is None


def test_a_backend_that_gives_the_outputs_comes_first() -> None:
    second = Cloud(name="second", able=Capabilities(ALL, outputs=frozenset({"hands"})), PREFERENCE=150)
    assert parts(plan(Cloud(), second, prompts=("dog",), include={"hands"})) == {"second": ("dog",)}


def test_sentences_and_saved_prompts_go_to_who_understands_them() -> None:
    assert plan(Here(), Cloud(), description="the left dog").backend == "cloud"
    saved = {"label": "dog", "embedding": {"backend": "here", "model": "m", "data": "AAAA"}}
    assert plan(Cloud(), Here(), examples=(saved,)).backend == "here"


def test_a_named_backend_or_model_is_asked_alone() -> None:
    backends = [Cloud(able=Capabilities(reads=())), Here()]
    named = Router(Backends(Settings.load(backend="cloud"), backends)).plan(DetectionRequest(prompts=("QR code",)))
    assert parts(named) == {"cloud": ("QR code",)}
    assert parts(plan(*backends, prompts=("QR code", "forklift"), model="fake-1")) == {"cloud": ("QR code", "forklift")}


def test_thresholds_are_the_models_own_unless_the_caller_gives_them() -> None:
    own = plan(Here(), prompts=("dog",)).request
    assert (own.min_score, own.iou_threshold) == (0.35, 0.5)
    given = plan(Here(), prompts=("dog",), min_score=0.1).request
    assert (given.min_score, given.iou_threshold) == (0.1, 0.5)
    assert plan(Here(), examples=({"bbox": (0, 0, 9, 9)},)).request.min_score == 0.25


def test_the_thorough_model_is_asked_unless_time_is_short_or_the_image_is_cut_in_tiles() -> None:
    assert plan(Here(), prompts=("dog",)).request.model == "fake-1"
    assert plan(Here(), prompts=("dog",), tiles=2).request.model is None
    question = DetectionRequest(prompts=("dog",))
    assert Router(Backends(Settings.load(), [Here()])).plan(question, thorough=False).request.model is None


async def test_the_result_says_who_found_what() -> None:
    detector = detector_with(Cloud([DOG]), Here([CODE]))
    result = await detector.detect(picture(), ["dog house", "QR code"])
    assert result.backend == "cloud + here"
    assert [(one.backend, one.labels) for one in result.sources] == [("cloud", ("dog house",)), ("here", ("QR code",))]
    assert [(one.id, one.label) for one in result.objects] == [(1, "dog"), (2, "QR code")]


@pytest.mark.slow
async def test_a_code_that_both_found_is_listed_once_as_it_was_read() -> None:
    seen = Detection(label="qr code", bbox=(5, 5, 25, 26), score=0.8)
    result = await detector_with(Cloud([DOG, seen]), Here([CODE])).detect(picture())
    assert [(one.label, one.text) for one in result.objects] == [("dog", None), ("QR code", CODE.text)]


@pytest.mark.parametrize("error", [UnreachableError("no network"), QuotaError("no credit")])
async def test_where_a_service_is_out_of_reach_another_backend_answers_and_a_note_says_so(error: Exception) -> None:
    result = await detector_with(Cloud(error=error), Here([DOG])).detect(picture(), "dog")
    assert result.backend == "here"
    assert any("cloud did not answer, so here was used" in note for note in result.notes)


async def test_where_nobody_else_knows_a_prompt_the_error_stays() -> None:
    with pytest.raises(UnreachableError, match="no network"):
        await detector_with(Cloud(error=UnreachableError("no network")), Here()).detect(picture(), "forklift")


async def test_a_part_that_fails_does_not_lose_the_others() -> None:
    detector = detector_with(Cloud(error=ServiceError("it broke")), Here([CODE]))
    result = await detector.detect(picture(), ["forklift", "QR code"])
    assert result.counts == {"QR code": 1}
    assert "not looked for (forklift): it broke" in result.notes
    again = await detector.detect(picture(), ["forklift", "QR code"])
    assert not again.cached


@dataclass
class Half(Here):
    """Reads codes, and breaks where it is asked for dogs."""

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        if request.prompts == ("dog",):
            raise ServiceError("no dogs today")
        return await super().detect(image, request, call)


async def test_a_part_whose_stand_in_fails_too_does_not_lose_the_others() -> None:
    detector = detector_with(Cloud(error=UnreachableError("no network")), Half([CODE]))
    result = await detector.detect(picture(), ["dog", "QR code"])
    assert result.counts == {"QR code": 1}
    both = "no network; the backend here, used instead, failed too: no dogs today"
    assert f"not looked for (dog): {both}" in result.notes


@dataclass
class NotDownloaded(Cloud):
    """Is installed, and misses its weights."""

    def unready(self, _settings: Settings, *, caller_has_key: bool) -> Unready:  # noqa: ARG002 - no key helps
        return Unready("run pull", installed=True)


@pytest.mark.parametrize(("prompts", "said"), [(("dog", "cat"), False), (("dog", "forklift"), True), (None, True)])
def test_a_backend_without_weights_is_mentioned_only_where_it_might_find_more(
    prompts: tuple[str, ...] | None, said: bool
) -> None:
    notes = plan(NotDownloaded(), Here(), prompts=prompts).notes
    assert notes == (("the backend cloud is not ready, so here answered: run pull",) if said else ())


@pytest.mark.parametrize(("found", "said"), [([DOG], False), ([], True)])
async def test_a_backend_without_weights_is_mentioned_where_a_known_prompt_finds_nothing(
    found: list[Detection], said: bool
) -> None:
    result = await detector_with(NotDownloaded(), Here(found)).detect(picture(), ["dog"])
    assert result.notes.count("the backend cloud is not ready, so here answered: run pull") == said


async def test_the_other_backend_is_asked_with_its_own_thresholds() -> None:
    here = Here([DOG])
    await detector_with(Cloud(error=QuotaError("no credit")), here).detect(picture(), "dog")
    request = here.asked[0][1]
    assert (request.min_score, request.iou_threshold, request.model) == (0.35, 0.5, "fake-1")


async def test_a_model_that_the_caller_named_is_not_replaced() -> None:
    detector = detector_with(Cloud(error=QuotaError("no credit")), Here([DOG]))
    with pytest.raises(QuotaError):
        await detector.detect(picture(), "dog", model="fake-1")


async def test_a_backend_that_does_not_load_keeps_no_other_from_answering() -> None:
    class Broken(Cloud):
        def capabilities(self, model: str | None = None) -> Capabilities:  # noqa: ARG002
            raise SettingsError("it does not load")

    assert (await detector_with(Broken(), Here([DOG])).detect(picture(), "dog")).backend == "here"


async def test_known_prompts_are_answered_and_unknown_ones_named_with_the_remedy() -> None:
    here = Here([DOG], unsearched=("forklift",), unknown=("forklift",))
    result = await detector_with(here).detect(picture(), ["dog", "forklift"])
    assert result.counts == {"dog": 1}
    assert any("DINOX_API_KEY" in note for note in result.notes)


async def test_only_unknown_prompts_are_an_error_with_the_remedy() -> None:
    here = Here([], unsearched=("forklift",), unknown=("forklift",))
    with pytest.raises(UnsupportedError, match=r"here cannot find 'forklift': .*; for anything else .*DINOX_API_KEY"):
        await detector_with(here).detect(picture(), ["forklift"])


async def test_outputs_of_boxes_are_asked_of_who_can_tell_them() -> None:
    here = Here([CODE])
    result = await detector_with(Cloud([DOG]), here).detect(picture(), "dog", include=["pose"])
    assert here.described[0][1] == {"pose"}
    assert any("pose by the backend here" in note for note in result.notes)


async def test_a_backend_that_the_settings_name_has_another_remedy() -> None:
    here = Here([], unsearched=("forklift",), unknown=("forklift",))
    with pytest.raises(UnsupportedError, match="set DINOX_MCP_BACKEND to auto"):
        await detector_with(here, backend="here").detect(picture(), ["forklift"])


async def test_in_tiles_a_prompt_is_unknown_only_where_no_tile_found_it() -> None:
    class Partly(Here):
        async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
            found = await super().detect(image, request, call)
            if image.width == 100:  # the whole image, in which it is too small
                return found.model_copy(update={"unknown": ("Nike",), "unsearched": ("Nike",)})
            return found.model_copy(update={"objects": (DOG.model_copy(update={"label": "Nike"}),)})

    result = await detector_with(Partly([])).detect(picture(), ["Nike"], tiles=2)
    assert result.counts["Nike"] > 0
    assert not any("cannot find" in note for note in result.notes)


@pytest.mark.parametrize("prompts", [["dog", "wizard"], ["wizard", "dog"]])
async def test_outputs_are_told_of_each_part_by_who_can(prompts: list[str]) -> None:
    wizard = Detection(label="wizard", bbox=(1, 1, 9, 9), score=0.9)
    cloud = Cloud([wizard], able=Capabilities(ALL))
    here = Here([DOG], able=replace(Here().able, outputs=frozenset({"pose"})))
    here.fit = lambda prompt: Fit.EXACT if prompt == "dog" else Fit.NOT  # type: ignore[method-assign]
    await detector_with(cloud, here).detect(picture(), prompts, include=["pose"])
    assert [[one.label for one in objects] for objects, _ in here.described] == [["wizard"]]


async def test_a_count_has_the_threshold_of_each_part() -> None:
    weak = CODE.model_copy(update={"score": 0.3})
    count = await detector_with(Cloud([DOG.model_copy(update={"score": 0.3})]), Here([weak])).count_objects(
        picture(), ["wolf", "QR code"]
    )
    assert count.result.counts == {"dog": 1, "wolf": 0, "QR code": 0}
    assert [one.min_score for one in count.result.sources] == [0.25, 0.35]


async def test_a_prompt_is_saved_by_a_backend_that_can_save(tmp_path: Path) -> None:
    backends = [Cloud(able=Capabilities(frozenset({"examples"}))), Here()]
    detector = Detector(Settings.load(prompts_folder=tmp_path), backends=backends)
    saved = await detector.save_prompt("bolt", picture(), [VisualPrompt(bbox=(1, 1, 9, 9))])
    assert saved.embedding.backend == "here"


def test_labels_that_a_backend_reads_are_left_to_it_though_it_does_not_say_how_well_they_fit() -> None:
    reader = FakeBackend(name="reader", able=Capabilities(ALL, labels=("QR code",), reads=("QR code",)), PREFERENCE=100)
    assert parts(plan(Cloud(), reader, prompts=("QR code", "dog"))) == {"cloud": ("dog",), "reader": ("QR code",)}


async def test_a_count_says_what_is_doubtful() -> None:
    near = DOG.model_copy(update={"bbox": (1.0, 1.0, 9.0, 9.0), "score": 0.32})
    far = DOG.model_copy(update={"bbox": (50.0, 50.0, 60.0, 60.0), "score": 0.29})
    count = await detector_with(Here([DOG, near, far])).count_objects(picture(), "dog")
    assert count.result.counts == {"dog": 1}
    assert count.doubtful == {"dog": 1}
