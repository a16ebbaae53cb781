"""Descriptions of given boxes by DINO-X: captions, categories, text; all boxes of an image in one task."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr, TypeAdapter, ValidationError

from dinox_mcp.backends.dinox.models import DINO_X
from dinox_mcp.backends.dinox.objects import list_objects
from dinox_mcp.backends.dinox.request import ApiRequest, Encode, Frames
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import BBox, Detection, Detections, Output

ENDPOINT = "dinox/region_vl"
_FIELDS: Mapping[Output, str] = {"caption": "caption", "category": "roc", "text": "ocr"}
_READING: frozenset[Output] = frozenset({"caption", "text"})
MAX_SIDE = 8192
"""The long side in pixels of an image whose regions are read or described; the vendor's clients send the original."""
_TOLERANCE = 2.0
"""By how many pixels a region in the reply may differ from the one in the request."""
_BBOX: TypeAdapter[BBox] = TypeAdapter(BBox)


@dataclass(frozen=True)
class RegionRequest:
    """A request about regions, in pixels of the upload; `fields` maps outputs to the fields of the reply."""

    body: bytes = field(repr=False)
    regions: tuple[Box, ...]
    fields: Mapping[Output, str]

    def with_key(self, key: SecretStr) -> ApiRequest:
        """Complete the request with the API key; the kind tells twice as many regions apart."""
        kind = f"{ENDPOINT} {'+'.join(self.fields)} {len(self.regions).bit_length()}"
        return ApiRequest(ENDPOINT, self.body, key, kind)


def make_request(
    picture: Picture, objects: Sequence[Detection], include: frozenset[Output], encode: Encode
) -> RegionRequest:
    """Make the request for descriptions of boxes. Slow: call it in a thread.

    For captions and text the image is sent at its own size, as small letters do not survive being shrunk.
    """
    upload = encode(picture, MAX_SIDE if include & _READING else DINO_X.max_side)
    frames = Frames.of(picture, upload)
    regions = tuple(_at_least_a_pixel(frames.to_upload(found.bbox), *frames.sent) for found in objects)
    fields = {output: field for output, field in _FIELDS.items() if output in include}
    body = {"model": DINO_X.name, "image": upload.uri, "regions": regions, "targets": list(fields.values())}
    return RegionRequest(json.dumps(body).encode(), regions, fields)


def read_descriptions(result: Mapping[str, Any], request: RegionRequest, objects: Sequence[Detection]) -> Detections:
    """Add the descriptions of a result to the objects, in their order.

    If the descriptions come in another order or number, they are matched by their regions, and a note says so.
    """
    replies, notes = _in_order(list_objects(result), request.regions)
    described = [
        found.model_copy(update=_read_fields(reply, request.fields))
        for found, reply in zip(objects, replies, strict=True)
    ]
    return Detections(model=DINO_X.name, objects=tuple(described), notes=notes)


def _in_order(replies: list[Any], regions: Sequence[Box]) -> tuple[list[Mapping[str, Any]], tuple[str, ...]]:
    """Return the description of each region, empty if there is none, and notes."""
    sent_back = [_region(reply) for reply in replies]
    if len(replies) == len(regions) and all(
        box is None or max(abs(a - b) for a, b in zip(box, region, strict=True)) <= _TOLERANCE
        for box, region in zip(sent_back, regions, strict=True)
    ):
        return [reply if isinstance(reply, Mapping) else {} for reply in replies], ()
    matched = _by_region([(reply, box) for reply, box in zip(replies, sent_back, strict=True) if box], regions)
    note = f"the service described {len(replies)} of {len(regions)} regions, or in another order: matched by region"
    if missing := sum(not reply for reply in matched):
        note += f", which leaves {missing} without a description"
    return matched, (note,)


def _by_region(replies: Sequence[tuple[Mapping[str, Any], Box]], regions: Sequence[Box]) -> list[Mapping[str, Any]]:
    """Give each region the description with the nearest region; each description is used once."""
    import numpy as np

    corners = np.asarray(regions, dtype=float)
    matched: list[Mapping[str, Any]] = [{} for _ in regions]
    for reply, box in replies[: 2 * len(regions)]:
        distances = np.abs(corners - box).max(axis=1)
        nearest = int(distances.argmin())
        if distances[nearest] <= _TOLERANCE:
            corners[nearest] = np.inf
            matched[nearest] = reply
    return matched


def _region(reply: Any) -> Box | None:  # noqa: ANN401 - unchecked JSON
    """Read the region of a description; None if it is missing or malformed."""
    try:
        return _BBOX.validate_python(reply["region"])
    except (ValidationError, TypeError, KeyError, IndexError):
        return None


def _read_fields(reply: Mapping[str, Any], fields: Mapping[Output, str]) -> dict[str, str]:
    """Read the fields of a description that are not empty."""
    values = {output: reply.get(field) for output, field in fields.items()}
    return {
        output: text.strip() if output == "text" else " ".join(text.split())
        for output, text in values.items()
        if isinstance(text, str) and text.strip()
    }


def _at_least_a_pixel(bbox: Box, width: int, height: int) -> Box:
    """Widen a box that is thinner than a pixel of the upload."""
    left, right = _widen(bbox[0], bbox[2], width)
    top, bottom = _widen(bbox[1], bbox[3], height)
    return left, top, right, bottom


def _widen(low: float, high: float, end: int) -> tuple[float, float]:
    if high - low >= 1:
        return low, high
    low = min(max((low + high) / 2 - 0.5, 0.0), end - 1.0)
    return low, low + 1
