"""Paints the scenes of the gallery for which there is no photograph that may be shown: a pallet, a shelf, a film."""

from fractions import Fraction
from pathlib import Path

import cv2
from PIL import Image

from examples.make_sample import (
    INK,
    KRAFT,
    PAPER,
    SIZE,
    STEEL,
    YELLOW,
    Canvas,
    Color,
    carton,
    dark,
    ean_bars,
    hall,
    light,
    marker,
    qr_code,
)

FILM_SIZE = (960, 436)
_FILMED = (0, 540, 2560, 1704)  # of the painted scene: the ceiling is left out
FILM_S = 6
FPS = 15
LOADS = (("COFFEE BEANS", 4711), ("GREEN TEA", 4712), ("OAT BISCUITS", 4713), ("DARK CHOCOLATE", 4714))
TEA: Color = (46, 125, 84)
SOUP: Color = (196, 52, 44)
RICE: Color = (38, 92, 158)


def pallet() -> Image.Image:
    """Paint four cartons on a pallet, each with its label."""
    paint = Canvas()
    hall(paint)
    paint.glow([(210, 780), (1090, 780), (1120, 820), (180, 820)], (60, 62, 70), 170, 10)
    for y in (736, 778):
        paint.rectangle((230, y, 1050, y + 16), (176, 136, 92), 2)
    for x in (230, 610, 990):
        paint.rectangle((x, 752, x + 60, 778), (140, 104, 66))
    for (name, number), (x, y) in zip(LOADS, ((240, 420), (650, 420), (240, 106), (650, 106)), strict=True):
        carton(paint, (x, y, x + 380, y + 300 + 14 * (y > 400)), KRAFT, 24, tape=False)
        _shipping_label(paint, (x + 28, y + 34), name, number)
    return paint.image.reduce(2)


def _shipping_label(paint: Canvas, corner: tuple[int, int], name: str, number: int) -> None:
    x, y = corner
    paint.rectangle((x + 4, y + 4, x + 328, y + 238), dark(KRAFT, 0.2), 6)
    paint.rectangle((x, y, x + 324, y + 234), PAPER, 6)
    paint.text((x + 14, y + 26), name, 25, bold=True)
    paint.line((x + 14, y + 46), (x + 310, y + 46), INK, 2)
    paint.text((x + 14, y + 70), f"LOT {number}", 20)
    paint.text((x + 14, y + 98), "24 pieces", 20)
    bars = ean_bars(ean(f"20000000{number}"))
    paint.paste(bars, (x, y + 140), bars.width * 2)
    paint.text((x + bars.width, y + 224), ean(f"20000000{number}"), 14, INK, "mm")
    code = qr_code(f"https://example.com/lot/{number}")
    paint.paste(code, (x + 218, y + 58), code.width * 3)


def ean(twelve: str) -> str:
    """Add the check digit to the twelve digits of an EAN-13 code."""
    total = sum(int(digit) * (3 if index % 2 else 1) for index, digit in enumerate(twelve))
    return twelve + str(-total % 10)


def shelf(*rows: str) -> Image.Image:
    """Paint a shelf of packages, one text for each row: T(ea), S(oup), R(ice), or a dot for a gap."""
    paint = Canvas()
    paint.fade((0, 0, *SIZE), (226, 224, 218), (204, 200, 192))
    for level, row in enumerate(rows):
        floor = 270 + level * 264
        paint.rectangle((40, floor - 226, SIZE[0] - 40, floor), (188, 182, 172))
        paint.fade((40, floor - 226, SIZE[0] - 40, floor - 190), (150, 145, 136), (188, 182, 172))
        for column, kind in enumerate(row):
            if kind != ".":
                {"T": _tea, "S": _soup, "R": _rice}[kind](paint, 64 + column * 146, floor)
        paint.rectangle((24, floor, SIZE[0] - 24, floor + 24), (98, 78, 60))
        paint.rectangle((24, floor + 18, SIZE[0] - 24, floor + 24), (70, 54, 42))
    return paint.image.reduce(2)


