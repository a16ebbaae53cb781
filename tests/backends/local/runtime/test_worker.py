# ruff: noqa: ANN401 - options and doubles are whatever a test makes them
import itertools
import random
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from typing import Any

import anyio
import pytest
from PIL import Image

from dinox_mcp.backends.base import silent
from dinox_mcp.backends.local.models.base import Interrupted, Loaded, Prepared, interruptible
from dinox_mcp.backends.local.runtime.caches import FeatureCache, ModelMemory
from dinox_mcp.backends.local.runtime.worker import Worker, encode
from dinox_mcp.errors import BackendError, BusyError, ImageError, UnsupportedError
from dinox_mcp.images.picture import Picture
from tests.backends.local.fakes import FakeAdapter, FakeModel, FakeState
from tests.fakes import picture

pytestmark = pytest.mark.anyio
RED, BLUE, GREEN = (picture(color=color) for color in ("red", "blue", "lime"))


def worker_of(model: FakeModel, memory: ModelMemory | None = None, features: int = 10_000, **options: Any) -> Worker:
    options = {"queue_max": 64, "idle_s": 60.0, **options}
    return Worker(model, memory or ModelMemory(10**9), FeatureCache(features), **options)


def color_of(_loaded: Loaded, state: Any) -> tuple[int, int, int]:
    assert isinstance(state, FakeState)
    return state.color


async def request(worker: Worker, image: Picture, client: str = "", quick: bool = True) -> tuple[int, int, int]:
    return await worker.run(color_of, image=image, client=client, quick=quick, progress=silent)


async def until(condition: Any, seconds: float = 2) -> None:
    with anyio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - a thread changes it, without telling
            await anyio.sleep(0.005)


@contextmanager
def no_gap_over(seconds: float, group: anyio.abc.TaskGroup) -> Iterator[None]:
    gaps: list[float] = []

    async def tick() -> None:
        before = time.perf_counter()
        while True:
            await anyio.sleep(0.002)
            gaps.append(time.perf_counter() - before)
            before = time.perf_counter()

    group.start_soon(tick)
    yield
    assert max(gaps) < seconds


async def test_the_model_is_loaded_by_the_first_request_and_only_once() -> None:
    model = FakeModel()
    worker = worker_of(model)
    assert model.loads == 0
    assert await request(worker, RED) == (255, 0, 0)
    assert await request(worker, BLUE) == (0, 0, 255)
    assert model.loads == 1
    await worker.aclose()


async def test_a_image_is_encoded_once() -> None:
    model = FakeModel()
    worker = worker_of(model)
    for _ in range(3):
        assert await request(worker, RED) == (255, 0, 0)
    assert model.adapter.batches == [[(255, 0, 0)]]
    await worker.aclose()


@pytest.mark.parametrize("features", [0, 10_000])
async def test_requests_about_one_image_that_arrive_together_share_a_pass(features: int) -> None:
    model = FakeModel(adapter=FakeAdapter(pass_s=0.05))
    worker = worker_of(model, features=features)
    async with anyio.create_task_group() as group:
        for client in "abcd":
            group.start_soon(request, worker, RED, client)
    assert len(model.adapter.batches) == 1
    await worker.aclose()


async def test_the_event_loop_runs_on_while_a_model_loads_and_encodes() -> None:
    model = FakeModel(adapter=FakeAdapter(pass_s=0.3), load_s=0.3)
    worker = worker_of(model)
    async with anyio.create_task_group() as group:
        with no_gap_over(0.15, group):
            await request(worker, RED)
        group.cancel_scope.cancel()
    await worker.aclose()


async def test_a_cancelled_request_leaves_the_queue_at_once() -> None:
    model = FakeModel(adapter=FakeAdapter(pass_s=0.3))
    worker = worker_of(model)
    async with anyio.create_task_group() as group:
        group.start_soon(request, worker, RED, "a")
        await until(lambda: worker.in_memory)
        start = time.perf_counter()
        with anyio.move_on_after(0.02):
            await request(worker, BLUE, "b")
        assert time.perf_counter() - start < 0.15
    assert await request(worker, GREEN) == (0, 255, 0)
    assert model.adapter.batches == [[(255, 0, 0)], [(0, 255, 0)]]
    await worker.aclose()


