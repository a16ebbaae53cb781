import threading
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from pydantic import SecretStr

from dinox_mcp.backends.base import Capabilities, Unready
from dinox_mcp.detect.options import Caller
from dinox_mcp.detector import Detector
from dinox_mcp.errors import BusyError, InputError, NotFoundError, ServiceError, SettingsError, UnsupportedError
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import Detection
from tests.fakes import CAT, CODE, DOG, FakeBackend, detector_with, picture, png

pytestmark = pytest.mark.anyio


async def test_objects_are_numbered_and_counted() -> None:
    result = await detector_with(FakeBackend([DOG, CAT, DOG])).detect(picture(), ["dog", "cat"])
    assert [(found.id, found.label) for found in result.objects] == [(1, "dog"), (2, "cat"), (3, "dog")]
    assert result.counts == {"dog": 2, "cat": 1}


async def test_an_answer_says_what_made_it() -> None:
    backend = FakeBackend(notes=("a note",))
    result = await detector_with(backend).detect(picture(120, 80), "dog, cat", min_score=0.3, iou_threshold=0.5)
    assert (result.backend, result.model, result.notes[0]) == ("fake", "fake-1", "a note")
    assert (result.image.width, result.image.height, result.image.source) == (120, 80, "white.png")
    assert result.request.prompts == ("dog", "cat")
    assert (result.request.min_score, result.request.iou_threshold) == (0.3, 0.5)


async def test_without_prompts_everything_is_asked_for() -> None:
    backend = FakeBackend()
    await detector_with(backend).detect(picture())
    assert backend.asked[0][1].prompts is None


async def test_a_closed_vocabulary_is_told_to_a_prompt_free_caller() -> None:
    backend = FakeBackend(able=Capabilities(labels=("door", "window")))
    result = await detector_with(backend).detect(picture())
    limits = "the backend fake detects door, window and nothing else"
    assert limits in result.notes
    assert limits not in (await detector_with(backend).detect(picture(), "door")).notes


async def test_too_many_objects_keep_the_surest_in_order_and_count_all() -> None:
    unsure = Detection(label="dog", bbox=(0, 0, 5, 5), score=0.26)
    result = await detector_with(FakeBackend([unsure, CAT, DOG, CODE])).detect(picture(), max_objects=2)
    assert [found.label for found in result.objects] == ["dog", "QR code"]
    assert result.omitted == 2
    assert sum(result.counts.values()) == 4


HAND = Detection(label="hand", bbox=(20, 30, 30, 40), score=0.8, owner=DOG.bbox)


@pytest.mark.parametrize(
    ("prompts", "counts", "notes"),
    [
        ("dog", {"dog": 1}, 1),
        (["dog", "hand"], {"dog": 1, "hand": 1}, 0),
        (None, {"dog": 1, "hand": 1}, 0),
    ],
)
async def test_hands_are_counted_only_where_they_were_asked_for(
    prompts: str | list[str] | None, counts: dict[str, int], notes: int
) -> None:
    backend = FakeBackend([DOG, HAND], able=Capabilities(outputs=frozenset({"hands"})))
    result = await detector_with(backend).detect(picture(), prompts, include=["hands"])
    assert [one.label for one in result.objects] == ["dog", "hand"]
    assert result.counts == counts
    assert sum(note.startswith("hands listed but not counted: 1") for note in result.notes) == notes


async def test_who_waits_too_long_to_draw_is_told_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dinox_mcp.detector.DRAWING_WAIT_S", 0.01)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    detector, done = detector_with(FakeBackend()), threading.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(detector.draw, done.wait)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(BusyError, match="drawn at once; try again"):
            await detector.draw(lambda: None)
        done.set()
    assert await detector.draw(lambda: "drawn") == "drawn"


async def test_the_same_question_is_answered_from_memory() -> None:
    backend = FakeBackend()
    detector = detector_with(backend)
    first = await detector.detect(picture(), "dog")
    again = await detector.detect(picture(), ["dog"], max_objects=1)
    assert len(backend.asked) == 1
    assert (first.cached, again.cached) == (False, True)
    assert again.result_id != first.result_id


@pytest.mark.parametrize(
    "change", [{"prompts": "cat"}, {"min_score": 0.5}, {"iou_threshold": 0.1}, {"image": picture(color="black")}]
)
async def test_another_question_is_asked_again(change: dict[str, object]) -> None:
    backend = FakeBackend()
    detector = detector_with(backend)
    await detector.detect(picture(), "dog")
    await detector.detect(**({"image": picture(), "prompts": "dog"} | change))  # type: ignore[arg-type]
    assert len(backend.asked) == 2


async def test_memory_of_answers_ends_with_its_time_to_live() -> None:
    backend = FakeBackend()
    detector = detector_with(backend, cache_ttl_s=0)
    await detector.detect(picture(), "dog")
    await detector.detect(picture(), "dog")
    assert len(backend.asked) == 2


async def test_an_error_is_not_remembered() -> None:
    backend = FakeBackend(error=ServiceError("broken"))
    detector = detector_with(backend)
    with pytest.raises(ServiceError):
        await detector.detect(picture(), "dog")
    backend.error = None
    assert (await detector.detect(picture(), "dog")).counts == {"dog": 1, "cat": 1}


async def test_a_key_of_the_caller_reaches_the_backend_and_its_answers_stay_apart() -> None:
    backend = FakeBackend()
    detector = detector_with(backend)
    alice, bob = Caller.with_key("alice-key"), Caller.with_key("bob-key")
    result = await detector.detect(picture(), "dog", caller=alice)
    await detector.detect(picture(), "dog", caller=bob)
    assert [call.api_key for _, _, call in backend.asked] == [SecretStr("alice-key"), SecretStr("bob-key")]
    with pytest.raises(NotFoundError):
        detector.result(result.result_id, bob)


