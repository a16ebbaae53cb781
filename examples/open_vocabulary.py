"""Find what you name, and draw it: anything with a DINO-X key or a local model, 80 kinds of things without.

DINOX_API_KEY=… python examples/open_vocabulary.py photo.jpg person "red car"
"""

import asyncio
import sys
from pathlib import Path

from dinox_mcp.detector import Detector
from dinox_mcp.drawing.output import write_annotated
from dinox_mcp.drawing.style import Style
from dinox_mcp.errors import DinoxError


async def main(picture: str, prompts: list[str]) -> None:
    """Detect, with masks where the backend has them; print, draw."""
    async with Detector() as detector:
        able = detector.backends.get(detector.backends.choose()).capabilities()
        has_masks = "masks" in able.outputs | able.describes
        result = await detector.detect(picture, prompts, include=["masks"] if has_masks else [])
        for found in result.objects:
            print(f"{found.id:3} {found.label:20} {found.score or 0:.2f} {[round(edge) for edge in found.bbox]}")
        print(result.counts)
        image = await detector.load(picture)
        print(write_annotated(Path("out/open-vocabulary.jpg"), image, result.objects, Style(opacity=0.5)))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        asyncio.run(main(sys.argv[1], sys.argv[2:]))
    except DinoxError as error:
        sys.exit(str(error))
