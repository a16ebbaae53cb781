"""The background of transparent pictures: white, black or gray, on which the visible pixels stand out."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

WHITE, BLACK, GREY = 255, 0, 128
_VISIBLE = 64
_ALIKE = 48
_FEW = 0.1
_SEEN = 4_000_000


def ground_for(bands: Iterable["Image.Image"], size: int) -> int | None:
    """Choose the shade to put behind an image of `size` pixels, given band by band with its alpha.

    White, unless what borders on transparent pixels is so light that it would vanish there; then black, and grey
    where black hides more. None where no pixel is visible at all: such an image was saved with an unused alpha.
    """
    import numpy as np

    step = max(1, size // _SEEN)
    borders: list[NDArray[np.uint8]] = []
    inner: list[NDArray[np.uint8]] = []
    greatest = 0
    for band in bands:
        shade, alpha = np.moveaxis(np.asarray(band.convert("LA")), 2, 0)
        greatest = max(greatest, int(alpha.max()))
        shade, alpha = shade[::step], alpha[::step]
        borders += _borders(shade, alpha >= _VISIBLE)
        inner.append(shade[(alpha > 0) & (alpha < 255)][:_SEEN])  # noqa: PLR2004 - opaque ones need no ground
    if not greatest:
        return None
    shades = np.concatenate(borders)
    shades = shades if shades.size else np.concatenate(inner)
    return _contrasting(shades)


def _borders(shade: "NDArray[np.uint8]", visible: "NDArray[np.bool_]") -> "list[NDArray[np.uint8]]":
    """Give the shades of visible pixels that have a transparent neighbour, in rows and in columns."""
    import numpy as np

    found = []
    for grey, shown in ((shade, visible), (shade.T, visible.T)):
        edge = shown[:, 1:] != shown[:, :-1]
        found.append(np.where(shown[:, 1:], grey[:, 1:], grey[:, :-1])[edge])
    return found


def _contrasting(shades: "NDArray[np.uint8]") -> int:
    import numpy as np

    if not shades.size:
        return WHITE
    hidden = {ground: float(np.mean(np.abs(shades.astype(int) - ground) < _ALIKE)) for ground in (WHITE, BLACK, GREY)}
    for ground, share in hidden.items():
        if share <= _FEW:
            return ground
    return min(hidden, key=hidden.__getitem__)
