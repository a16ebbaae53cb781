"""Tells the caller what a call is doing, at every change and regularly in between."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio

from dinox_mcp.backends.alongside import alongside
from dinox_mcp.backends.base import Progress


class Stage:
    """Where a call stands: a fraction that only grows, and a few words."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._fraction = 0.0
        self._message = ""

    async def say(self, fraction: float, message: str) -> None:
        """Report a change."""
        self._fraction = max(self._fraction, fraction)
        self._message = message
        await self._progress(self._fraction, message)

    async def repeat(self, every_s: float) -> None:
        """Report again and again, creeping forward, so that nobody takes a long wait for a dead one."""
        while True:
            await anyio.sleep(every_s)
            await self.say(self._fraction + (0.95 - self._fraction) / 20, self._message)


@asynccontextmanager
async def telling(progress: Progress, every_s: float) -> AsyncIterator[Stage]:
    """Keep a caller told while the block runs."""
    stage = Stage(progress)
    async with alongside(partial(stage.repeat, every_s)):
        yield stage
