"""Redact a face by each method, cut objects out, and write labels. Without a key.

python examples/export_objects.py [FOLDER]         into out/export by default
python examples/export_objects.py docs             makes docs/export.jpg, the image of docs/export.md, there
"""

import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from dinox_mcp import Detector, DinoxError

HERE = Path(__file__).resolve().parent
PHOTO = HERE / "gallery" / "photos" / "astronaut.jpg"
PARTS = (130, 20, 330, 220)


async def export(folder: Path) -> list[Image.Image]:
    """Detect once, export in several ways, and return the face: as it is, and redacted."""
    parts = [Image.open(PHOTO).convert("RGB").crop(PARTS)]
    async with Detector() as detector:
        result = await detector.detect(str(PHOTO), ["person", "face"])
        with TemporaryDirectory() as place:
            for method in ("fill", "blur", "pixelate"):
                done = await detector.export(
                    result, "redacted", Path(place), labels=["face"], method=method, overwrite=True
                )
                with Image.open(Path(place) / done.files[0]) as copy:
                    parts.append(copy.crop(PARTS))
        if folder.name != "docs":
            for kind in ("crops", "cutouts", "coco"):
                done = await detector.export(result, kind, folder, overwrite=True)
                print(*done.lines(10), sep="\n")
    return parts


def main(folder: Path) -> None:
    """Show the redacted faces side by side."""
    parts = asyncio.run(export(folder))
    sheet = Image.new("RGB", (len(parts) * 208 - 8, 200), "white")
    for number, part in enumerate(parts):
        sheet.paste(part, (number * 208, 0))
    folder.mkdir(parents=True, exist_ok=True)
    sheet.save(folder / "export.jpg", quality=88)
    print(folder / "export.jpg")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/export"))
    except DinoxError as error:
        sys.exit(str(error))
