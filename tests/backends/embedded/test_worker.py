"""The worker: one piece of work at a time, stopped when its call is cancelled."""

import threading
import time

import anyio
import pytest

from dinox_mcp.backends.base import silent
from dinox_mcp.backends.embedded.worker import AbandonedError, Steps, Worker
from dinox_mcp.errors import BusyError

pytestmark = pytest.mark.anyio


class Slow:
    """Work that goes on until it is released, step by step."""

    def __init__(self) -> None:
        self.started, self.release, self.ended = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, steps: Steps) -> str:
        self.started.set()
        try:
            while not self.release.wait(0.005):
                steps.report(0.5, "working")
        finally:
            self.ended.set()
        return "done"


async def test_a_cancelled_call_returns_at_once_and_its_work_ends_at_the_next_step() -> None:
    worker, slow = Worker(queue=4), Slow()
    with anyio.move_on_after(0.2) as scope:
        await worker.run(slow, silent)
    assert scope.cancelled_caught
    assert slow.ended.wait(1)
    assert await worker.run(lambda _steps: "next", silent) == "next"


async def test_a_waiting_call_leaves_at_once_and_never_works() -> None:
    worker, slow = Worker(queue=4), Slow()
    worked: list[str] = []
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run, slow, silent)
        await anyio.to_thread.run_sync(slow.started.wait)
        with anyio.fail_after(10), anyio.move_on_after(0.05):
            await worker.run(lambda _steps: worked.append("too late"), silent)
        slow.release.set()
    assert await worker.run(lambda _steps: "next", silent) == "next"
    assert worked == []


@pytest.mark.slow
async def test_threads_of_cancelled_calls_do_not_pile_up() -> None:
    worker, slow = Worker(queue=16), Slow()
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run, slow, silent)
        await anyio.to_thread.run_sync(slow.started.wait)
        before = threading.active_count()
        for _ in range(8):
            with anyio.move_on_after(0.02):
                await worker.run(lambda _steps: None, silent)
            await anyio.sleep(0.3)
        assert threading.active_count() < before + 6  # each leaves and serves the next; otherwise there were 8 more
        slow.release.set()


async def test_a_listener_that_has_gone_does_not_lose_the_answer() -> None:
    async def gone(_fraction: float, _message: str) -> None:
        raise anyio.ClosedResourceError

    assert await Worker(queue=1).run(lambda _steps: time.sleep(0.05) or "answer", gone) == "answer"


async def test_a_full_queue_is_an_error() -> None:
    worker, slow = Worker(queue=1), Slow()
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run, slow, silent)
        await anyio.to_thread.run_sync(slow.started.wait)
        group.start_soon(worker.run, lambda _steps: None, silent)
        await anyio.sleep(0.05)
        with pytest.raises(BusyError, match="1 images are waiting already; try again"):
            await worker.run(lambda _steps: None, silent)
        slow.release.set()


def test_steps_end_abandoned_work() -> None:
    steps = Steps()
    steps.report(0.1, "going")
    steps.stopped = True
    with pytest.raises(AbandonedError):
        steps.report(0.2, "still going")


def test_a_part_reports_its_share() -> None:
    steps = Steps()
    steps.part(0.5, 0.9, "second part")(0.5)
    assert steps.now == (pytest.approx(0.7), "second part")
