"""Asking what DINO-X has to say of given boxes: captions, categories, text; all boxes of a picture in one task."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr, TypeAdapter, ValidationError

from dinox_mcp.backends.dinox.models import DINO_X
from dinox_mcp.backends.dinox.upload import Frames
from dinox_mcp.backends.dinox.wire.objects import things
from dinox_mcp.backends.dinox.wire.question import Encode, Job
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import BBox, Detection, Detections, Output

ENDPOINT = "dinox/region_vl"
_FIELDS: Mapping[Output, str] = {"caption": "caption", "category": "roc", "text": "ocr"}
_READING: frozenset[Output] = frozenset({"caption", "text"})
MAX_SIDE = 8192
"""The long side of a picture whose regions are read or described: as the vendor's own clients, we send the original."""
_TOLERANCE = 2.0
"""Pixels by which the service may round a region that it repeats."""
_BBOX: TypeAdapter[BBox] = TypeAdapter(BBox)


@dataclass(frozen=True)
class RegionQuestion:
    """A question about regions, in uploaded pixels; `fields` are those of the reply by what they are to us."""

    body: bytes = field(repr=False)
    regions: tuple[Box, ...]
    fields: Mapping[Output, str]

    def job(self, key: SecretStr) -> Job:
        """Address the question to the service, on a key; about twice as many regions are of another kind."""
        kind = f"{ENDPOINT} {'+'.join(self.fields)} {len(self.regions).bit_length()}"
        return Job(ENDPOINT, self.body, key, kind)


def ask(picture: Picture, objects: Sequence[Detection], include: frozenset[Output], encode: Encode) -> RegionQuestion:
    """Put the question; the picture is sent anew, as the service cannot refer to an earlier upload.

    For a caption or text it is sent at its own size, as small letters do not survive being shrunk.

    Slow: call it off the event loop.

    Raises:
        ImageError: the picture is damaged.
    """
    upload = encode(picture, MAX_SIDE if include & _READING else DINO_X.max_side)
    frames = Frames.of(picture, upload)
    regions = tuple(_at_least_a_pixel(frames.there(found.bbox), *frames.sent) for found in objects)
    fields = {output: field for output, field in _FIELDS.items() if output in include}
    body = {"model": DINO_X.name, "image": upload.uri, "regions": regions, "targets": list(fields.values())}
    return RegionQuestion(json.dumps(body).encode(), regions, fields)


def read(result: Mapping[str, Any], question: RegionQuestion, objects: Sequence[Detection]) -> Detections:
    """Add what a result tells to the objects, in their order.

    Replies that come in another order or number are matched by the region that they repeat, and a note says so.

    Raises:
        ServiceError: there is no list of objects.
    """
    replies, notes = _in_order(things(result), question.regions)
    told = [
        found.model_copy(update=_words(reply, question.fields)) for found, reply in zip(objects, replies, strict=True)
    ]
    return Detections(model=DINO_X.name, objects=tuple(told), notes=notes)


def _in_order(replies: list[Any], regions: Sequence[Box]) -> tuple[list[Mapping[str, Any]], tuple[str, ...]]:
    """Give the reply to each region, empty where there is none."""
    repeated = [_region(reply) for reply in replies]
    if len(replies) == len(regions) and all(
        there is None or _distance(there, region) <= _TOLERANCE for there, region in zip(repeated, regions, strict=True)
    ):
        return [reply if isinstance(reply, Mapping) else {} for reply in replies], ()
    matched = _by_region([(reply, there) for reply, there in zip(replies, repeated, strict=True) if there], regions)
    note = f"the service described {len(replies)} of {len(regions)} regions, or in another order: matched by region"
    if missing := sum(not reply for reply in matched):
        note += f", which leaves {missing} without a description"
    return matched, (note,)


def _by_region(replies: Sequence[tuple[Mapping[str, Any], Box]], regions: Sequence[Box]) -> list[Mapping[str, Any]]:
    """Give each region the reply whose own is nearest, each reply once."""
    import numpy as np

    corners = np.asarray(regions, dtype=float)
    matched: list[Mapping[str, Any]] = [{} for _ in regions]
    for reply, there in replies[: 2 * len(regions)]:
        distances = np.abs(corners - there).max(axis=1)
        place = int(distances.argmin())
        if distances[place] <= _TOLERANCE:
            corners[place] = np.inf
            matched[place] = reply
    return matched


def _region(reply: Any) -> Box | None:  # noqa: ANN401 - whatever the service sent
    """Read the region that a reply repeats."""
    try:
        return _BBOX.validate_python(reply["region"])
    except (ValidationError, TypeError, KeyError, IndexError):
        return None


def _distance(one: Box, other: Box) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _words(reply: Mapping[str, Any], fields: Mapping[Output, str]) -> dict[str, str]:
    """Read what is told; nothing where it is empty."""
    told = {output: reply.get(field) for output, field in fields.items()}
    return {
        output: text.strip() if output == "text" else " ".join(text.split())
        for output, text in told.items()
        if isinstance(text, str) and text.strip()
    }


def _at_least_a_pixel(bbox: Box, width: int, height: int) -> Box:
    """Widen what shrinking made too thin to be looked at."""
    left, right = _widen(bbox[0], bbox[2], width)
    top, bottom = _widen(bbox[1], bbox[3], height)
    return left, top, right, bottom


def _widen(low: float, high: float, end: int) -> tuple[float, float]:
    if high - low >= 1:
        return low, high
    low = min(max((low + high) / 2 - 0.5, 0.0), end - 1.0)
    return low, low + 1