@dataclass
class Keyed(FakeBackend):
    """Answers with a caller's key alone."""

    PREFERENCE: int = 300

    def unready(self, settings: Settings, *, caller_has_key: bool) -> Unready | None:
        return None if caller_has_key or settings.api_key else Unready("send a key")


@pytest.mark.parametrize("server_key", [None, "server-key"])
@pytest.mark.parametrize(("backend", "kept"), [(Keyed(), 2), (FakeBackend(PREFERENCE=300), 0)])
async def test_results_of_a_caller_whose_key_was_accepted_are_not_pushed_out_by_invented_ones(
    backend: FakeBackend, kept: int, server_key: str | None
) -> None:
    detector = Detector(Settings.load(backend="auto", store_max_results=6, api_key=server_key), backends=[backend])
    caller = Caller.with_key("secret")
    for prompt in ("dog", "cat"):
        await detector.detect(picture(), prompt, caller=caller)
    made = detector.store.recent(caller.tenant)[0].result
    for number in range(10):
        detector.store.put(made.model_copy(update={"result_id": str(number)}), picture(), "invented", known=False)
    assert len(detector.store.recent(caller.tenant)) == kept


async def test_a_caller_never_shows_its_key() -> None:
    caller = Caller.with_key("alice-key")
    assert "alice-key" not in repr(caller) + caller.tenant


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_score": 1.5}, "min_score: 1.5 is not valid; .*less than or equal to 1"),
        ({"iou_threshold": -1}, "iou_threshold"),
        ({"max_objects": 0}, "max_objects is 0; choose 1 to 1000"),
        ({"max_objects": 1001}, "max_objects is 1001"),
        ({"include": ["smells"]}, "include"),
        ({"prompts": []}, "prompts is empty"),
    ],
)
async def test_a_wrong_argument_is_named_before_anything_is_asked(arguments: dict[str, object], message: str) -> None:
    backend = FakeBackend()
    with pytest.raises(InputError, match=message) as caught:
        await detector_with(backend).detect(picture(), **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not backend.asked


@pytest.mark.parametrize(
    ("able", "arguments", "message"),
    [
        (Capabilities(), {"include": ["masks"]}, "fake cannot do masks; the backend dinox"),
        (
            Capabilities(answers=frozenset({"text prompts"})),
            {},
            "fake cannot do prompt-free detection; .*embedded or local",
        ),
        (
            Capabilities(answers=frozenset({"prompt-free detection"})),
            {"prompts": "dog"},
            "fake cannot do text prompts; .*embedded or local",
        ),
    ],
)
async def test_what_a_backend_cannot_do_names_one_that_can(
    able: Capabilities, arguments: dict[str, object], message: str
) -> None:
    backend = FakeBackend(able=able)
    with pytest.raises(UnsupportedError, match=message):
        await detector_with(backend).detect(picture(), **arguments)  # type: ignore[arg-type]
    assert not backend.asked


async def test_an_image_is_a_path_or_a_picture_of_an_earlier_result(tmp_path: Path) -> None:
    file = tmp_path / "white.png"
    file.write_bytes(png())
    backend = FakeBackend()
    detector = detector_with(backend)
    result = await detector.detect(str(file), "dog")
    await detector.detect(f"dinox://results/{result.result_id}", "cat")
    assert backend.asked[1][0] == backend.asked[0][0]


@pytest.mark.parametrize(
    ("view", "size"), [("annotated.png", (100, 100)), ("objects/1/crop.jpg", (264, 312)), ("image.jpg", (100, 100))]
)
async def test_every_view_of_a_result_can_be_looked_at_again(view: str, size: tuple[int, int]) -> None:
    detector = detector_with(FakeBackend())
    result = await detector.detect(picture(), "dog")
    looked_at = await detector.load(f"dinox://results/{result.result_id}/{view}")
    assert (looked_at.width, looked_at.height) == size


@pytest.mark.parametrize("view", ["objects/3/crop.jpg", "objects/1/mask.png"])
async def test_a_view_that_does_not_exist_is_not_found(view: str) -> None:
    detector = detector_with(FakeBackend())
    result = await detector.detect(picture(), "dog")
    with pytest.raises(NotFoundError):
        await detector.load(f"dinox://results/{result.result_id}/{view}")


async def test_an_unknown_backend_names_those_that_exist() -> None:
    with pytest.raises(SettingsError, match=r"no backend 'imaginary'; choose auto or one of .*dinox, embedded"):
        await Detector(Settings.load(backend="imaginary")).detect(picture())


async def test_what_can_be_loaded_ahead_is() -> None:
    class Loading(FakeBackend):
        async def load(self) -> str:
            return "fake-1"

    assert await detector_with(Loading()).warm_up() == "fake-1"
    assert await detector_with(FakeBackend()).warm_up() == ""


async def test_closing_closes_the_backends() -> None:
    backend = FakeBackend()
    async with detector_with(backend):
        pass
    assert backend.closed


async def test_a_part_has_the_number_of_its_owner_though_another_look_moved_the_box() -> None:
    person = Detection(label="person", bbox=(10, 10, 60, 90), score=0.9)
    face = Detection(label="face", bbox=(25, 12, 45, 35), score=0.8, owner=(11, 9, 62, 91))
    lost = Detection(label="face", bbox=(80, 80, 90, 90), score=0.8, owner=(70, 70, 99, 99))
    result = await detector_with(FakeBackend([face, person, lost])).detect(picture(), "person, face")
    assert [(one.label, one.part_of) for one in result.objects] == [("face", 2), ("person", None), ("face", None)]
