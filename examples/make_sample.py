"""Paints `sample.png`, the picture of the demo: a warehouse with signs, a parcel label, codes and markers.

python examples/make_sample.py [FILE]

Everything in it is drawn here, with Pillow's own font, so the picture is free to use. It is painted at twice its
size and reduced, which smooths every edge and keeps the modules of the codes sharp.
"""

import sys
from pathlib import Path

import cv2
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIZE = (1280, 853)
FINE = 2  # painted pixels for each pixel of the picture
QR_CONTENT = "https://example.com/parcel/4711"
EAN_CONTENT = "2000000047119"  # the prefix 200 is for use inside a company
HORIZON = 560

Color = tuple[int, int, int]
Box = tuple[float, float, float, float]

INK: Color = (32, 36, 44)
PAPER: Color = (250, 249, 245)
KRAFT: Color = (201, 155, 104)
STEEL: Color = (46, 84, 136)
BEAM: Color = (226, 106, 36)
YELLOW: Color = (247, 196, 34)
RED: Color = (200, 40, 44)
GREEN: Color = (18, 130, 84)

# How EAN-13 writes digits: seven modules each, odd parity; even parity is the complement read backwards.
_ODD = ["0001101", "0011001", "0010011", "0111101", "0100011", "0110001", "0101111", "0111011", "0110111", "0001011"]
# The parity of the six digits on the left encodes the first digit, which has no bars of its own.
_PARITY = ["OOOOOO", "OOEOEE", "OOEEOE", "OOEEEO", "OEOOEE", "OEEOOE", "OEEEOO", "OEOEOE", "OEOEEO", "OEEOEO"]


class Canvas:
    """Paints in pixels of the finished picture."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", (SIZE[0] * FINE, SIZE[1] * FINE))
        self._pen = ImageDraw.Draw(self.image)

    def rectangle(self, box: Box, fill: Color, radius: float = 0, outline: Color | None = None) -> None:
        """Fill a rectangle, with round corners if wanted."""
        self._pen.rounded_rectangle([v * FINE for v in box], radius * FINE, fill, outline, FINE * 2)

    def polygon(self, *points: tuple[float, float], fill: Color) -> None:
        """Fill a polygon."""
        self._pen.polygon([(x * FINE, y * FINE) for x, y in points], fill)

    def ellipse(self, box: Box, fill: Color) -> None:
        """Fill an ellipse."""
        self._pen.ellipse([v * FINE for v in box], fill)

    def line(self, start: tuple[float, float], end: tuple[float, float], fill: Color, width: float = 1) -> None:
        """Draw a line."""
        self._pen.line([v * FINE for v in (*start, *end)], fill, round(width * FINE))

    def text(
        self,
        at: tuple[float, float],
        text: str,
        size: float,
        fill: Color = INK,
        anchor: str = "lm",
        *,
        bold: bool = False,
    ) -> None:
        """Write a line of text; `anchor` says which of its points stands at `at`."""
        font = ImageFont.load_default(size * FINE)
        stroke = round(size * FINE * 0.035) if bold else 0
        self._pen.text((at[0] * FINE, at[1] * FINE), text, fill, font, anchor, stroke_width=stroke)

    def paste(self, picture: Image.Image, at: tuple[float, float], width: float) -> None:
        """Put a square code or a strip of bars, its pixels kept square and sharp."""
        factor = round(width * FINE / picture.width)
        large = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
        self.image.paste(large, (round(at[0] * FINE), round(at[1] * FINE)))

    def fade(self, box: Box, top: Color, bottom: Color) -> None:
        """Fill a rectangle with a vertical gradient."""
        left, upper, right, lower = (round(v * FINE) for v in box)
        for y in range(upper, lower):
            share = (y - upper) / (lower - upper)
            self._pen.line((left, y, right - 1, y), mix(top, bottom, share))

    def glow(self, points: list[tuple[float, float]], color: Color, strength: int, blur: float) -> None:
        """Lay soft light or shadow over a polygon."""
        mask = Image.new("L", SIZE)
        ImageDraw.Draw(mask).polygon(points, strength)
        mask = mask.filter(ImageFilter.GaussianBlur(blur)).resize(self.image.size, Image.Resampling.BILINEAR)
        self.image.paste(Image.new("RGB", self.image.size, color), mask=mask)


def mix(a: Color, b: Color, share: float) -> Color:
    """Mix two colours; `share` 0 is the first, 1 the second."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def dark(color: Color, share: float = 0.25) -> Color:
    """Shade a colour."""
    return mix(color, (20, 22, 34), share)


