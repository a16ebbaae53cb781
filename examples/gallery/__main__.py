"""Makes the gallery: calls the server about the images here, and writes down what it returns.

    python -m examples.gallery            the images and docs/gallery.md
    python -m examples.gallery coins      what the named cases print, and nothing else

Everything runs on the embedded backend: no key, no download, no network. Needs the extra `video`.
"""

import asyncio
import io
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from examples.gallery import pages, scenes
from examples.gallery.cases import CASES, Case
from examples.gallery.session import Session, server, timeless
from examples.make_sample import scene

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PICTURES = ROOT / "docs" / "gallery"
_MAX_BYTES = 140_000
_MAX_WIDTH = 1280
_MAX_HEIGHT_OF_TALL = 720


def prepare(folder: Path, *, film: bool = True) -> None:
    """Put the images of the cases into a folder; painting the film takes some seconds."""
    for photo in (HERE / "photos").glob("*.[jp][pn]g"):
        (folder / photo.name).write_bytes(photo.read_bytes())
    with Image.open(folder / "coins.png") as photo:
        twice = photo.convert("RGB").resize((photo.width * 2, photo.height * 2), Image.Resampling.LANCZOS)
    twice.save(folder / "coins.png")
    scene().save(folder / "warehouse.png")
    scenes.pallet().save(folder / "pallet.png")
    scenes.shelf("TTSSSRRT", "SSSRRTTT", "RRRTTSSS").save(folder / "shelf-before.png")
    scenes.shelf("TT.SSRRT", "SSSR.TT.", "RRRTTS.S").save(folder / "shelf-after.png")
    if film:
        scenes.film(folder / "vehicles.mp4")


async def play(cases: tuple[Case, ...], folder: Path) -> list[pages.Played]:
    """Play the cases, one after the other."""
    played = []
    for case in cases:
        async with server() as client:
            session = Session(client, folder)
            said = await case.play(session)
            played.append(pages.Played(case, session.calls, timeless(session.answer), said, session.picture))
    return played


def shrunk(picture: bytes) -> bytes:
    """Encode a picture for a page: not larger than a screen, not heavier than `_MAX_BYTES`."""
    with Image.open(io.BytesIO(picture)) as image:
        small = image.convert("RGB")
    height = _MAX_HEIGHT_OF_TALL if small.height > small.width else _MAX_WIDTH
    small.thumbnail((_MAX_WIDTH, height), Image.Resampling.LANCZOS)
    for quality in range(88, 30, -4):
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=quality, optimize=True, progressive=True)
        if buffer.tell() <= _MAX_BYTES:
            break
    return buffer.getvalue()


def main(names: list[str]) -> None:
    """Play all cases and write the pages, or play some and print them."""
    chosen = tuple(case for case in CASES if case.name in names or not names)
    with TemporaryDirectory() as folder:
        prepare(Path(folder))
        played = asyncio.run(play(chosen, Path(folder)))
    for one in played:
        print("\n".join([f"== {one.case.title}: {one.case.question}", *one.calls, one.answer, f"=> {one.said}", ""]))
    if names:
        return
    PICTURES.mkdir(exist_ok=True)
    for one in played:
        (PICTURES / f"{one.case.name}.jpg").write_bytes(shrunk(one.picture))
    (ROOT / "docs" / "gallery.md").write_text(pages.page(played))


if __name__ == "__main__":
    main(sys.argv[1:])