async def test_a_cancelled_pass_is_interrupted_and_the_next_request_has_its_slot() -> None:
    model = FakeModel(adapter=FakeAdapter(pass_s=2))
    worker = worker_of(model)
    with anyio.move_on_after(0.3):
        await request(worker, RED)
    model.adapter.pass_s = 0
    start = time.perf_counter()
    assert await request(worker, BLUE) == (0, 0, 255)
    assert time.perf_counter() - start < 0.3 + 0.2
    assert model.adapter.interrupted == 1
    await worker.aclose()


async def test_one_who_gives_up_does_not_stop_the_pass_that_others_wait_for() -> None:
    model = FakeModel(adapter=FakeAdapter(pass_s=0.3))
    worker = worker_of(model)
    answers = []

    async def patient() -> None:
        answers.append(await request(worker, RED, "patient"))

    async with anyio.create_task_group() as group:
        with anyio.move_on_after(0.1):
            async with anyio.create_task_group() as hasty:
                hasty.start_soon(request, worker, RED, "hasty")
                await until(lambda: worker.in_memory)
                group.start_soon(patient)
                await anyio.sleep(1)
    assert answers == [(255, 0, 0)]
    assert model.adapter.interrupted == 0
    assert len(model.adapter.batches) == 1
    await worker.aclose()


async def test_work_after_the_pass_is_interrupted_too() -> None:
    model = FakeModel(adapter=FakeAdapter(find_s=2, reuses_text=False))
    worker = worker_of(model)

    def find(loaded: Loaded, state: Any) -> None:
        loaded.model.find(state, ["dog"], None, 0)

    with anyio.move_on_after(0.2):
        await worker.run(find, image=RED, progress=silent)
    await until(lambda: model.adapter.interrupted == 1, 0.5)
    await worker.aclose()


async def test_clients_take_turns() -> None:
    model = FakeModel(adapter=FakeAdapter(pass_s=0.02))
    worker = worker_of(model)
    order: list[str] = []

    async def ask(client: str, image: Picture) -> None:
        await request(worker, image, client)
        order.append(client)

    async with anyio.create_task_group() as group:
        for shade in range(5):
            group.start_soon(ask, "greedy", picture(color=f"#0000{shade:02x}"))
        await anyio.sleep(0.01)
        group.start_soon(ask, "modest", picture(color="#00ff00"))
    assert order.index("modest") <= 2
    await worker.aclose()


async def test_what_can_be_answered_at_once_does_not_wait_for_the_passes_of_others() -> None:
    model = FakeModel(adapter=FakeAdapter(pass_s=0.1))
    worker = worker_of(model)
    await request(worker, RED)
    order: list[str] = []

    async def ask(client: str, image: Picture) -> None:
        await request(worker, image, client)
        order.append(client)

    async with anyio.create_task_group() as group:
        for client in "abc":
            group.start_soon(ask, client, picture(color=f"#00000{client}"))
        await anyio.sleep(0.05)
        group.start_soon(ask, "again", RED)
    assert order.index("again") == 1
    await worker.aclose()


async def test_a_full_queue_refuses_more() -> None:
    model = FakeModel(adapter=FakeAdapter(pass_s=0.2))
    worker = worker_of(model, queue_max=2)
    async with anyio.create_task_group() as group:
        group.start_soon(request, worker, RED)
        await until(lambda: model.loads)
        await anyio.sleep(0.05)
        for image in (BLUE, GREEN):
            group.start_soon(request, worker, image)
        await anyio.sleep(0.01)
        with pytest.raises(BusyError, match=r"2 requests wait for the model fake.*DINOX_MCP_QUEUE_MAX"):
            await request(worker, picture(color="gray"))
    await worker.aclose()


