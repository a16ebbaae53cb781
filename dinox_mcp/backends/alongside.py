"""Something that runs while something else does, such as telling the caller how far a call is."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio


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