def light(color: Color, share: float = 0.25) -> Color:
    """Lighten a colour."""
    return mix(color, (255, 255, 255), share)


def hall(paint: Canvas) -> None:
    """Wall, floor, lamps and their light."""
    paint.fade((0, 0, SIZE[0], HORIZON), (178, 192, 204), (219, 225, 228))
    for x in range(0, SIZE[0], 80):
        paint.line((x, 0), (x, HORIZON), (186, 199, 209), 2)
    paint.fade((0, 0, SIZE[0], 46), (70, 80, 94), (92, 104, 118))
    paint.fade((0, HORIZON, SIZE[0], SIZE[1]), (150, 152, 154), (190, 190, 186))
    paint.rectangle((0, HORIZON - 8, SIZE[0], HORIZON), (120, 128, 138))
    for x in range(-2400, 3700, 320):
        paint.line((640 + (x - 640) * 0.32, HORIZON), (x, SIZE[1]), (160, 161, 161), 1.5)
    for x in (230, 640, 1050):
        paint.glow([(x - 60, 52), (x + 60, 52), (x + 230, HORIZON), (x - 230, HORIZON)], (255, 250, 224), 74, 26)
        paint.rectangle((x - 74, 38, x + 74, 54), (60, 68, 80), 4)
        paint.rectangle((x - 66, 48, x + 66, 56), (255, 249, 222), 4)


def loading_bay(paint: Canvas) -> None:
    """A rolling door between safety stripes, with its sign."""
    paint.rectangle((70, 190, 424, HORIZON), (92, 102, 114))
    paint.fade((92, 212, 402, HORIZON), (222, 227, 231), (186, 193, 200))
    for y in range(236, HORIZON, 25):
        paint.line((92, y), (402, y), (162, 170, 179), 2)
    paint.rectangle((226, 520, 268, 530), (108, 116, 126), 3)
    for side in (72, 404):
        for y in range(190, HORIZON, 36):
            paint.polygon((side, y + 18), (side + 18, y), (side + 18, y + 18), (side, y + 36), fill=YELLOW)
    paint.rectangle((92, 98, 402, 166), dark(STEEL), 8)
    paint.rectangle((88, 94, 398, 162), STEEL, 8, light(STEEL, 0.6))
    paint.text((243, 128), "LOADING BAY 3", 36, PAPER, "mm", bold=True)


def exit_door(paint: Canvas) -> None:
    """The way out: a door with a window, and the lit sign above it."""
    paint.rectangle((478, 262, 622, HORIZON), (98, 108, 118))
    paint.rectangle((488, 272, 612, HORIZON), (58, 108, 124))
    paint.rectangle((516, 302, 584, 402), (168, 205, 216), 4, (44, 84, 98))
    paint.polygon((516, 380), (560, 302), (584, 302), (532, 402), (516, 402), fill=(190, 220, 228))
    paint.rectangle((494, 428, 606, 440), (205, 210, 214), 5)
    paint.glow([(462, 176), (638, 176), (638, 256), (462, 256)], (214, 255, 226), 120, 16)
    paint.rectangle((474, 186, 626, 248), GREEN, 6, PAPER)
    paint.text((490, 217), "EXIT", 38, PAPER, bold=True)
    paint.polygon((588, 217), (604, 203), (604, 212), (616, 212), (616, 222), (604, 222), (604, 231), fill=PAPER)


def carton(paint: Canvas, box: Box, color: Color = KRAFT, depth: float = 22, tape: bool = True) -> None:
    """A cardboard box, seen a little from above and from the left."""
    left, top, right, bottom = box
    lift = depth * 0.62
    paint.polygon((left, top), (left + depth, top - lift), (right + depth, top - lift), (right, top), fill=light(color))
    paint.polygon(
        (right, top), (right + depth, top - lift), (right + depth, bottom - lift), (right, bottom), fill=dark(color)
    )
    paint.rectangle((left, top, right, bottom), color)
    if tape:
        middle, half = (left + right) / 2, (right - left) * 0.06
        paint.rectangle((middle - half, top, middle + half, top + (bottom - top) * 0.3), light(color, 0.5))
        paint.polygon(
            (middle - half, top),
            (middle - half + depth, top - lift),
            (middle + half + depth, top - lift),
            (middle + half, top),
            fill=light(color, 0.6),
        )


