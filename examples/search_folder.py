"""Search a folder: which images hold what, the best on one sheet. Makes the image of docs/search.md with SHEET.

python examples/search_folder.py [FOLDER PROMPT ...] [--sheet SHEET.jpg]
"""

import argparse
import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from dinox_mcp import Detector, DinoxError, Settings

PROMPTS = ["person", "QR code", "barcode", "marker"]


def paint(folder: Path) -> None:
    """Put the images of the gallery into a folder: photographs, and what examples/gallery paints."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from examples.gallery.__main__ import prepare

    prepare(folder, film=False)
    with Image.open(folder / "pallet.png") as pallet:
        pallet.crop((0, 0, pallet.width // 2, pallet.height)).save(folder / "half-a-pallet.png")
    (folder / "again.png").write_bytes((folder / "pallet.png").read_bytes())


async def search(folder: str, prompts: list[str]) -> bytes | None:
    """Search, print the images with the most, and draw the sheet."""
    with TemporaryDirectory() as jobs:  # leave jobs_folder out to keep what was found for the next time
        async with Detector(Settings.load(jobs_folder=jobs)) as detector:
            result = await detector.search(folder, prompts)
            sheet = await detector.searches.sheet(result)
    print(result.counts, f"in {result.found} of {result.total} images, {result.copies} of them copies")
    for place, found in enumerate(result.images, start=1):
        print(place, Path(found.image).name, found.counts)
    return sheet


def main() -> None:
    """Read the arguments; without any, search the images of the gallery."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arguments", nargs="*", metavar="FOLDER PROMPT")
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    with TemporaryDirectory() as own:
        folder, *prompts = options.arguments or (own, *PROMPTS)
        if folder == own:
            paint(Path(own))
        try:
            sheet = asyncio.run(search(folder, prompts))
        except DinoxError as error:
            sys.exit(str(error))
    if options.sheet is not None and sheet is not None:
        options.sheet.write_bytes(sheet)


if __name__ == "__main__":
    main()
