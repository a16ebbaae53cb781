"""Which backend answers which part of a question, where the settings leave that to the question."""

from dataclasses import dataclass, field

import pytest

from dinox_mcp.backends.base import Capabilities, Fit
from dinox_mcp.backends.registry import Backends
from dinox_mcp.detector import Detector
from dinox_mcp.errors import QuotaError, ServiceError, UnreachableError, UnsupportedError
from dinox_mcp.routing import Plan, Router
from dinox_mcp.schema import Detection, DetectionRequest, Need, Output
from dinox_mcp.settings import Settings
from tests.fakes import CODE, DOG, FakeBackend, TellingBackend, picture

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
class Here(TellingBackend):
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


def plan(*backends: FakeBackend, **question: object) -> Plan:
    return Router(Backends(Settings.load(), backends)).plan(DetectionRequest.model_validate(question))


def parts(plan: Plan) -> dict[str, tuple[str, ...] | None]:
    return {part.backend: part.request.prompts for part in plan.parts}


def test_what_is_read_exactly_is_never_paid_for() -> None:
    asked = plan(Cloud(), Here(), prompts=("forklift", "QR code", "dog"))
    assert parts(asked) == {"cloud": ("forklift", "dog"), "here": ("QR code",)}


def test_one_backend_that_answers_all_is_asked_once() -> None:
    assert parts(plan(Cloud(), Here(), prompts=("QR code",))) == {"here": ("QR code",)}
    assert parts(plan(Here(), prompts=("QR code", "dog", "forklift"))) == {"here": ("QR code", "dog", "forklift")}


def test_without_a_prompt_everything_is_found_and_codes_are_read() -> None:
    assert parts(plan(Cloud(), Here())) == {"cloud": None, "here": ("QR code",)}
    assert parts(plan(Here())) == {"here": None}


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


async def test_a_code_that_both_found_is_listed_once_as_it_was_read() -> None:
    seen = Detection(label="qr code", bbox=(5, 5, 25, 26), score=0.8)
    result = await detector_with(Cloud([DOG, seen]), Here([CODE])).detect(picture())
    assert [(one.label, one.text) for one in result.objects] == [("dog", None), ("QR code", CODE.text)]


@pytest.mark.parametrize("error", [UnreachableError("no network"), QuotaError("no credit")])
async def test_where_a_service_is_out_of_reach_another_backend_answers_and_a_note_says_so(error: Exception) -> None:
    result = await detector_with(Cloud(error=error), Here([DOG])).detect(picture(), "dog")
    assert result.backend == "here"
    assert any("cloud did not answer, so here was asked" in note for note in result.notes)


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


async def test_known_prompts_are_answered_and_unknown_ones_named_with_the_remedy() -> None:
    here = Here([DOG], unsearched=("forklift",), unknown=("forklift",))
    result = await detector_with(here).detect(picture(), ["dog", "forklift"])
    assert result.counts == {"dog": 1}
    assert any("DINOX_API_KEY" in note for note in result.notes)


async def test_only_unknown_prompts_are_an_error_with_the_remedy() -> None:
    here = Here([], unsearched=("forklift",), unknown=("forklift",), notes=("here knows no forklift",))
    with pytest.raises(UnsupportedError, match=r"here knows no forklift; for anything else .*DINOX_API_KEY"):
        await detector_with(here).detect(picture(), ["forklift"])


async def test_outputs_of_boxes_are_asked_of_who_can_tell_them() -> None:
    here = Here([CODE])
    result = await detector_with(Cloud([DOG]), here).detect(picture(), "dog", include=["pose"])
    assert here.told[0][1] == {"pose"}
    assert any("pose by the backend here" in note for note in result.notes)


async def test_a_count_says_what_is_doubtful() -> None:
    near = DOG.model_copy(update={"bbox": (1.0, 1.0, 9.0, 9.0), "score": 0.32})
    far = DOG.model_copy(update={"bbox": (50.0, 50.0, 60.0, 60.0), "score": 0.29})
    count = await detector_with(Here([DOG, near, far])).count_objects(picture(), "dog")
    assert count.result.counts == {"dog": 1}
    assert count.doubtful == {"dog": 1}
