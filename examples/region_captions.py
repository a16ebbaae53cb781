"""Caption each object of an image, and read what is written on it. Needs a DINO-X key or the local backend.

DINOX_API_KEY=… python examples/region_captions.py photo.jpg bag bottle
"""

import asyncio
import sys
from pathlib import Path

from dinox_mcp import Detector, DinoxError, write_annotated


async def main(image: str, prompts: list[str]) -> None:
    """Detect and describe in one call; print, draw."""
    async with Detector() as detector:
        result = await detector.detect(image, prompts or None, include=["caption", "category", "text"], max_objects=20)
        for found in result.objects:
            print(f"{found.id:3} {found.label}: {found.caption or found.category or ''} {found.text or ''}")
        picture = await detector.load(image)
        print(write_annotated(Path("out/region-captions.jpg"), picture, result.objects))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        asyncio.run(main(sys.argv[1], sys.argv[2:]))
    except DinoxError as error:
        sys.exit(str(error))
