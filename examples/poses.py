"""Detect people and their poses: 17 named keypoints each. Needs no key.

python examples/poses.py photo.jpg
"""

import asyncio
import sys
from pathlib import Path

from dinox_mcp import Detector, DinoxError, write_annotated


async def main(image: str) -> None:
    """Detect, print whose hands are above the shoulders, draw the skeletons."""
    async with Detector() as detector:
        result = await detector.detect(image, "person", include=["pose"])
        for person in result.objects:
            points = {point.name: point for point in person.keypoints if point.visibility != 0}
            raised = [
                side
                for side in ("left", "right")
                if {f"{side}_wrist", f"{side}_shoulder"} <= points.keys()
                and points[f"{side}_wrist"].y < points[f"{side}_shoulder"].y
            ]
            print(f"person {person.id}: {' and '.join(raised) or 'no'} hand raised")
        picture = await detector.load(image)
        print(write_annotated(Path("out/poses.jpg"), picture, result.objects))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        asyncio.run(main(sys.argv[1]))
    except DinoxError as error:
        sys.exit(str(error))
