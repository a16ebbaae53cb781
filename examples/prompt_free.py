"""Detect everything that the backend knows, without prompts. Without a key: 80 kinds of things, text and codes.

python examples/prompt_free.py [photo.jpg]
"""

import asyncio
import sys
from pathlib import Path

from dinox_mcp import Detector, DinoxError, write_annotated

SAMPLE = Path(__file__).resolve().parent / "sample.png"


async def main(image: str) -> None:
    """Detect, with masks where the backend has them; print, draw."""
    async with Detector() as detector:
        able = detector.backends.get(detector.backends.choose()).capabilities()
        has_masks = "masks" in able.outputs | able.describes
        result = await detector.detect(image, include=["masks"] if has_masks else [])
        print(f"{result.backend} found {result.counts}")
        for found in result.objects:
            print(f"{found.id:3} {found.label:10} {found.text or ''}")
        picture = await detector.load(image)
        print(write_annotated(Path("out/prompt-free.jpg"), picture, result.objects))


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else str(SAMPLE)))
    except DinoxError as error:
        sys.exit(str(error))
