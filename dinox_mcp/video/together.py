"""Several things at once, each with an answer of its own kind."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from dinox_mcp.backends.alongside import gather

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")
Work = Callable[[], Awaitable[T]]


async def together(ask: Work[T], follow: Work[U], draw: Work[None], decode: Work[V]) -> tuple[T, U, V]:
    """Do four things at once; the first error stops the others and comes out as it is."""
    works: list[Work[Any]] = [ask, follow, decode, draw]
    asked, followed, decoded, _ = await gather(works, len(works))
    return asked, followed, decoded
