"""Find everything that the backend knows, without saying what. Without a key: 80 kinds of things, text and codes.

python examples/prompt_free.py [photo.jpg]
"""

import asyncio
import sys
from pathlib import Path

from dinox_mcp.detector import Detector
from dinox_mcp.drawing.output import write_annotated
from dinox_mcp.errors import DinoxError

SAMPLE = Path(__file__).resolve().parent / "sample.png"


async def main(picture: str) -> None:
    """Detect, with masks where the backend has them; print, draw."""
    async with Detector() as detector:
        able = detector.backends.get(detector.backends.choose()).capabilities()
        has_masks = "masks" in able.outputs | able.describes
        result = await detector.detect(picture, include=["masks"] if has_masks else [])
        print(f"{result.backend} found {result.counts}")
        for found in result.objects:
            print(f"{found.id:3} {found.label:10} {found.text or ''}")
        image = await detector.load(picture)
        print(write_annotated(Path("out/prompt-free.jpg"), image, result.objects))


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else str(SAMPLE)))
    except DinoxError as error:
        sys.exit(str(error))
