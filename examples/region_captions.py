"""Say what each thing in a picture is, in words, and what is written on it. Needs a DINO-X key or the local backend.

DINOX_API_KEY=… python examples/region_captions.py photo.jpg bag bottle
"""

import asyncio
import sys
from pathlib import Path

from dinox_mcp.detector import Detector
from dinox_mcp.drawing.output import write_annotated
from dinox_mcp.errors import DinoxError


async def main(picture: str, prompts: list[str]) -> None:
    """Find, describe all in one call, draw with the words beside the picture."""
    async with Detector() as detector:
        result = await detector.detect(
            picture, prompts or None, include=["caption", "category", "text"], max_objects=20
        )
        for found in result.objects:
            print(f"{found.id:3} {found.label}: {found.caption or found.category or ''} {found.text or ''}")
        image = await detector.load(picture)
        print(write_annotated(Path("out/region-captions.jpg"), image, result.objects))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        asyncio.run(main(sys.argv[1], sys.argv[2:]))
    except DinoxError as error:
        sys.exit(str(error))