async def test_one_client_with_many_requests_keeps_no_other_out() -> None:
    model = FakeModel(adapter=FakeAdapter(pass_s=0.2))
    worker = worker_of(model, queue_max=4)
    ends: list[str] = []

    async def ask(client: str, number: int) -> None:
        try:
            await request(worker, picture(color=f"#0000{ord(client):02x}", width=20 + number), client)
            ends.append(f"{client} answered")
        except BusyError:
            ends.append(f"{client} refused")

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(ask, "a", number)
        await anyio.sleep(0.05)
        for number in range(4):
            group.start_soon(ask, "b", number)
    assert ends.count("b answered") == 2, "half of the line"
    assert ends.count("b refused") == 2
    await worker.aclose()


async def test_who_waits_for_the_model_alone_does_not_count_in_the_queue_and_is_answered_first() -> None:
    model = FakeModel(adapter=FakeAdapter(pass_s=0.2, reuses_text=False), load_s=0.1)
    worker = worker_of(model, queue_max=1)
    answered: list[str] = []

    async def ask(name: str, image: Picture | None) -> None:
        await worker.run(lambda _loaded, _state: None, image=image, client=name, progress=silent)
        answered.append(name)

    async with anyio.create_task_group() as group:
        group.start_soon(ask, "about a picture", RED)
        await anyio.sleep(0.02)
        group.start_soon(ask, "about the model", None)
    assert answered == ["about the model", "about a picture"]
    await worker.aclose()


async def test_progress_says_what_is_going_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dinox_mcp.backends.local.runtime.worker.HEARTBEAT_S", 0.05)
    model = FakeModel(adapter=FakeAdapter(pass_s=0.3), load_s=0.2)
    worker = worker_of(model)
    heard: list[str] = []

    async def hear(_fraction: float, message: str) -> None:
        heard.append(message)

    async with anyio.create_task_group() as group:
        group.start_soon(partial(worker.run, color_of, image=RED, progress=hear))
        await anyio.sleep(0.02)
        group.start_soon(partial(worker.run, color_of, image=BLUE, client="b", progress=hear))
    assert heard[0] == "loading the model fake"
    assert "encoding the image" in heard
    assert "waiting for the model, 1 request ahead" in heard
    await worker.aclose()


async def test_a_model_that_does_not_load_fails_all_who_wait_and_is_tried_again() -> None:
    model = FakeModel(failure=UnsupportedError("no torch; install it"), load_s=0.05)
    worker = worker_of(model)
    failures = []

    async def ask(image: Picture) -> None:
        with pytest.raises(UnsupportedError, match="no torch; install it") as caught:
            await request(worker, image)
        failures.append(caught.value)

    async with anyio.create_task_group() as group:
        group.start_soon(ask, RED)
        group.start_soon(ask, BLUE)
    assert len(failures) == 2
    assert failures[0] is not failures[1]
    assert not worker.in_memory
    model.failure = None
    assert await request(worker, RED) == (255, 0, 0)
    await worker.aclose()


async def test_a_model_that_fails_is_explained_and_goes_on() -> None:
    model = FakeModel(adapter=FakeAdapter(failure=RuntimeError("shapes differ")))
    worker = worker_of(model)
    with pytest.raises(BackendError, match="the model failed: shapes differ; try again"):
        await request(worker, RED)
    model.adapter.failure = None
    assert await request(worker, RED) == (255, 0, 0)
    await worker.aclose()


async def test_a_fault_of_the_worker_itself_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    model = FakeModel()
    worker = worker_of(model)

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(FeatureCache, "put", broken)
        with anyio.fail_after(2), pytest.raises(BackendError, match="a bug"):
            await request(worker, RED)
    assert await request(worker, RED) == (255, 0, 0)
    await worker.aclose()


