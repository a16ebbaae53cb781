"""The precision that models compute in: a shorter one only where it is faster here and finds the same."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dinox_mcp.backends import processor
from dinox_mcp.backends.local.checkpoints.device import is_about_memory, seconds, trim
from dinox_mcp.backends.local.models.base import Interrupted

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from dinox_mcp.backends.local.models.base import DetectionModel, RawDetection

FASTER = 1.3
"""How many times faster a shorter precision must be; without units for bfloat16 it is several times slower."""
SHARE = 0.01
"""How far the edges of the surest boxes may move, as a share of the longer side of the image."""
SCORE = 0.02
"""How far their scores may move."""
_FORMAT = 1
_SUREST = 10
_IOU = 0.5  # what overlaps a better box by more is not shown
_CLEAR = 1.25  # how far from that the pace must be, for one round to decide
_ROUNDS = 3
_PATIENCE_S = 20.0  # after which no further round begins
_TICK_S = 1e-9
_SIZE = (1280, 960)  # images as large as the models' input, which are not enlarged
_LABELS = ("object",)  # one: of several, those with equal scores may change their order, which is not a fault
_NOT_FINISHED = "its trial ended the program"


@dataclass(frozen=True, slots=True)
class Trial:
    """A faster way to compute, which is tried once on this machine.

    Attributes:
        way: What it is called in messages, such as "int8".
        known: The file that keeps the decision.
        clock: The seconds that a pass takes: of the processor, as other work may delay one of two passes; of the wall
            where another device computes.
        may_crash: Whether its native code may end the program; it is not tried again then.
    """

    way: str
    known: Path
    clock: Callable[[], float] = time.process_time
    may_crash: bool = False


def decision(folder: Path, way: str, *decisive: str) -> Path:
    """Return the file in a folder that keeps a decision; it is made again where the processor is another one.

    Args:
        folder: The folder of all decisions.
        way: The way to compute.
        decisive: What else a decision depends on: the weights, and the releases of what computes.
    """
    parts = (str(_FORMAT), way, processor.name(), *decisive)
    return folder / f"{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}.json"


def decide(load: "Callable[[bool], DetectionModel]", trial: Trial) -> str | None:
    """Decide whether a model computes in a faster way on this machine, where that is not known yet.

    Args:
        load: Loads the model; its argument says whether in the faster way.
        trial: The way.

    Returns:
        Why the model computes exactly instead; None if it does not.
    """
    if is_known(trial.known):
        return doubt(trial.known)
    if trial.may_crash:
        _keep(trial.known, _NOT_FINISHED)
    try:
        found = _try(load, trial)
    except BaseException:
        trial.known.unlink(missing_ok=True)
        raise
    _keep(trial.known, found)
    return found


def is_known(known: Path) -> bool:
    """Return whether a file has a decision; one that is damaged is made again."""
    return _read(known) is not None


def doubt(known: Path) -> str | None:
    """Return the reason against a faster way that a file keeps; None if there is none, or no decision yet."""
    return (_read(known) or {}).get("doubt")


def _read(known: Path) -> dict[str, str | None] | None:
    try:
        kept = json.loads(known.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    sound = isinstance(kept, dict) and isinstance(kept.get("doubt", 0), str | None)
    return kept if sound else None


def _keep(known: Path, found: str | None) -> None:
    with suppress(OSError):  # a full or read-only disk: it is decided again next time
        known.parent.mkdir(parents=True, exist_ok=True)
        known.write_text(json.dumps({"doubt": found}), encoding="utf-8")


def _try(load: "Callable[[bool], DetectionModel]", trial: Trial) -> str | None:
    """Compare both ways on the test images, in turn, until it is clear which is faster or patience ends.

    One model at a time is in memory.
    """
    began = time.monotonic()
    exact_s = short_s = math.inf
    faster = 0.0
    for _ in range(_ROUNDS):
        expected, took = _measure(load, trial, short=False)
        exact_s = min(exact_s, took)
        try:
            found, took = _measure(load, trial, short=True)
        except Exception as error:
            if isinstance(error, Interrupted) or is_about_memory(error):
                raise
            return f"{trial.way} fails ({type(error).__name__})"
        short_s = min(short_s, took)
        for one, other in zip(expected, found, strict=True):
            if differs := difference(one, other, trial.way):
                return differs
        faster = exact_s / max(short_s, _TICK_S)
        if not FASTER / _CLEAR < faster < FASTER * _CLEAR or time.monotonic() - began > _PATIENCE_S:
            break
    return None if faster >= FASTER else f"this machine is hardly faster in {trial.way} ({faster:.1f} times)"


def _measure(
    load: "Callable[[bool], DetectionModel]", trial: Trial, *, short: bool
) -> "tuple[list[list[RawDetection]], float]":
    """Search the test images; return what is found in each, and the seconds of the fastest pass."""
    model = load(short)
    found, fastest = [], math.inf
    for image in _images():
        start = trial.clock()
        found.append(_find(model, image))
        fastest = min(fastest, trial.clock() - start)
    del model
    trim()
    return found, fastest


def difference(
    expected: "Sequence[RawDetection]", found: "Sequence[RawDetection]", way: str = "bfloat16"
) -> str | None:
    """Return how what a user gets differs, or None if it hardly does.

    What is shown are the surest boxes that overlap no better one. Each of them must be among all boxes of the other
    way, about where it was and about as sure; of two that overlap and are equally sure, either may be shown.
    """
    for shown, among in ((_shown(expected), found), (_shown(found), expected)):
        for one in shown:
            alike = [other for other in among if other.label == one.label]
            near = [other for other in alike if _distance(one, other) <= SHARE * max(_SIZE)]
            if not near:
                distance = min((_distance(one, other) for other in alike), default=math.inf)
                return f"{way} moves this model's boxes (by {distance:.0f} pixels of {max(_SIZE)} on a test image)"
            score = min((other.score for other in near), key=lambda score: abs(score - one.score))
            if abs(score - one.score) > SCORE:
                return f"{way} changes this model's scores (by {abs(score - one.score):.2f} on a test image)"
    return None


def _shown(found: "Sequence[RawDetection]") -> "list[RawDetection]":
    """Return the surest detections, without those that overlap a better one of their label."""
    import numpy as np

    from dinox_mcp.types.boxes import best_boxes

    boxes = np.array([one.bbox for one in found], float).reshape(-1, 4)
    scores = np.array([one.score for one in found], float)
    labels = np.array([one.label for one in found], np.intp)
    return [found[index] for index in best_boxes(boxes, scores, labels, _IOU, _SUREST).tolist()]


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


def _find(model: "DetectionModel", image: "Image.Image") -> "list[RawDetection]":
    (features,) = model.encode([model.prepare(image)])
    labels = (model.labels or _LABELS)[:1]
    embeddings = model.embed(labels) if model.reuses_text else None
    return model.find(features, labels, embeddings, 0.0)


def _images() -> "Iterator[Image.Image]":
    """Draw two images that have edges, colours and shades of several sizes."""
    from PIL import Image, ImageDraw

    image = Image.radial_gradient("L").resize(_SIZE).convert("RGB")
    draw = ImageDraw.Draw(image)
    for step, colour in enumerate(("red", "navy", "gold", "white", "green", "black")):
        left, top = 80 + 180 * step, 120 + 100 * step
        draw.rectangle((left, top, left + 140 + 10 * step, top + 120 + 16 * step), fill=colour)
        draw.ellipse((60 + 200 * step, 800 - 120 * step, 200 + 200 * step, 920 - 120 * step), outline=colour, width=12)
        draw.line((0, 30 + 150 * step, 1280, 90 * step), fill=colour, width=1 + 2 * step)
    yield image
    yield image.transpose(Image.Transpose.ROTATE_180)
