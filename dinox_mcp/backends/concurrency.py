"""Runs coroutines at the same time, with plain errors instead of error groups."""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


@asynccontextmanager
async def alongside(companion: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run a companion while the block runs; an error of the block is raised as it is, not in a group."""
    raised = None
    async with anyio.create_task_group() as group:
        group.start_soon(companion)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised below, where the group does not wrap it
            raised = error
        finally:
            group.cancel_scope.cancel()
    if raised:
        raise raised


async def gather(calls: Sequence[Callable[[], Awaitable[T]]], at_a_time: int) -> list[T]:
    """Await calls, a few at a time, and give their results in order; the first error cancels the others."""
    results: dict[int, T] = {}
    errors: list[Exception] = []
    limiter = anyio.CapacityLimiter(at_a_time)

    async def run(index: int, call: Callable[[], Awaitable[T]]) -> None:
        async with limiter:
            try:
                results[index] = await call()
            except Exception as error:  # noqa: BLE001 - raised below, where the group does not wrap it
                errors.append(error)
                group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for index, call in enumerate(calls):
            group.start_soon(run, index, call)
    if errors:
        raise errors[0]
    return [results[index] for index in range(len(calls))]