async def test_a_damaged_image_fails_its_own_request_only() -> None:
    model = FakeModel(adapter=FakeAdapter(pass_s=0.1), batch=4)
    worker = worker_of(model)
    damaged = Picture(RED.data[:60], 100, 100, "PNG", "broken.png")
    answers: dict[str, Any] = {}

    async def ask(name: str, image: Picture) -> None:
        try:
            answers[name] = await request(worker, image, name)
        except ImageError as error:
            answers[name] = str(error)

    async with anyio.create_task_group() as group:
        group.start_soon(ask, "good", BLUE)
        group.start_soon(ask, "bad", damaged)
    assert answers["good"] == (0, 0, 255)
    assert "broken.png is damaged" in answers["bad"]
    await worker.aclose()


async def test_passes_that_arrive_together_are_batched_by_size_where_that_pays() -> None:
    model = FakeModel(batch=8, load_s=0.05)
    worker = worker_of(model)
    answers: list[Any] = []

    async def ask(image: Picture) -> None:
        answers.append(await request(worker, image, client=str(len(answers))))

    async with anyio.create_task_group() as group:
        for image in (RED, BLUE, GREEN, RED, picture(200, 50, "red"), picture(300, 80, "blue")):
            group.start_soon(ask, image)
    assert len(answers) == 6
    assert sorted(len(batch) for batch in model.adapter.batches) == [2, 3]
    await worker.aclose()


async def test_only_passes_wait_for_others_to_share_their_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = worker_of(FakeModel(adapter=FakeAdapter(reuses_text=False), batch=8))
    await request(worker, RED)
    monkeypatch.setattr("dinox_mcp.backends.local.runtime.queue.BATCH_WAIT_S", 5)
    with anyio.fail_after(1):
        assert await request(worker, RED, quick=False) == (255, 0, 0)
    await worker.aclose()


async def test_a_batch_that_fails_is_tried_one_by_one() -> None:
    class Small(FakeAdapter):
        def encode(self, batch: Any) -> list[Any]:
            if len(batch) > 1:
                raise MemoryError("too much")
            return super().encode(batch)

    worker = worker_of(FakeModel(adapter=Small(), batch=8, load_s=0.05))
    answers: list[Any] = []

    async def ask(image: Picture) -> None:
        answers.append(await request(worker, image))

    async with anyio.create_task_group() as group:
        for image in (RED, BLUE):
            group.start_soon(ask, image)
    assert sorted(answers) == [(0, 0, 255), (255, 0, 0)]
    await worker.aclose()


async def test_an_idle_model_leaves_memory_and_comes_back() -> None:
    model = FakeModel()
    worker = worker_of(model, idle_s=0.1)
    await request(worker, RED)
    assert worker.in_memory
    await until(lambda: not worker.in_memory)
    assert model.trims == 1
    assert await request(worker, RED) == (255, 0, 0)
    assert (model.loads, len(model.adapter.batches)) == (2, 2)
    await worker.aclose()
    assert not worker.in_memory


async def test_nothing_keeps_an_unloaded_model_alive() -> None:
    adapters: list[weakref.ref[FakeAdapter]] = []

    class Fresh(FakeModel):
        def load(self) -> Loaded:
            adapter = FakeAdapter(failure=RuntimeError("no"))
            adapters.append(weakref.ref(adapter))
            return Loaded(adapter, "fresh", "fresh")  # type: ignore[arg-type] # numpy stands in for torch

    worker = worker_of(Fresh(), idle_s=0.1)
    with pytest.raises(BackendError):
        await request(worker, RED)
    await until(lambda: not worker.in_memory)
    assert [adapter() for adapter in adapters] == [None]
    await worker.aclose()


async def test_the_least_recently_used_model_is_unloaded() -> None:
    memory = ModelMemory(2500)
    workers = {name: worker_of(FakeModel(key=name), memory) for name in "abc"}
    for name in "aba":
        await request(workers[name], RED)
    await request(workers["c"], RED)
    assert {name for name, worker in workers.items() if worker.in_memory} == {"a", "c"}
    for worker in workers.values():
        await worker.aclose()