def rack(paint: Canvas) -> None:
    """Shelves with cartons, each with its label."""
    paint.glow([(700, 540), (1270, 540), (1280, 600), (690, 600)], (70, 74, 84), 120, 14)
    shades = (KRAFT, (188, 140, 92), (212, 170, 120), (176, 128, 84))
    places = (
        (168, ((736, 84, 70), (836, 66, 58), (936, 120, 62), (1092, 92, 76))),
        (322, ((742, 118, 84), (896, 70, 66), (1000, 72, 92), (1108, 80, 58))),
        (476, ((738, 74, 62), (846, 92, 90), (1096, 96, 86))),
    )
    for x in (706, 1226):
        paint.rectangle((x, 84, x + 14, HORIZON + 14), STEEL)
        paint.rectangle((x + 9, 84, x + 14, HORIZON + 14), dark(STEEL))
    number = 0
    for shelf, cartons in places:
        for index, (x, width, height) in enumerate(cartons):
            carton(paint, (x, shelf - height, x + width, shelf), shades[(index + shelf) % 4], 14)
        paint.rectangle((706, shelf, 1240, shelf + 18), BEAM)
        paint.rectangle((706, shelf + 14, 1240, shelf + 18), dark(BEAM))
        for x in (760, 930, 1100):
            number += 1
            paint.rectangle((x, shelf + 1, x + 56, shelf + 17), PAPER, 2)
            paint.text((x + 28, shelf + 9), f"A-{number:02d}", 14, INK, "mm")
    fragile(paint, (952, 386, 1078, 476))


def fragile(paint: Canvas, box: Box) -> None:
    """A carton to be careful with."""
    carton(paint, box, (214, 172, 122), 16, tape=False)
    left, top, right, _ = box
    paint.rectangle((left + 8, top + 12, right - 8, top + 48), RED, 3)
    paint.text(((left + right) / 2, top + 30), "FRAGILE", 25, PAPER, "mm", bold=True)
    paint.text(((left + right) / 2, top + 66), "THIS SIDE UP", 15, dark(RED), "mm")


def pillar(paint: Canvas) -> None:
    """A board on a stand with an ArUco marker, for a vehicle to find its way."""
    paint.glow([(512, 738), (690, 738), (700, 764), (500, 764)], (60, 62, 70), 150, 8)
    paint.rectangle((590, 640, 606, 750), (88, 96, 106))
    paint.rectangle((548, 742, 648, 756), (70, 78, 88), 5)
    paint.rectangle((520, 506, 676, 662), INK, 8)
    paint.rectangle((526, 512, 670, 656), YELLOW, 6)
    paint.rectangle((538, 524, 658, 644), PAPER)
    paint.paste(marker(cv2.aruco.DICT_6X6_250, 23, 8), (550, 536), 96)


def vehicle(paint: Canvas) -> None:
    """A driverless vehicle with an AprilTag on its front, carrying a carton."""
    paint.glow([(716, 780), (1000, 780), (1010, 812), (706, 812)], (52, 54, 62), 170, 9)
    carton(paint, (762, 556, 942, 660), (206, 162, 112), 26)
    paint.rectangle((736, 656, 968, 674), (70, 78, 88), 4)
    paint.rectangle((728, 672, 976, 790), YELLOW, 16)
    paint.rectangle((728, 752, 976, 790), dark(YELLOW, 0.8), 12)
    for x in (752, 904):
        paint.ellipse((x, 762, x + 46, 808), (40, 44, 52))
        paint.ellipse((x + 13, 775, x + 33, 795), (150, 156, 162))
    paint.rectangle((744, 690, 766, 704), (255, 252, 226), 6, dark(YELLOW, 0.4))
    paint.rectangle((938, 690, 960, 704), (255, 252, 226), 6, dark(YELLOW, 0.4))
    paint.rectangle((806, 676, 898, 768), PAPER, 4)
    paint.paste(marker(cv2.aruco.DICT_APRILTAG_36h11, 7, 8), (816, 686), 72)


