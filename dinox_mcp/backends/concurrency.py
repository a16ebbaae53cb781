"""Something that runs while something else does, such as telling the caller how far a call is."""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


@asynccontextmanager
async def alongside(companion: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run a companion while the block runs; an error of the block comes out as it is, not wrapped in a group."""
    problem = None
    async with anyio.create_task_group() as group:
        group.start_soon(companion)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised below, where the group does not wrap it
            problem = error
        finally:
            group.cancel_scope.cancel()
    if problem:
        raise problem


async def gather(works: Sequence[Callable[[], Awaitable[T]]], at_a_time: int) -> list[T]:
    """Do some works, a few at a time; the first error stops the others and comes out as it is, not in a group."""
    answers: dict[int, T] = {}
    problems: list[Exception] = []
    limiter = anyio.CapacityLimiter(at_a_time)

    async def do(place: int, work: Callable[[], Awaitable[T]]) -> None:
        async with limiter:
            try:
                answers[place] = await work()
            except Exception as error:  # noqa: BLE001 - raised below, where the group does not wrap it
                problems.append(error)
                group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for place, work in enumerate(works):
            group.start_soon(do, place, work)
    if problems:
        raise problems[0]
    return [answers[place] for place in range(len(works))]