def _tea(paint: Canvas, x: float, floor: float) -> None:
    paint.rectangle((x, floor - 160, x + 112, floor), TEA, 4)
    paint.rectangle((x + 92, floor - 160, x + 112, floor), dark(TEA), 4)
    paint.ellipse((x + 14, floor - 146, x + 78, floor - 82), (232, 222, 170))
    paint.polygon((x + 46, floor - 138), (x + 66, floor - 108), (x + 46, floor - 90), (x + 28, floor - 112), fill=TEA)
    paint.text((x + 46, floor - 56), "TEA", 34, PAPER, "mm", bold=True)
    paint.rectangle((x + 10, floor - 30, x + 82, floor - 14), (232, 222, 170), 3)


def _soup(paint: Canvas, x: float, floor: float) -> None:
    paint.rectangle((x + 4, floor - 132, x + 104, floor), SOUP, 8)
    paint.rectangle((x + 4, floor - 132, x + 104, floor - 118), (176, 180, 186), 6)
    paint.rectangle((x + 4, floor - 14, x + 104, floor), (150, 154, 160), 6)
    paint.rectangle((x + 4, floor - 92, x + 104, floor - 42), PAPER)
    paint.text((x + 54, floor - 67), "SOUP", 32, SOUP, "mm", bold=True)
    paint.ellipse((x + 42, floor - 114, x + 66, floor - 96), YELLOW)


def _rice(paint: Canvas, x: float, floor: float) -> None:
    paint.rectangle((x + 2, floor - 192, x + 110, floor), RICE, 12)
    paint.rectangle((x + 2, floor - 176, x + 110, floor - 164), light(RICE, 0.4))
    paint.polygon((x + 20, floor - 74), (x + 56, floor - 150), (x + 92, floor - 74), fill=PAPER)
    paint.polygon((x + 38, floor - 74), (x + 56, floor - 112), (x + 74, floor - 74), fill=light(RICE, 0.6))
    paint.text((x + 56, floor - 40), "RICE", 33, PAPER, "mm", bold=True)


def film(path: Path) -> Path:
    """Film three driverless vehicles, each with an AprilTag, two of which cross."""
    import av

    empty = Canvas()
    hall(empty)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "23"})
        stream.width, stream.height, stream.pix_fmt = *FILM_SIZE, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        for number in range(FILM_S * FPS):
            time = number / FPS
            paint = Canvas()
            paint.image.paste(empty.image)
            _vehicle(paint, 1420 - 250 * time, 585, 0.75, 12)
            _vehicle(paint, -60 + 210 * time, 690, 0.9, 7)
            _vehicle(paint, 260 + 40 * time, 815, 1.1, 3)
            frame = av.VideoFrame.from_image(paint.image.resize(FILM_SIZE, Image.Resampling.LANCZOS, _FILMED))
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def _vehicle(paint: Canvas, x: float, floor: float, scale: float, tag: int) -> None:
    """Paint a vehicle that stands on the floor at x, seen from the front."""

    def at(left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
        return x + left * scale, floor + top * scale, x + right * scale, floor + bottom * scale

    carton(paint, at(-90, -246, 90, -142), (206, 162, 112), 24 * scale)
    paint.rectangle(at(-116, -146, 116, -128), STEEL, 4)
    paint.rectangle(at(-124, -130, 124, -18), YELLOW, 16 * scale)
    paint.rectangle(at(-124, -52, 124, -18), dark(YELLOW, 0.8), 12 * scale)
    for left in (-104, 58):
        paint.ellipse(at(left, -46, left + 46, 0), (40, 44, 52))
        paint.ellipse(at(left + 13, -33, left + 33, -13), (150, 156, 162))
    paint.rectangle(at(-48, -128, 48, -32), PAPER, 4)
    code = marker(cv2.aruco.DICT_APRILTAG_36h11, tag, 8)
    paint.paste(code, at(-38, -118, 0, 0)[:2], 76 * scale)