async def test_models_that_do_not_fit_together_take_turns_under_load() -> None:
    memory = ModelMemory(1500)
    models = [FakeModel(key=name, adapter=FakeAdapter(pass_s=0.01)) for name in "ab"]
    workers = [worker_of(model, memory) for model in models]
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            for worker, shade in itertools.product(workers, range(4)):
                group.start_soon(request, worker, picture(color=f"#0000{shade:02x}"), str(shade))
    assert [len(model.adapter.batches) >= 4 for model in models] == [True, True]
    assert sum(worker.in_memory for worker in workers) == 1
    for worker in workers:
        await worker.aclose()


@pytest.mark.parametrize("seed", range(3))
async def test_whoever_comes_and_goes_nobody_is_lost_or_answered_wrongly(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - no secret
    memory = ModelMemory(1500)  # for one model at a time
    models = [FakeModel(key=str(batch), adapter=FakeAdapter(pass_s=0.01), batch=batch) for batch in (1, 4)]
    workers = [
        worker_of(model, memory, features=dice.choice([0, 300]), idle_s=dice.choice([0.01, 60])) for model in models
    ]
    pictures = [picture(color=f"#0000{shade:02x}") for shade in range(6)]
    answered: list[bool] = []

    async def visit(delay_s: float, worker: Worker, shade: int, client: str, patience_s: float) -> None:
        await anyio.sleep(delay_s)
        with anyio.move_on_after(patience_s) as patience:
            assert await request(worker, pictures[shade], client) == (0, 0, shade)
        answered.append(not patience.cancelled_caught)
        assert answered[-1] or patience_s < 1

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            for patience_s in [0.005, 0.02, 0.1, 20] * 15:
                visitor = dice.random() * 0.3, dice.choice(workers), dice.randrange(6), dice.choice("xyz"), patience_s
                group.start_soon(visit, *visitor)
        for worker in workers:
            await worker.aclose()
    assert len(answered) == 60
    assert not any(worker.in_memory for worker in workers)


async def test_closing_stops_what_runs_and_fails_what_waits() -> None:
    model = FakeModel(adapter=FakeAdapter(pass_s=5))
    worker = worker_of(model)
    failures = []

    async def ask(image: Picture) -> None:
        with pytest.raises(BackendError, match="closed"):
            await request(worker, image)
        failures.append(image)

    with anyio.fail_after(2):
        async with anyio.create_task_group() as group:
            group.start_soon(ask, RED)
            group.start_soon(ask, BLUE)
            await until(lambda: worker.in_memory)
            await worker.aclose()
    assert len(failures) == 2
    assert not worker.in_memory
    with pytest.raises(BackendError, match="closed"):
        await request(worker, RED)


def test_a_worker_outlives_an_event_loop() -> None:
    model = FakeModel()
    worker = worker_of(model)
    assert anyio.run(request, worker, RED) == (255, 0, 0)
    assert anyio.run(request, worker, RED) == (255, 0, 0)
    anyio.run(worker.aclose)
    assert (model.loads, len(model.adapter.batches)) == (1, 1)


@dataclass
class Resizing(FakeAdapter):
    """Remembers the size of each picture that it resized."""

    resized: list[tuple[int, int]] = field(default_factory=list)

    def prepare(self, image: Image.Image) -> Prepared:
        self.resized.append(image.size)
        return super().prepare(image)


@pytest.mark.parametrize("pictures", [[RED], [RED, BLUE]], ids=["one", "a batch"])
def test_a_cancellation_while_images_are_decoded_is_seen_before_they_are_resized(
    pictures: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, adapter, decode = Event(), Resizing(), Picture.rgb

    def cancelled_meanwhile(self: Picture) -> Image.Image:
        stop.set()
        return decode(self)

    monkeypatch.setattr(Picture, "rgb", cancelled_meanwhile)
    with pytest.raises(Interrupted), interruptible(stop):
        encode(adapter, pictures)  # type: ignore[arg-type] # numpy stands in for torch
    assert adapter.resized == []
