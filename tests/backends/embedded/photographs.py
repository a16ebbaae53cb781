"""Pictures for the tests of the networks: a photograph that the project may ship, and a hand that is drawn."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

PHOTOGRAPH = Path(__file__).parents[2] / "pictures" / "astronaut.jpg"

# Where a person sees things in the photograph.
ASTRONAUT = (20.0, 15.0, 365.0, 512.0)
HEAD = (153.0, 15.0, 303.0, 195.0)
LEFT_EYE, RIGHT_EYE, NOSE = (247.0, 103.0), (203.0, 101.0), (224.0, 126.0)

_SKIN, _CREASE, _WALL = (224, 172, 140), (190, 130, 100), (90, 110, 130)
_FINGERS = (
    ((190, 350), (140, 300), (110, 255)),
    ((205, 270), (195, 190), (188, 120)),
    ((238, 262), (238, 170), (238, 95)),
    ((270, 268), (280, 185), (287, 115)),
    ((300, 285), (325, 220), (340, 170)),
)
FINGERTIPS = tuple(finger[-1] for finger in _FINGERS)
"""From the thumb to the little finger, in the picture of `left_hand`."""


def photograph() -> Image.Image:
    with Image.open(PHOTOGRAPH) as image:
        return image.convert("RGB")


def left_hand() -> Image.Image:
    """Draw a left hand that shows its palm, 480 x 480 pixels, fingers up."""
    image = Image.new("RGB", (480, 480), _WALL)
    draw = ImageDraw.Draw(image)
    for color, rim in ((_CREASE, 4), (_SKIN, 0)):
        palm = ((190, 270), (235, 250), (312, 280), (300, 390), (285, 480), (205, 480), (190, 390))
        draw.polygon(palm, fill=color, outline=color, width=1 + 2 * rim)
        _limb(draw, ((240, 350), (240, 320)), 118 + 2 * rim, color)
        for finger in _FINGERS:
            _limb(draw, finger, 30 + 2 * rim, color)
    for _, (x, y), _ in _FINGERS:
        draw.line((x - 9, y, x + 9, y), fill=_CREASE, width=3)
    return image.filter(ImageFilter.GaussianBlur(1.5))


def _limb(
    draw: ImageDraw.ImageDraw, points: tuple[tuple[int, int], ...], width: int, color: tuple[int, int, int]
) -> None:
    draw.line(points, fill=color, width=width, joint="curve")
    for x, y in points:
        draw.circle((x, y), width / 2, fill=color)
