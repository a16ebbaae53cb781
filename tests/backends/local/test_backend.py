"""The local backend over models that only pretend, so that all that is not a tensor is tested without waiting."""

# ruff: noqa: ANN401 - options and doubles are whatever a test makes them
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from dinox_mcp.backends.base import Call
from dinox_mcp.backends.local.backend import LocalBackend
from dinox_mcp.backends.local.models.base import RawDetection
from dinox_mcp.detector import Detector
from dinox_mcp.errors import BackendError, DeadlineError, SettingsError, UnsupportedError
from dinox_mcp.server.app import build_server
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import Detection, DetectionRequest
from dinox_mcp.types.masks import encode
from tests.backends.local.fakes import FakeAdapter, FakeModel, FakeState
from tests.fakes import picture

pytestmark = pytest.mark.anyio
RED = picture(color="red")
PLAIN = Call()


@dataclass
class Bench:
    """A backend over one fake model, closed after the test."""

    folder: Path
    model: FakeModel = field(default_factory=FakeModel)
    named: list[str | None] = field(default_factory=list)

    def backend(self, **settings: Any) -> LocalBackend:
        def models(name: str | None, **_: Any) -> FakeModel:
            self.named.append(name)
            return self.model

        return LocalBackend(Settings.load(**settings), models, self.folder)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "labels")


def ask(*prompts: str, **options: Any) -> DetectionRequest:
    return DetectionRequest(prompts=prompts or None, **options)


async def test_labels_come_back_as_the_caller_wrote_them(bench: Bench) -> None:
    backend = bench.backend()
    found = await backend.detect(RED, ask("Red Car", "DOG"), PLAIN)
    assert [(one.label, one.score, one.bbox) for one in found.objects] == [
        ("Red Car", 0.9, (0, 0, 50, 8)),
        ("DOG", 0.8, (0, 8, 50, 16)),
    ]
    assert (found.model, found.notes) == ("fake@1234567", ())
    await backend.aclose()


async def test_more_labels_than_a_window_holds_are_requested_in_parts(bench: Bench) -> None:
    bench.model.adapter = FakeAdapter(window=2, reuses_text=False)
    backend = bench.backend()
    heard: list[tuple[float, str]] = []

    async def hear(fraction: float, message: str) -> None:
        heard.append((fraction, message))

    found = await backend.detect(RED, ask("a", "b", "c", "d", "e"), Call(hear))
    assert bench.model.adapter.asked == [("a", "b"), ("c", "d"), ("e",)]
    assert sorted(one.label for one in found.objects) == ["a", "b", "c", "d", "e"]
    assert found.notes == ("the labels were searched in 3 parts, as the model reads so many at a time",)
    assert [message for _, message in heard] == ["part 2 of 3", "part 3 of 3"]
    assert len(bench.model.adapter.batches) == 1
    await backend.aclose()


async def test_a_model_that_was_fetched_since_is_known_by_its_other_names(bench: Bench) -> None:
    first = bench.model = FakeModel(source="owner/name at main")
    backend = bench.backend()
    await backend.load()
    first.source = "the folder that it was fetched to"
    second = bench.model = FakeModel(source=first.source)
    await backend.detect(RED, ask("dog", model="fast"), PLAIN)
    assert (first.loads, second.loads) == (1, 0)
    await backend.aclose()


async def test_a_model_that_has_left_memory_is_loaded_again_without_a_deadline(bench: Bench) -> None:
    bench.model = FakeModel(adapter=FakeAdapter(reuses_text=False), load_s=0.8)
    backend = bench.backend(idle_unload_s=0.3, timeout_s=0.7)
    for _ in range(2):
        await backend.detect(RED, ask("dog"), PLAIN)
        with anyio.fail_after(10):
            while any(model.loaded for model in backend.models()):  # noqa: ASYNC110 - models set no events
                await anyio.sleep(0.01)
    assert bench.model.loads == 2
    await backend.aclose()


async def test_what_is_closed_loads_nothing_more(bench: Bench) -> None:
    backend = bench.backend()
    await backend.aclose()
    with pytest.raises(BackendError, match="the local backend was closed"):
        await backend.load()
    with pytest.raises(BackendError, match="the local backend was closed"):
        await backend.describe(RED, [Detection(label="dog", bbox=(1, 1, 9, 9))], frozenset({"masks"}), PLAIN)
    with pytest.raises(BackendError, match="the local backend was closed"):
        await backend.follow([RED], [(1, 1, 9, 9)], PLAIN)
    assert bench.model.loads == 0


