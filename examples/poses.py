"""Find people and how they stand: 17 named keypoints each. Needs no key.

python examples/poses.py photo.jpg
"""

import asyncio
import sys
from pathlib import Path

from dinox_mcp.detector import Detector
from dinox_mcp.drawing.output import write_annotated
from dinox_mcp.errors import DinoxError


async def main(picture: str) -> None:
    """Find, print whose hands are above the shoulders, draw the skeletons."""
    async with Detector() as detector:
        result = await detector.detect(picture, "person", include=["pose"])
        for person in result.objects:
            points = {point.name: point for point in person.keypoints if point.visibility != 0}
            raised = [
                side
                for side in ("left", "right")
                if {f"{side}_wrist", f"{side}_shoulder"} <= points.keys()
                and points[f"{side}_wrist"].y < points[f"{side}_shoulder"].y
            ]
            print(f"person {person.id}: {' and '.join(raised) or 'no'} hand raised")
        image = await detector.load(picture)
        print(write_annotated(Path("out/poses.jpg"), image, result.objects))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        asyncio.run(main(sys.argv[1]))
    except DinoxError as error:
        sys.exit(str(error))
