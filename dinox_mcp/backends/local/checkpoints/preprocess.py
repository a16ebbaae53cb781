"""From an image to a model's pixels, as the checkpoint's own configuration says, with Pillow and numpy alone.

The processors of transformers do the same with torchvision or scipy: ten times slower for OWLv2, and a gigabyte of
memory for a large photo. Where both exist they agree to a rounding error, or for OWLv2 to a hundredth.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from dinox_mcp.errors import UnsupportedError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image

BILINEAR = 2  # of Pillow


@dataclass(frozen=True)
class Preprocessor:
    """How a checkpoint wants its images: `height` and `width` in pixels, or both edges of a range.

    With `shortest` and `longest` the image keeps its aspect ratio, unless a side would fall below `least`; with
    `square` it does too and black fills the lower right. Else it is stretched.
    """

    height: int = 0
    width: int = 0
    shortest: int = 0
    longest: int = 0
    least: int = 1
    square: bool = False
    resample: int = BILINEAR
    factor: float = 1 / 255
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)

    @classmethod
    def from_folder(cls, folder: Path, *, square: bool = False, least: int = 1) -> Self:
        """Read `preprocessor_config.json`, or the part of `processor_config.json` that newer checkpoints have.

        Raises:
            UnsupportedError: neither is there, or a part of it is in no known form.
        """
        config = _read(folder)
        rescale, normalise = config.get("do_rescale", True), config.get("do_normalize", True)
        return cls(
            **_sizes(config.get("size"), folder),
            square=square,
            least=least,
            resample=config.get("resample", BILINEAR),
            factor=config.get("rescale_factor", 1 / 255) if rescale else 1.0,
            mean=_channels(config.get("image_mean"), folder) if normalise else cls.mean,
            std=_channels(config.get("image_std"), folder) if normalise else cls.std,
        )

    def __call__(self, image: "Image.Image") -> "npt.NDArray[np.float32]":
        """Resize and normalise an RGB image to float32 (3, height, width)."""
        import numpy as np

        small = self._in_square(image) if self.square else self._resize(image)
        scale, shift = self._affine
        height, width = (self.height, self.width) if self.square else (small.height, small.width)
        pixels = np.empty((3, height, width), np.float32)
        pixels[:] = shift
        inner = pixels[:, : small.height, : small.width]
        np.multiply(np.asarray(small).transpose(2, 0, 1), scale, out=inner)
        inner += shift
        return pixels

    def _resize(self, image: "Image.Image") -> "Image.Image":
        size = self._keep_aspect(*image.size) if self.shortest else (self.width, self.height)
        return image if image.size == size else image.resize(size, self.resample)

    def _keep_aspect(self, width: int, height: int) -> tuple[int, int]:
        # Truncates where transformers truncates: one pixel more is another shape, and other boxes.
        short, long = min(width, height), max(width, height)
        edge: float = self.shortest
        if self.longest and long / short * edge > self.longest:
            edge = self.longest * short / long
        narrow, wide = round(edge), int(edge * long / short)
        if short == narrow >= self.least:
            return width, height
        narrow = max(self.least, narrow)
        return (narrow, wide) if width < height else (wide, narrow)

    def _in_square(self, image: "Image.Image") -> "Image.Image":
        # The image may end within a pixel of the square: it is resized with some black beyond its edge.
        side = max(image.size)
        scale = side / self.width
        # Whole numbers, rounded up: in floating point, 612 of 612 pixels make 960.0000000000001 of 960.
        size = -(-image.width * self.width // side), -(-image.height * self.width // side)
        filled = size[0] * scale, size[1] * scale
        canvas = image.crop((0, 0, ceil(filled[0]), ceil(filled[1])))
        return canvas if canvas.size == size else canvas.resize(size, self.resample, (0, 0, *filled))

    @cached_property
    def _affine(self) -> "tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]":
        import numpy as np

        std = np.array(self.std).reshape(3, 1, 1)
        shift = -np.array(self.mean).reshape(3, 1, 1) / std
        return (self.factor / std).astype(np.float32), shift.astype(np.float32)


def _read(folder: Path) -> Mapping[str, Any]:
    both = folder / "processor_config.json"
    if both.exists():
        inner: Mapping[str, Any] | None = json.loads(both.read_text("utf-8")).get("image_processor")
        if inner is not None:
            return inner
    own = folder / "preprocessor_config.json"
    if not own.exists():
        raise UnsupportedError(
            f"{folder} has no preprocessor_config.json, so the size of its input is unknown; "
            "choose a complete checkpoint"
        )
    config: Mapping[str, Any] = json.loads(own.read_text("utf-8"))
    return config


def _channels(values: object, folder: Path) -> tuple[float, ...]:
    if isinstance(values, list) and len(values) == 3 and all(isinstance(value, int | float) for value in values):  # noqa: PLR2004 - red, green and blue
        return tuple(values)
    raise UnsupportedError(
        f"image_mean and image_std in the preprocessor_config.json of {folder} are {values!r}, not three numbers; "
        "choose another model"
    )


def _sizes(size: object, folder: Path) -> dict[str, int]:
    match size:
        case {"height": int(height), "width": int(width)}:
            return {"height": height, "width": width}
        case {"shortest_edge": int(shortest), "longest_edge": int(longest)}:
            return {"shortest": shortest, "longest": longest}
        case {"shortest_edge": int(shortest)}:
            return {"shortest": shortest}
        case [int(height), int(width)]:
            return {"height": height, "width": width}
        case int(side):
            return {"height": side, "width": side}
    raise UnsupportedError(
        f"the size {size!r} in the preprocessor_config.json of {folder} is not in a known form; choose another model"
    )
