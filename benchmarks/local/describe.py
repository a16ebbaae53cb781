"""How the local backend describes boxes, used as the server uses it. Run as a process of its own."""

import asyncio
import random
import sys
import time
from pathlib import Path
from typing import cast

from benchmarks.local.child import serve
from dinox_mcp.backends.base import Call
from dinox_mcp.backends.local.backend import LocalBackend
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import Detection, Output


def main(masks: str, pose: str, caption: str) -> None:
    """Answer requests, all in one event loop."""
    options = {"masks_model": masks, "pose_model": pose, "caption_model": caption, "device": "cpu", "timeout_s": 600}
    backend = LocalBackend(Settings.load(**options))

    async def describe(picture: str, size: tuple[int, int], output: str, count: int) -> float:
        """Tell one thing of boxes: seconds from the picture's file to the answer."""
        boxes = [Detection(label="person", bbox=_box(size, number)) for number in range(count)]
        started = time.perf_counter()
        image = Picture.from_bytes(await asyncio.to_thread(Path(picture).read_bytes))
        await backend.describe(image, boxes, frozenset({cast("Output", output)}), Call())
        return time.perf_counter() - started

    with asyncio.Runner() as runner:
        serve({"describe": lambda **arguments: runner.run(describe(**arguments))})


def _box(size: tuple[int, int], number: int) -> tuple[float, float, float, float]:
    """Give a box a sixth of the picture wide and a third of it high, each number its own."""
    dice = random.Random(number)
    width, height = size[0] / 6, size[1] / 3
    x, y = dice.uniform(0, size[0] - width), dice.uniform(0, size[1] - height)
    return x, y, x + width, y + height


if __name__ == "__main__":
    main(*sys.argv[1:])
