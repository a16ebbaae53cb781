"""Detect what you name, and draw it: anything with a DINO-X key or a local model, 80 kinds of things without.

DINOX_API_KEY=… python examples/open_vocabulary.py photo.jpg person "red car"
"""

import asyncio
import sys
from pathlib import Path

from dinox_mcp import Detector, DinoxError, Style, write_annotated


async def main(image: str, prompts: list[str]) -> None:
    """Detect, with masks where the backend has them; print, draw."""
    async with Detector() as detector:
        able = detector.backends.get(detector.backends.choose()).capabilities()
        has_masks = "masks" in able.outputs | able.describes
        result = await detector.detect(image, prompts, include=["masks"] if has_masks else [])
        for found in result.objects:
            print(f"{found.id:3} {found.label:20} {found.score or 0:.2f} {[round(edge) for edge in found.bbox]}")
        print(result.counts)
        picture = await detector.load(image)
        print(write_annotated(Path("out/open-vocabulary.jpg"), picture, result.objects, Style(opacity=0.5)))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        asyncio.run(main(sys.argv[1], sys.argv[2:]))
    except DinoxError as error:
        sys.exit(str(error))
