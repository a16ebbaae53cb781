"""The precision that models compute in: a shorter one only where it is faster here and finds the same."""

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dinox_mcp.backends.local.checkpoints.device import Device, seconds, trim

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from dinox_mcp.backends.local.models.base import DetectionModel, RawDetection

FASTER = 1.3
"""How many times faster a shorter precision must be; without units for bfloat16 it is several times slower."""
PIXELS = 4.0
"""How far the edges of the surest boxes may move, on a pattern of 640 by 480."""
SCORE = 0.05
"""How far their scores may move."""
_SUREST = 10
_LABELS = ("object",)  # of several, those with equal scores may change their order, which is not a fault


def load_checked(load: Callable[[Device], Any], device: Device) -> tuple[Any, Device, tuple[str, ...]]:
    """Load a model for objects in bfloat16 if that pays here, else in float32.

    The check runs it on a test pattern in both precisions, so that loading takes two loads and two passes.

    Returns:
        The model, what it computes in, and a note.
    """
    exact = replace(device, precision="float32")
    doubt = slowness()
    if doubt is None:
        expected = _find_in_pattern(load(exact))
        trim()
        model = load(device)
        doubt = difference(expected, _find_in_pattern(model))
        if doubt is None:
            return model, device, ("computed in bfloat16",)
        del model
        trim()
    return load(exact), exact, (f"computed in float32, as {doubt}",)


def load_int8(load: Callable[[bool], "DetectionModel"], known: Path) -> "tuple[DetectionModel, str]":
    """Load a model with products of bytes if that pays here, else an exact one.

    Args:
        load: Loads the model; its argument says whether the large matrix products are computed with bytes.
        known: The file that keeps the decision, which takes two loads and two passes, for later.

    Returns:
        The model, and a note on its precision.
    """
    decision = _decided(known)
    if decision is None:
        exact = load(False)
        expected, exact_s = _timed_find(exact)
        del exact
        trim()
        model = load(True)
        found, short_s = _timed_find(model)
        doubt = difference(expected, found, "int8")
        if doubt is None and short_s * FASTER > exact_s:
            doubt = f"this processor is hardly faster in int8 ({exact_s / short_s:.1f} times)"
        decision = {"doubt": doubt}
        _decide(known, decision)
        if doubt is None:
            return model, _IN_INT8
        del model
        trim()
    if decision["doubt"] is None:
        return load(True), _IN_INT8
    return load(False), f"computed in float32 by ONNX Runtime, as {decision['doubt']}"


_IN_INT8 = "computed in int8 by ONNX Runtime"


def _decided(known: Path) -> dict[str, str | None] | None:
    """Read a decision; one that is damaged is made anew."""
    try:
        decision = json.loads(known.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return decision if isinstance(decision, dict) and isinstance(decision.get("doubt", 0), str | None) else None


def _decide(known: Path, decision: dict[str, str | None]) -> None:
    with suppress(OSError):  # a full or read-only disk: it is decided again next time
        known.parent.mkdir(parents=True, exist_ok=True)
        known.write_text(json.dumps(decision), encoding="utf-8")


def _timed_find(model: "DetectionModel") -> "tuple[list[RawDetection], float]":
    """Search the test pattern; the time is that of the processor, as other work may delay one of two passes."""
    start = time.process_time()
    return _find_in_pattern(model), time.process_time() - start


def difference(
    expected: "Sequence[RawDetection]", found: "Sequence[RawDetection]", precision: str = "bfloat16"
) -> str | None:
    """Return how the surest expected detections differ from what was found, or None if they hardly do."""
    for one in expected[:_SUREST]:
        alike = [(_distance(one, other), other) for other in found if other.label == one.label]
        distance, other = min(alike, key=lambda pair: pair[0], default=(math.inf, one))
        if not distance <= PIXELS:
            return f"{precision} moves this model's boxes (by {distance:.0f} pixels on a test pattern)"
        if abs(other.score - one.score) > SCORE:
            return f"{precision} changes this model's scores ({one.score:.2f} to {other.score:.2f} on a test pattern)"
    return None


def _distance(one: "RawDetection", other: "RawDetection") -> float:
    return max(abs(here - there) for here, there in zip(one.bbox, other.bbox, strict=True))


def slowness() -> str | None:
    """Return that this processor gains nothing from bfloat16, if it is so."""
    import torch

    exact, short = _seconds(torch.float32), _seconds(torch.bfloat16)
    if short * FASTER <= exact:
        return None
    return f"this processor is hardly faster in bfloat16 ({exact / short:.1f} times)"


def _seconds(dtype: "torch.dtype") -> float:
    import torch

    one, two = torch.ones(1024, 768, dtype=dtype), torch.ones(768, 3072, dtype=dtype)
    with torch.inference_mode():
        return min(seconds(lambda: one @ two) for _ in range(5))


def _find_in_pattern(model: "DetectionModel") -> "list[RawDetection]":
    (features,) = model.encode([model.prepare(_pattern())])
    labels = [_LABELS[index] for index in model.chunks(_LABELS)[0]]
    embeddings = model.embed(labels) if model.reuses_text else None
    return model.find(features, labels, embeddings, 0.0)


def _pattern() -> "Image.Image":
    """Draw what has edges, colours and shades of several sizes."""
    from PIL import Image, ImageDraw

    picture = Image.radial_gradient("L").resize((640, 480)).convert("RGB")
    draw = ImageDraw.Draw(picture)
    for step, colour in enumerate(("red", "navy", "gold", "white", "green", "black")):
        draw.rectangle((40 + 90 * step, 60 + 50 * step, 110 + 95 * step, 120 + 58 * step), fill=colour)
        draw.ellipse((30 + 100 * step, 400 - 60 * step, 100 + 100 * step, 460 - 60 * step), outline=colour, width=6)
    return picture
