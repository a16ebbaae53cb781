"""Count the objects that look like one of them, given by its box. Without a key the pixels are matched.

python examples/count_by_example.py photo.jpg 10 10 60 60
"""

import asyncio
import sys
from pathlib import Path

from dinox_mcp import Detector, DinoxError, Style, VisualPrompt, write_annotated


async def main(image: str, x1: float, y1: float, x2: float, y2: float) -> None:
    """Count, print how the number changes with the threshold, draw the numbers."""
    async with Detector() as detector:
        count = await detector.count_objects(image, examples=[VisualPrompt(bbox=(x1, y1, x2, y2), label="one like it")])
        print(count.result.counts)
        for level in count.levels:
            print(f"with min_score {level.min_score:.2f}: {sum(level.counts.values())}")
        picture = await detector.load(image)
        print(write_annotated(Path("out/count-by-example.jpg"), picture, count.result.objects, Style(labels=False)))


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    try:
        asyncio.run(main(sys.argv[1], *map(float, sys.argv[2:])))
    except DinoxError as error:
        sys.exit(str(error))
