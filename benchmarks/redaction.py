"""Is anything of redacted faces and texts left for our own detectors?

    python -m benchmarks.redaction PHOTOS...     files, or folders of photographs that show people

Faces are those that the embedded backend finds in the photographs and in their mirror images, the first hundred. Texts
are drawn here, in Pillow's font, on plain and on noisy grounds, level and turned. Each is redacted by its box, by each
method, and searched again: `fill` also without a margin; the other methods always have one. A face is recovered if one
is found whose center is in the old box, or which shares a quarter of it. A text is recovered if what is read at its
place has two equal characters in a row. The exit status is 1 if one is.
"""

import argparse
import asyncio
import io
import random
import string
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from dinox_mcp.detector import Detector
from dinox_mcp.drawing.views import encode_jpeg
from dinox_mcp.export.objects import redacted
from dinox_mcp.export.options import METHODS, REDACTED_PADDING, Method
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.boxes import intersection, iou
from dinox_mcp.types.detection import DetectedObject

FACES = 100
TEXTS, LINES = 24, 5
SIZE = (900, 700)
SAME_FACE = 0.25
RUN = 2
"""Equal characters in a row that count as read."""
QUALITY = 92
_WAYS: tuple[tuple[Method, float], ...] = (*((method, REDACTED_PADDING) for method in METHODS), ("fill", 0.0))


@dataclass
class Tally:
    """How many were redacted, and which of them were recovered."""

    redacted: int = 0
    recovered: int = 0


async def main(paths: Sequence[Path]) -> int:
    """Redact, search again, and print a table."""
    tallies = {(kind, *one): Tally() for kind in ("face", "text") for one in _WAYS}
    async with Detector(Settings(backend="embedded")) as detector:
        for kind, pictures in (("face", _photos(paths)), ("text", _texts())):
            for picture in pictures:
                await _measure(detector, kind, picture, tallies)
                if kind == "face" and tallies[kind, "fill", 0.0].redacted >= FACES:
                    break
    print("| what | method | margin | redacted | recovered |\n|---|---|--:|--:|--:|")
    for (kind, method, padding), tally in tallies.items():
        print(f"| {kind} | {method} | {padding:g} | {tally.redacted} | {tally.recovered} |")
    return int(any(tally.recovered for tally in tallies.values()))


async def _measure(
    detector: Detector, kind: str, picture: Picture, tallies: dict[tuple[str, Method, float], Tally]
) -> None:
    before = (await detector.detect(picture, [kind], max_objects=1000)).objects
    if not before:
        return
    for method, padding in _WAYS:
        data = encode_jpeg(redacted(picture.rgb(), before, method, "box", padding), QUALITY)
        after = (await detector.detect(Picture.from_bytes(data), [kind], max_objects=1000)).objects
        tally = tallies[kind, method, padding]
        tally.redacted += len(before)
        is_left = _is_read if kind == "text" else _is_seen
        left = [found for found in before if any(is_left(found, other) for other in after)]
        tally.recovered += len(left)
        for found in left:
            again = [other.text or other.score for other in after if is_left(found, other)]
            print(f"recovered, {method}, {padding:g}: {picture.source} {found.bbox} {found.text or ''} {again}")


def _is_seen(face: DetectedObject, other: DetectedObject) -> bool:
    x, y = (other.bbox[0] + other.bbox[2]) / 2, (other.bbox[1] + other.bbox[3]) / 2
    inside = face.bbox[0] <= x <= face.bbox[2] and face.bbox[1] <= y <= face.bbox[3]
    return inside or iou(face.bbox, other.bbox) > SAME_FACE


def _is_read(text: DetectedObject, other: DetectedObject) -> bool:
    if not intersection(text.bbox, other.bbox):
        return False
    known, read = text.text or "", other.text or ""
    return any(known[start : start + RUN] in read for start in range(len(known) - RUN + 1))


def _photos(paths: Sequence[Path]) -> Iterator[Picture]:
    files = [file for path in paths for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    for file in files:
        if file.suffix.lower() in {".jpg", ".jpeg", ".png"}:
            photo = Picture.from_bytes(file.read_bytes(), file.name)
            yield photo
            mirrored = encode_jpeg(ImageOps.mirror(photo.rgb()), QUALITY)
            yield Picture.from_bytes(mirrored, f"{file.name}, mirrored")


def _texts() -> Iterator[Picture]:
    chance = random.Random(12)
    noise = np.random.default_rng(12)
    for number in range(TEXTS):
        ground = np.full((SIZE[1], SIZE[0], 3), chance.randrange(120, 256), np.uint8)
        if number % 2:
            ground -= noise.integers(0, 60, ground.shape, np.uint8)
        image = Image.fromarray(ground)
        draw = ImageDraw.Draw(image)
        for line in range(LINES):
            words = " ".join(
                "".join(chance.choices(string.ascii_letters + string.digits, k=chance.randrange(3, 9)))
                for _ in range(chance.randrange(1, 4))
            )
            ink = (chance.randrange(90), chance.randrange(60), chance.randrange(90))
            font = ImageFont.load_default(chance.randrange(16, 60))
            draw.text((chance.randrange(20, 120), 20 + 140 * line), words, ink, font)
        if number % 4 == 3:
            image = image.rotate(chance.uniform(-25, 25), Image.Resampling.BICUBIC, fillcolor=(200, 200, 200))
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        yield Picture.from_bytes(buffer.getvalue(), f"text-{number}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", type=Path, help="files, or folders")
    sys.exit(asyncio.run(main(parser.parse_args().photos)))
