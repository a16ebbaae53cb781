"""Find what changed between two images of one scene, though the camera moved and the light is another.

python examples/compare_images.py [before.jpg after.jpg]      without images, two are painted
"""

import asyncio
import io
import sys
from pathlib import Path

from PIL import Image, ImageEnhance

from dinox_mcp import Detector, DinoxError
from dinox_mcp.drawing.output import write_file
from dinox_mcp.images.picture import Picture
from examples import make_sample
from examples.make_sample import PAPER, STEEL, Canvas, carton, light

OUT = Path("out/compare.jpg")


def painted() -> tuple[Picture, Picture]:
    """Paint a warehouse twice: a board with a marker is gone, a carton came, and the bay has another number."""
    paint = Canvas()
    for part in ("hall", "loading_bay", "exit_door", "rack", "vehicle", "notice", "parcel", "floor_stripes"):
        getattr(make_sample, part)(paint)
    carton(paint, (120, 380, 270, 480), tape=False)
    paint.rectangle((88, 94, 398, 162), STEEL, 8, light(STEEL, 0.6))
    paint.text((243, 128), "LOADING BAY 5", 36, PAPER, "mm", bold=True)
    turned = paint.image.reduce(make_sample.FINE).rotate(1.5, Image.Resampling.BICUBIC, translate=(14, -10))
    width, height = turned.size
    seen = turned.crop((48, 32, width - 48, height - 32)).resize((width, height), Image.Resampling.LANCZOS)
    return _encoded(make_sample.scene()), _encoded(ImageEnhance.Brightness(seen).enhance(0.8))


def _encoded(image: Image.Image) -> Picture:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=90)
    return Picture.from_bytes(buffer.getvalue(), "painted.jpg")


async def main(before: str | Picture, after: str | Picture) -> None:
    """Compare, print, draw."""
    async with Detector() as detector:
        found = await detector.compare(before, after)
        for change in found.changes:
            texts = [text for text in (change.text_before, change.text_after) if text]
            print(change.id, change.kind, change.label or "part of the image", *texts)
        print(write_file(OUT, await detector.comparisons.side_by_side(found.comparison_id)))


if __name__ == "__main__":
    try:
        asyncio.run(main(*(sys.argv[1:3] if len(sys.argv) > 2 else painted())))
    except DinoxError as error:
        sys.exit(str(error))