async def test_labels_that_the_model_cuts_are_named(bench: Bench) -> None:
    backend = bench.backend()
    found = await backend.detect(RED, ask("dog", "an old man with a grey beard", *(f"{n}" * 50 for n in "abc")), PLAIN)
    quoted = f"'an old man with a grey beard', '{'a' * 40}…', '{'b' * 40}…' and 1 more"
    assert found.notes == (f"the model reads only the beginning of {quoted}; shorter labels are read to the end",)
    await backend.aclose()


async def test_progress_never_goes_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dinox_mcp.backends.local.runtime.worker.HEARTBEAT_S", 0.05)
    bench.model = FakeModel(adapter=FakeAdapter(window=1, reuses_text=False, find_s=0.2, pass_s=0.2), load_s=0.2)
    backend = bench.backend()
    fractions: list[float] = []

    async def hear(fraction: float, _message: str) -> None:
        fractions.append(fraction)

    await backend.detect(RED, ask("a", "b"), Call(hear))
    assert len(set(fractions)) >= 3
    assert fractions == sorted(fractions)
    assert fractions[-1] <= 1
    await backend.aclose()


async def test_others_come_in_between_the_parts_of_a_long_request(bench: Bench) -> None:
    bench.model.adapter = FakeAdapter(window=1, reuses_text=False, find_s=0.05)
    backend = bench.backend()
    await backend.load()
    order: list[str] = []

    async def question(client: str, *labels: str) -> None:
        await backend.detect(RED, ask(*labels), Call(client=client))
        order.append(client)

    async with anyio.create_task_group() as group:
        group.start_soon(question, "long", *"abcdefgh")
        await anyio.sleep(0.07)
        group.start_soon(question, "short", "z")
    assert order == ["short", "long"]
    await backend.aclose()


async def test_a_cancelled_request_searches_no_more_parts(bench: Bench) -> None:
    bench.model.adapter = FakeAdapter(window=1, reuses_text=False, find_s=0.1)
    backend = bench.backend()
    with anyio.move_on_after(0.25):
        await backend.detect(RED, ask(*"abcdefgh"), PLAIN)
    asked = len(bench.model.adapter.asked)
    await anyio.sleep(0.5)
    assert len(bench.model.adapter.asked) <= asked + 1 < 5, "what was all but done may be finished"
    await backend.aclose()


async def test_label_embeddings_survive_a_restart(bench: Bench) -> None:
    for _ in range(2):
        backend = bench.backend()
        await backend.detect(RED, ask("dog", "cat"), PLAIN)
        await backend.aclose()
    assert bench.model.adapter.embedded == ["dog", "cat"]


async def test_label_embeddings_leave_memory_with_their_model(bench: Bench) -> None:
    backend = bench.backend(idle_unload_s=0.05)
    await backend.detect(RED, ask("dog"), PLAIN)
    with anyio.fail_after(2):
        while not bench.model.trims:  # noqa: ASYNC110 - a thread changes it, without telling
            await anyio.sleep(0.01)
    for file in bench.folder.iterdir():
        file.unlink()
    await backend.detect(RED, ask("dog"), PLAIN)
    assert bench.model.adapter.embedded == ["dog", "dog"]
    await backend.aclose()


@pytest.mark.parametrize(
    ("boxes", "kept"),
    [
        ([("dog", 0.9, (0, 0, 10, 10)), ("dog", 0.8, (0, 0, 10, 9))], ["dog"]),
        ([("dog", 0.9, (0, 0, 10, 10)), ("dog", 0.8, (0, 0, 10, 7))], ["dog", "dog"]),
        ([("dog", 0.9, (0, 0, 10, 10)), ("cat", 0.8, (0, 0, 10, 10))], ["dog", "cat"]),
        ([("dog", 0.9, (5, 5, 5, 50)), ("cat", 0.8, (-50, 0, -1, 10))], []),
        ([("dog", 0.2, (0, 0, 10, 10)), ("cat", 0.9, (0, 0, 10, 10))], ["cat"]),
    ],
    ids=["overlapping", "apart enough", "another label", "empty or outside", "below the score"],
)
async def test_each_thing_comes_once_per_label(bench: Bench, boxes: list[Any], kept: list[str]) -> None:
    bench.model.adapter = Fixed(boxes)
    backend = bench.backend()
    found = await backend.detect(RED, ask("dog", "cat"), PLAIN)
    assert [one.label for one in found.objects] == kept
    await backend.aclose()


async def test_boxes_are_clipped_to_the_image(bench: Bench) -> None:
    bench.model.adapter = Fixed([("dog", 0.9, (-5.0, 50.0, 50.0, 140.0))])
    backend = bench.backend()
    found = await backend.detect(RED, ask("dog"), PLAIN)
    assert found.objects[0].bbox == (0, 50, 50, 100)
    await backend.aclose()


async def test_a_python_user_may_choose_another_model(bench: Bench) -> None:
    backend = bench.backend(model="balanced")
    await backend.detect(RED, ask("dog"), PLAIN)
    await backend.detect(RED, ask("dog", model="accurate"), PLAIN)
    assert bench.named == ["balanced", "accurate"]
    await backend.aclose()


