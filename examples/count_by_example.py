"""Count what looks like one of them: give a box around one. Without a key, it matches pixels; a model knows better.

python examples/count_by_example.py photo.jpg 10 10 60 60
"""

import asyncio
import sys
from pathlib import Path

from dinox_mcp.detect.visual_prompts import Pointer
from dinox_mcp.detector import Detector
from dinox_mcp.drawing.output import write_annotated
from dinox_mcp.drawing.style import Style
from dinox_mcp.errors import DinoxError


async def main(picture: str, x1: float, y1: float, x2: float, y2: float) -> None:
    """Count, say how sure that is, draw the numbers."""
    async with Detector() as detector:
        count = await detector.count_objects(picture, examples=[Pointer(bbox=(x1, y1, x2, y2), label="one like it")])
        print(count.result.counts)
        for level in count.levels:
            print(f"with min_score {level.min_score:.2f}: {sum(level.counts.values())}")
        image = await detector.load(picture)
        print(write_annotated(Path("out/count-by-example.jpg"), image, count.result.objects, Style(labels=False)))


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    try:
        asyncio.run(main(sys.argv[1], *map(float, sys.argv[2:])))
    except DinoxError as error:
        sys.exit(str(error))