def parcel(paint: Canvas) -> None:
    """The parcel in front with its label: sender, address, QR code, barcode."""
    paint.glow([(70, 800), (470, 800), (510, 836), (50, 836)], (56, 56, 62), 180, 10)
    carton(paint, (66, 500, 446, 816), KRAFT, 52, tape=False)
    paint.polygon((242, 500), (294, 468), (326, 468), (274, 500), fill=light(KRAFT, 0.55))
    paint.rectangle((96, 524, 418, 796), dark(KRAFT, 0.18), 6)
    paint.rectangle((92, 520, 414, 792), PAPER, 6)
    paint.text((106, 542), "NORTHWIND PARCELS", 22, bold=True)
    paint.line((106, 560), (400, 560), INK, 2)
    for y, text in ((580, "To: Ada Miller"), (602, "12 Harbour Street"), (624, "Port Amber")):
        paint.text((106, y), text, 18)
    paint.text((106, 660), "ORDER 4711", 25, bold=True)
    qr = qr_code(QR_CONTENT)
    paint.paste(qr, (398 - qr.width * 4, 568), qr.width * 4)
    bars = ean_bars(EAN_CONTENT)
    paint.paste(bars, (106, 690), bars.width * 2)
    digits = f"{EAN_CONTENT[0]} {EAN_CONTENT[1:7]} {EAN_CONTENT[7:]}"
    paint.text((106 + bars.width, 778), digits, 18, INK, "mm")
    paint.text((334, 714), "2.5 kg", 24)
    paint.text((334, 748), "1 of 1", 20)


def floor_stripes(paint: Canvas) -> None:
    """The yellow line that people keep behind."""
    paint.polygon((0, 832), (SIZE[0], 832), (SIZE[0], 846), (0, 846), fill=YELLOW)
    for x in range(0, SIZE[0], 64):
        paint.polygon((x, 846), (x + 14, 832), (x + 46, 832), (x + 32, 846), fill=INK)


def notice(paint: Canvas) -> None:
    """A folding sign on the floor."""
    paint.glow([(1040, 786), (1236, 786), (1250, 812), (1030, 812)], (60, 62, 70), 150, 8)
    paint.polygon((1064, 602), (1216, 602), (1240, 800), (1040, 800), fill=dark(YELLOW, 0.45))
    paint.polygon((1058, 596), (1210, 596), (1234, 794), (1034, 794), fill=YELLOW)
    paint.polygon((1134, 608), (1166, 662), (1102, 662), fill=INK)
    paint.polygon((1134, 620), (1155, 656), (1113, 656), fill=YELLOW)
    paint.rectangle((1132, 631, 1136, 645), INK)
    paint.rectangle((1132, 648, 1136, 652), INK)
    paint.text((1134, 690), "CAUTION", 34, INK, "mm", bold=True)
    paint.text((1134, 730), "FORKLIFT", 27, INK, "mm", bold=True)
    paint.text((1134, 762), "TRAFFIC", 27, INK, "mm", bold=True)


def qr_code(content: str) -> Image.Image:
    """Encode a QR code, one pixel a module."""
    params = cv2.QRCodeEncoder.Params()
    params.correction_level = cv2.QRCODE_ENCODER_CORRECT_LEVEL_M
    return trim(Image.fromarray(cv2.QRCodeEncoder.create(params).encode(content)))


def marker(dictionary: int, number: int, modules: int) -> Image.Image:
    """Draw an ArUco marker or an AprilTag, one pixel a module, with its black border."""
    known = cv2.aruco.getPredefinedDictionary(dictionary)
    return Image.fromarray(cv2.aruco.generateImageMarker(known, number, modules))


def ean_bars(content: str, height: int = 38) -> Image.Image:
    """Draw the bars of an EAN-13 code, one pixel a module."""
    parity = _PARITY[int(content[0])]
    left = "".join(_digit(d, even=p == "E") for d, p in zip(content[1:7], parity, strict=True))
    right = "".join(_complement(_ODD[int(d)]) for d in content[7:])
    modules = f"0000000101{left}01010{right}1010000000"
    row = bytes(0 if module == "1" else 255 for module in modules)
    return Image.frombytes("L", (len(row), 1), row).resize((len(row), height), Image.Resampling.NEAREST)


def _digit(digit: str, *, even: bool) -> str:
    modules = _ODD[int(digit)]
    return _complement(modules)[::-1] if even else modules


def _complement(modules: str) -> str:
    return modules.translate(str.maketrans("01", "10"))


def trim(code: Image.Image) -> Image.Image:
    """Cut the white margin off."""
    return code.crop(code.point(lambda value: 255 - value).getbbox())


def scene() -> Image.Image:
    """Paint the picture."""
    paint = Canvas()
    for part in (hall, loading_bay, exit_door, rack, pillar, vehicle, notice, parcel, floor_stripes):
        part(paint)
    return paint.image.reduce(FINE)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).resolve().with_name("sample.png")
    scene().save(target, optimize=True)
    print(f"{target}: {target.stat().st_size // 1024} KB")
