import pytest

from dinox_mcp.backends.base import Call
from dinox_mcp.backends.dinox import create
from dinox_mcp.backends.dinox.backend import DinoxBackend
from dinox_mcp.errors import InputError, UnsupportedError
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import DetectionRequest, Example
from tests.backends.dinox.conftest import plain
from tests.emulator import Emulator

pytestmark = pytest.mark.anyio

NAMES = [
    "DINO-X-1.0",
    "GroundingDino-1.6-Pro",
    "GroundingDino-1.6-Edge",
    "GroundingDino-1.5-Pro",
    "GroundingDino-1.5-Edge",
    "T-Rex-2.0",
    "DINO-XSeek-1.0",
]
DOG = DetectionRequest(prompts=("dog",))
MAN = DetectionRequest(description="The man in red, left of the car.")
LIKE_THIS = DetectionRequest(examples=(Example(bbox=(5, 5, 20, 20)),))


def test_all_models_are_listed_with_what_they_are() -> None:
    models = create(Settings()).models()

    assert [model.name for model in models] == NAMES
    assert all(model.about for model in models)


@pytest.mark.parametrize(
    ("model", "answers", "outputs"),
    [
        ("DINO-X-1.0", {"text prompts", "prompt-free detection"}, {"masks", "pose", "hands"}),
        ("GroundingDino-1.5-Edge", {"text prompts"}, set()),
        ("T-Rex-2.0", {"examples", "points as examples", "examples in other images", "saved prompts"}, set()),
        ("DINO-XSeek-1.0", {"descriptions"}, set()),
    ],
)
def test_each_model_can_do_its_own(model: str, answers: set[str], outputs: set[str]) -> None:
    able = create(Settings()).capabilities(model)

    assert (able.answers, able.outputs) == (answers, outputs)
    assert able.describes == {"caption", "category", "text"}
    assert able.labels is None


def test_without_a_model_it_can_do_what_any_can() -> None:
    backend = create(Settings())
    models = [model.capabilities for model in backend.models()]

    assert backend.capabilities().answers == frozenset().union(*(able.answers for able in models))
    assert backend.capabilities().outputs == frozenset().union(*(able.outputs for able in models))
    assert "negative examples" not in backend.capabilities().answers


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        *((name, name) for name in NAMES),
        *((name.lower(), name) for name in NAMES),
        ("dino-x", "DINO-X-1.0"),
        ("DINO X", "DINO-X-1.0"),
        ("grounding-dino-1.6-pro", "GroundingDino-1.6-Pro"),
        ("Grounding DINO 1.5 Edge", "GroundingDino-1.5-Edge"),
        ("grounding_dino", "GroundingDino-1.6-Pro"),
        ("t-rex2", "T-Rex-2.0"),
        ("T-Rex 2", "T-Rex-2.0"),
        ("trex", "T-Rex-2.0"),
        ("xseek", "DINO-XSeek-1.0"),
        ("dino-xseek", "DINO-XSeek-1.0"),
    ],
)
def test_names_are_taken_as_users_write_them(written: str, meant: str) -> None:
    backend = create(Settings())

    assert backend.capabilities(written) == backend.capabilities(meant)


@pytest.mark.parametrize("name", ["YOLO-11", "", "DINO-X-2.0"])
def test_an_unknown_name_is_answered_with_those_there_are(name: str) -> None:
    with pytest.raises(InputError, match=f"no model '{name}'; choose {', '.join(NAMES)}"):
        create(Settings()).capabilities(name)


@pytest.mark.parametrize(
    ("request_", "endpoint", "model"),
    [
        (DOG, "dinox/detection", "DINO-X-1.0"),
        (DetectionRequest(), "dinox/detection", "DINO-X-1.0"),
        (LIKE_THIS, "trex/detection", "T-Rex-2.0"),
        (MAN, "dino_xseek/detection", "DINO-XSeek-1.0"),
        *(
            (DOG.model_copy(update={"model": name.lower()}), "grounding_dino/detection", name)
            for name in NAMES
            if name.startswith("G")
        ),
        (DOG.model_copy(update={"model": "dino-x"}), "dinox/detection", "DINO-X-1.0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_the_request_decides_which_model_answers_and_the_answer_names_it(
    dinox: DinoxBackend, emulator: Emulator, request_: DetectionRequest, endpoint: str, model: str
) -> None:
    found = await dinox.detect(plain(), request_, Call())

    assert found.model == model
    assert (emulator.asked, emulator.last["model"], emulator.last["targets"]) == ([endpoint], model, ["bbox"])
    assert found.objects


async def test_what_is_described_is_called_as_it_was_described(dinox: DinoxBackend, emulator: Emulator) -> None:
    found = await dinox.detect(plain(), MAN, Call())

    assert [one.label for one in found.objects] == ["The man in red, left of the car."]
    assert emulator.last["prompt"] == {"type": "text", "text": "The man in red, left of the car."}


@pytest.mark.parametrize("description", ["", " . ", "?"])
async def test_a_description_without_a_word_is_refused(
    dinox: DinoxBackend, emulator: Emulator, description: str
) -> None:
    with pytest.raises(InputError, match="has no word in it; describe"):
        await dinox.detect(plain(), DetectionRequest(description=description), Call())

    assert emulator.stats().requests == 0


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (
            DOG.model_copy(update={"model": "trex"}),
            "T-Rex-2.0 of the backend dinox cannot do text prompts; use model DINO-X-1.0, Gr",
        ),
        (MAN.model_copy(update={"model": "DINO-X-1.0"}), "cannot do descriptions; use model DINO-XSeek-1.0"),
        (DetectionRequest(model="gdino-1.6-pro"), "cannot do prompt-free detection; use model DINO-X-1.0"),
        (
            DetectionRequest(examples=(Example(point=(1, 1), negative=True),)),
            "cannot do negative examples; do without it",
        ),
        (
            DOG.model_copy(update={"model": "gdino-1.6-pro", "include": frozenset({"masks"})}),
            "cannot do masks; DINO-X-1.0 can, for prompt-free detection and text prompts; otherwise",
        ),
        (
            LIKE_THIS.model_copy(update={"include": frozenset({"masks"})}),
            "T-Rex-2.0 of the backend dinox cannot do masks; DINO-X-1.0 can",
        ),
        (MAN.model_copy(update={"include": frozenset({"pose", "hands"})}), "cannot do hands and pose; DINO-X-1.0 can"),
    ],
)
async def test_what_a_model_cannot_do_is_refused_before_anything_is_paid(
    dinox: DinoxBackend, emulator: Emulator, request_: DetectionRequest, words: str
) -> None:
    with pytest.raises(UnsupportedError, match=words):
        await dinox.detect(plain(), request_, Call())

    assert emulator.stats().requests == 0
