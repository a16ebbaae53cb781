"""Pictures to look at, made of nothing."""

import numpy as np
from PIL import Image


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Draw blurred noise: it has shapes at every scale, and is the same everywhere."""
    noise = np.random.default_rng(seed).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