@pytest.mark.parametrize("settings", [{}, {"model": "balanced"}, {"model": "org/model"}])
async def test_models_are_listed_with_the_default_first_and_what_is_in_memory(
    bench: Bench, settings: dict[str, Any]
) -> None:
    backend = bench.backend(device="cpu", **settings)
    before = [(offer.name, offer.loaded) for offer in backend.models()]
    await backend.detect(RED, ask("dog"), PLAIN)
    after = [(offer.name, offer.loaded) for offer in backend.models()]
    default = settings.get("model", "balanced")
    assert before[0] == (default, False)
    assert [name for name, loaded in after if loaded] == [default]
    assert {"balanced", "fast", "accurate", "sam3"} <= {name for name, _ in after}
    await backend.aclose()


async def test_several_names_of_one_model_share_its_weights(tmp_path: Path) -> None:
    made: dict[str | None, FakeModel] = {}

    def models(name: str | None, **_: Any) -> FakeModel:
        return made.setdefault(name, FakeModel(key=str(name), source="fast" if name == "fast" else "owlv2"))

    backend = LocalBackend(Settings.load(), models, tmp_path)
    async with anyio.create_task_group() as group:
        for name in (None, "balanced", "google/owlv2", "fast"):
            group.start_soon(partial(backend.detect, RED, ask("dog", model=name), PLAIN))
    assert sum(model.loads for model in made.values()) == 2
    assert made["fast"].loads == 1
    await backend.aclose()


async def test_without_prompts_the_vocabulary_is_searched(bench: Bench) -> None:
    backend = bench.backend()
    found = await backend.detect(RED, ask(), PLAIN)
    asked = set(bench.model.adapter.asked[0])
    assert {"person", "car", "automobile", "pizza"} <= asked
    assert set(bench.model.adapter.embedded) == asked
    assert found.notes[0] == f"searched for {len(asked)} nouns; what is not among them needs a prompt"
    await backend.aclose()


@pytest.mark.parametrize(
    ("boxes", "named"),
    [
        ([("animal", 0.9, (0, 0, 50, 50)), ("dog", 0.6, (0, 0, 50, 49))], [("dog", 0.6)]),
        ([("animal", 0.9, (0, 0, 50, 50)), ("dog", 0.6, (0, 0, 50, 35))], [("dog", 0.6)]),
        ([("animal", 0.9, (0, 0, 50, 50)), ("dog", 0.3, (0, 0, 50, 49))], [("animal", 0.9)]),
        ([("dog", 0.9, (0, 0, 50, 50)), ("animal", 0.8, (0, 0, 50, 40))], [("dog", 0.9)]),
        (
            [("puppy", 0.5, (0, 0, 50, 50)), ("animal", 0.9, (0, 0, 50, 49)), ("dog", 0.7, (0, 0, 50, 49))],
            [("puppy", 0.5)],
        ),
        ([("sofa", 0.9, (0, 0, 50, 50)), ("couch", 0.8, (0, 0, 50, 50))], [("sofa", 0.9)]),
        ([("couch", 0.9, (0, 0, 50, 50))], [("sofa", 0.9)]),
        ([("tree", 0.9, (0, 0, 50, 50)), ("dog", 0.8, (0, 0, 50, 49))], [("tree", 0.9)]),
        ([("tree", 0.9, (0, 0, 50, 50)), ("dog", 0.8, (0, 0, 50, 40))], [("tree", 0.9), ("dog", 0.8)]),
        ([("dog", 0.9, (0, 0, 50, 50)), ("dog", 0.8, (50, 0, 99, 50))], [("dog", 0.9), ("dog", 0.8)]),
    ],
    ids=[
        "the specific name",
        "also on a similar box",
        "unless it is unlikely",
        "the broad one adds nothing",
        "the most specific of a chain",
        "synonyms",
        "the name of a synonym",
        "one box, two unrelated names",
        "two boxes, two names",
        "two of a kind",
    ],
)
async def test_without_prompts_each_thing_has_one_name(bench: Bench, boxes: list[Any], named: list[Any]) -> None:
    bench.folder.parent.joinpath("nouns.txt").write_text("animal\n  dog\n    puppy\nsofa = couch, tree\n")
    bench.model.adapter = Fixed(boxes)
    backend = bench.backend(vocabulary=bench.folder.parent / "nouns.txt")
    found = await backend.detect(RED, ask(), PLAIN)
    assert [(one.label, one.score) for one in found.objects] == named
    await backend.aclose()


