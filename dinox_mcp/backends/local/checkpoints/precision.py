"""Shorter numbers on a CPU: taken where they save time on this one, and where the model answers the same with them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dinox_mcp.backends.local.checkpoints import device as devices
from dinox_mcp.backends.local.checkpoints.device import Device
from dinox_mcp.backends.local.models.base import Found

if TYPE_CHECKING:
    import torch
    from PIL import Image

FASTER = 1.3
"""How many times faster matrix products must be in bfloat16; without units for it they are several times slower."""
PIXELS = 4.0
"""How far the edges of the surest boxes may move, on a pattern of 640 by 480."""
SCORE = 0.05
"""How far their scores may move."""
_SUREST = 10
_LABELS = ("object",)  # of several, those that score alike may change places, which is no fault


def load_checked(load: Callable[[Device], Any], device: Device) -> tuple[Any, Device, tuple[str, ...]]:
    """Load a detector in bfloat16 if that pays here, else in float32; gives it, what it computes in, and a note.

    The check looks at a test pattern in both precisions, so that loading takes two loads and two passes.
    """
    exact = replace(device, precision="float32")
    doubt = slowness()
    if doubt is None:
        expected = _look(load(exact))
        devices.trim()
        adapter = load(device)
        doubt = difference(expected, _look(adapter))
        if doubt is None:
            return adapter, device, ("computed in bfloat16",)
        del adapter
        devices.trim()
    return load(exact), exact, (f"computed in float32, as {doubt}",)


def difference(expected: Sequence[Found], found: Sequence[Found]) -> str | None:
    """Say how the surest of the expected findings differ from what was found, or None if they hardly do."""
    for one in expected[:_SUREST]:
        alike = [(_distance(one, other), other) for other in found if other.label == one.label]
        distance, other = min(alike, key=lambda pair: pair[0], default=(math.inf, one))
        if not distance <= PIXELS:
            return f"bfloat16 moves this model's boxes (by {distance:.0f} pixels on a test pattern)"
        if abs(other.score - one.score) > SCORE:
            return f"bfloat16 changes this model's scores ({one.score:.2f} to {other.score:.2f} on a test pattern)"
    return None


def _distance(one: Found, other: Found) -> float:
    return max(abs(here - there) for here, there in zip(one.bbox, other.bbox, strict=True))


def slowness() -> str | None:
    """Say that this processor gains nothing from bfloat16, if it is so."""
    import torch

    exact, short = _seconds(torch.float32), _seconds(torch.bfloat16)
    if short * FASTER <= exact:
        return None
    return f"this processor is hardly faster in bfloat16 ({exact / short:.1f} times)"


def _seconds(dtype: "torch.dtype") -> float:
    import torch

    one, two = torch.ones(1024, 768, dtype=dtype), torch.ones(768, 3072, dtype=dtype)
    with torch.inference_mode():
        return min(devices.seconds(lambda: one @ two) for _ in range(5))


def _look(adapter: Any) -> list[Found]:  # noqa: ANN401 - an adapter of any family
    """Have a model find things in the test pattern."""
    (state,) = adapter.encode([adapter.prepare(_pattern())])
    labels = [_LABELS[place] for place in adapter.chunks(_LABELS)[0]]
    embeddings = adapter.embed(labels) if adapter.reuses_text else None
    found: list[Found] = adapter.find(state, labels, embeddings, 0.0)
    return found


def _pattern() -> "Image.Image":
    """Draw what has edges, colours and shades of several sizes."""
    from PIL import Image, ImageDraw

    picture = Image.radial_gradient("L").resize((640, 480)).convert("RGB")
    draw = ImageDraw.Draw(picture)
    for step, colour in enumerate(("red", "navy", "gold", "white", "green", "black")):
        draw.rectangle((40 + 90 * step, 60 + 50 * step, 110 + 95 * step, 120 + 58 * step), fill=colour)
        draw.ellipse((30 + 100 * step, 400 - 60 * step, 100 + 100 * step, 460 - 60 * step), outline=colour, width=6)
    return picture
