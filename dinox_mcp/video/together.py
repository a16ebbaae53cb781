"""Several things at once."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")
Work = Callable[[], Awaitable[T]]


async def together(ask: Work[T], follow: Work[U], draw: Work[None], decode: Work[V]) -> tuple[T, U, V]:
    """Do four things at once; the first error stops the others and comes out as it is."""
    answers: dict[int, Any] = {}
    problems: list[Exception] = []

    async def do(place: int, work: Work[object]) -> None:
        try:
            answers[place] = await work()
        except Exception as error:  # noqa: BLE001 - raised below, where the group does not wrap it
            problems.append(error)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        works: tuple[Work[object], ...] = (ask, follow, decode, draw)
        for place, work in enumerate(works):
            group.start_soon(do, place, work)
    if problems:
        raise problems[0]
    return answers[0], answers[1], answers[2]