async def test_a_vocabulary_that_cannot_be_read_is_named(bench: Bench) -> None:
    backend = bench.backend(vocabulary="/nowhere/nouns.txt")
    with pytest.raises(SettingsError, match=r"DINOX_MCP_VOCABULARY: /nowhere/nouns.txt cannot be read"):
        await backend.detect(RED, ask(), PLAIN)
    await backend.aclose()


async def test_masks_come_from_models_that_have_them(bench: Bench) -> None:
    bench.model.adapter = Fixed([("dog", 0.9, (0, 0, 10, 10))], family="sam3")
    backend = bench.backend(model="sam3")
    assert backend.capabilities().outputs == {"masks"}
    with_mask = await backend.detect(RED, ask("dog", include=["masks"]), PLAIN)
    without = await backend.detect(RED, ask("dog"), PLAIN)
    assert with_mask.objects[0].mask is not None
    assert with_mask.objects[0].mask.size == (100, 100)
    assert without.objects[0].mask is None
    await backend.aclose()


async def test_other_models_say_which_one_has_masks(bench: Bench) -> None:
    backend = bench.backend()
    assert backend.capabilities().outputs == frozenset()
    with pytest.raises(
        UnsupportedError, match=r"fake@1234567 has no masks; leave them out of `include`, or .*DINOX_MCP_MODEL=sam3"
    ):
        await backend.detect(RED, ask("dog", include=["masks"]), PLAIN)
    await backend.aclose()


async def test_the_deadline_frees_the_model_and_says_what_to_do(bench: Bench) -> None:
    bench.model.adapter = FakeAdapter(pass_s=5)
    bench.model.load_s = 0.3
    backend = bench.backend(timeout_s=0.2)
    with pytest.raises(DeadlineError, match=r"no response within 0.2 s.*DINOX_MCP_TIMEOUT_S"):
        await backend.detect(RED, ask("dog"), PLAIN)
    await anyio.sleep(0.6)
    assert bench.model.adapter.interrupted == 1
    await backend.aclose()


@pytest.mark.parametrize(
    ("reuses_text", "kept"), [(True, "the image and most labels is kept"), (False, "of the image is kept")]
)
async def test_the_deadline_promises_only_what_the_family_keeps(bench: Bench, reuses_text: bool, kept: str) -> None:
    bench.model.adapter = FakeAdapter(pass_s=5, reuses_text=reuses_text)
    backend = bench.backend(timeout_s=0.1)
    with pytest.raises(DeadlineError, match=kept):
        await backend.detect(RED, ask("dog"), PLAIN)
    await backend.aclose()


async def test_an_assistant_that_cancels_frees_the_model(bench: Bench, tmp_path: Path) -> None:
    bench.model.adapter = FakeAdapter(pass_s=20)
    path = tmp_path / "red.png"
    path.write_bytes(RED.data)
    detector = Detector(Settings.load(backend="local"), [bench.backend()])
    async with detector, Client(build_server(detector)) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "detect_objects", {"image": str(path), "prompts": ["dog"]})
            with anyio.fail_after(20):
                while not bench.model.adapter.begun:  # noqa: ASYNC110 - a thread changes it, and sets no event
                    await anyio.sleep(0.01)
            group.cancel_scope.cancel()
        with anyio.fail_after(10):
            while not bench.model.adapter.interrupted:  # noqa: ASYNC110 - a thread changes it, and sets no event
                await anyio.sleep(0.01)


async def test_callers_of_a_detector_share_the_model_fairly(bench: Bench) -> None:
    backend = bench.backend(backend="local")
    seen: list[str] = []
    detect = backend.detect

    async def spy(image: Any, request: Any, call: Call) -> Any:
        seen.append(call.client)
        return await detect(image, request, call)

    backend.detect = spy  # type: ignore[method-assign,assignment]
    from dinox_mcp.detect.options import Caller

    async with Detector(Settings.load(backend="local"), [backend]) as detector:
        result = await detector.detect(RED, "dog", caller=Caller(tenant="somebody"))
    assert result.backend == "local"
    assert seen == ["somebody"]


@dataclass
class Fixed(FakeAdapter):
    """Finds given boxes, of those labels that are asked for."""

    boxes: list[tuple[str, float, tuple[float, float, float, float]]] = field(default_factory=list)

    def __init__(self, boxes: list[Any], family: str = "fake") -> None:
        super().__init__(family=family)
        self.boxes = boxes

    def find(
        self,
        state: FakeState,
        labels: Any,
        embeddings: Any,  # noqa: ARG002 - the seam
        min_score: float,
        *,
        masks: bool = False,
    ) -> list[RawDetection]:
        import numpy as np

        mask = encode(np.ones(state.size[::-1], dtype=bool)) if masks else None
        return [
            RawDetection(list(labels).index(label), score, bbox, mask)
            for label, score, bbox in self.boxes
            if score >= min_score and label in labels
        ]
