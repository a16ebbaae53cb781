"""Replies as data: structured content with a schema, beside the same as text, no longer than hosts take.

The structured content leaves out what is empty, what repeats the caller's own arguments, and addresses: those follow
from `result_id`, and the server's instructions have the templates. The resource of a result has everything.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, cast

from mcp.types import CallToolResult, ContentBlock, ImageContent, TextContent
from typing_extensions import TypedDict  # pydantic reads those of `typing` from Python 3.12 on

from dinox_mcp.detect.counting import Count
from dinox_mcp.server import texts
from dinox_mcp.store import uris
from dinox_mcp.store.prompts import SavedPrompt
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import DetectedObject, DetectionResult, ImageInfo, Mask
from dinox_mcp.types.keypoints import is_there
from dinox_mcp.types.text import printable

MAX_DETAILS = 60_000
"""Characters of keypoints, captions, categories and texts in one reply; in tokens about a third of that."""
_KEYPOINT = 40
"""Characters of a keypoint in JSON, about."""
_SMALL = 10
"""Pixels of a box's shorter side below which a tenth of a pixel matters."""


class ObjectData(TypedDict):
    """One object; `keypoints` are x, y and, where the model gives one, the score, by name; absent where not there.

    `bbox` is x_min, y_min, x_max, y_max in pixels of the original image: whole pixels, as in the text, and tenths
    where the object is smaller than ten pixels. `mask_area` is in pixels.
    """

    id: int
    label: str
    score: NotRequired[float]
    bbox: list[float]
    text: NotRequired[str]
    caption: NotRequired[str]
    category: NotRequired[str]
    part_of: NotRequired[int]
    keypoints: NotRequired[dict[str, list[float]]]
    mask_area: NotRequired[int]


class SizeData(TypedDict):
    """Width and height of an image in pixels; for a page of a PDF, the pixels of one of its points."""

    width: int
    height: int
    pixels_per_point: NotRequired[float]


class SourceData(TypedDict):
    """The backend and model that detected some labels."""

    backend: str
    model: str
    labels: list[str]
    min_score: float


class DetectionData(TypedDict):
    """A result; `counts` covers the `omitted` objects too, and is 0 for a prompt that was not found.

    `min_score` is the threshold, absent where there is none, as for boxes that the caller gave.
    """

    result_id: str
    objects: list[ObjectData]
    counts: dict[str, int]
    omitted: NotRequired[int]
    image: SizeData
    backend: str
    model: str
    tiles: NotRequired[int]
    min_score: NotRequired[float]
    cached: NotRequired[bool]
    notes: NotRequired[list[str]]
    sources: NotRequired[list[SourceData]]


class LevelData(TypedDict):
    """The counts if `min_score` were the threshold."""

    min_score: float
    counts: dict[str, int]


class CountData(DetectionData):
    """A count; `doubtful` is how many more there may be per label, just below `min_score`."""

    levels: list[LevelData]
    doubtful: NotRequired[dict[str, int]]


class PromptData(TypedDict):
    """A saved prompt, or one that was deleted, with those that are left."""

    name: str
    label: NotRequired[str]
    examples: NotRequired[int]
    backend: NotRequired[str]
    model: NotRequired[str]
    deleted: NotRequired[bool]
    left: NotRequired[list[str]]


def reply(text: str, data: Mapping[str, Any], kind: type) -> CallToolResult:
    """Reply with a text and the same as data of a kind, a TypedDict, without optional values that are 0 or empty."""
    required = kind.__required_keys__  # type: ignore[attr-defined]
    kept = {name: value for name, value in data.items() if value or name in required}
    return CallToolResult(content=[TextContent(text=text)], structured_content=kept)


def image_reply(text: str, image: bytes | None, mime_type: str = "image/jpeg") -> CallToolResult:
    """Reply with a text and an image, if there is one. It has no schema, as some hosts then drop the image."""
    content: list[ContentBlock] = [TextContent(text=text)]
    if image is not None:
        content.append(ImageContent(data=base64.b64encode(image).decode("ascii"), mime_type=mime_type))
    return CallToolResult(content=content)


def detection_reply(result: DetectionResult) -> CallToolResult:
    """Reply with what was found."""
    result = fit(result)
    return reply(texts.detection_text(result), _detection_data(result), DetectionData)


def description_reply(result: DetectionResult) -> CallToolResult:
    """Reply with what was added to objects of the caller."""
    result = fit(result)
    return reply(texts.description_text(result), _detection_data(result), DetectionData)


def count_reply(counted: Count) -> CallToolResult:
    """Reply with counts, and how they would change at other thresholds."""
    result = fit(counted.result)
    data: CountData = {
        **_detection_data(result),
        "levels": [{"min_score": level.min_score, "counts": level.counts} for level in counted.levels],
        "doubtful": counted.doubtful,
    }
    return reply(texts.count_text(counted, result), data, CountData)


def saved_prompt_reply(prompt: SavedPrompt) -> CallToolResult:
    """Reply with what was saved, and how to use it."""
    made_by = prompt.embedding
    data: PromptData = {
        "name": prompt.name,
        "label": prompt.label,
        "examples": prompt.examples,
        "backend": made_by.backend,
        "model": made_by.model,
    }
    return reply(texts.saved_prompt_text(prompt), data, PromptData)


def deleted_prompt_reply(name: str, left: Sequence[str]) -> CallToolResult:
    """Reply with the name of a deleted prompt and the first of those that are left."""
    left = list(left[:20])
    data: PromptData = {"name": name, "deleted": True, "left": left}
    return reply(f"Deleted the saved prompt {name!r:.80}. Left: {', '.join(left) or 'none'}.", data, PromptData)


def fit(result: DetectionResult) -> DetectionResult:
    """Leave the details of the last objects out where the reply would be too long, and add a note."""
    left = MAX_DETAILS
    objects: list[DetectedObject] = []
    bare: list[int] = []
    for found in result.objects:
        texts_of = filter(None, (found.caption, found.category, found.text))
        length = _KEYPOINT * len(found.keypoints) + sum(map(len, texts_of))
        if length <= left:
            left -= length
            objects.append(found)
        else:
            objects.append(found.model_copy(update={"keypoints": (), "caption": None, "category": None, "text": None}))
            bare.append(found.id)
    if not bare:
        return result
    where = uris.RESULT.replace("{result_id}", result.result_id)
    note = (
        f"this reply would be too long with the keypoints and texts of {texts.numbers(bare)}, which are left out; they "
        f"are in {where}, or request fewer objects"
    )
    return result.model_copy(update={"objects": tuple(objects), "notes": (*result.notes, note)})


def _detection_data(result: DetectionResult) -> DetectionData:
    request = result.request
    return {
        "result_id": result.result_id,
        "objects": [_object(found) for found in result.objects],
        "counts": result.counts,
        "omitted": result.omitted,
        "image": _size(result.image),
        "backend": result.backend,
        "model": result.model,
        "tiles": request.tiles if request.tiles > 1 else 0,
        "min_score": request.min_score,
        "cached": result.cached,
        "notes": [printable(note) for note in result.notes],
        "sources": [
            {"backend": one.backend, "model": one.model, "labels": list(one.labels), "min_score": one.min_score}
            for one in result.sources
        ],
    }


def _size(image: ImageInfo) -> SizeData:
    size: SizeData = {"width": image.width, "height": image.height}
    if image.pixels_per_point is not None:
        size["pixels_per_point"] = round(image.pixels_per_point, 6)
    return size


def _object(found: DetectedObject) -> ObjectData:
    data = {
        "id": found.id,
        "label": found.label,
        "score": None if found.score is None else _short(found.score, 2),
        "bbox": edges(found.bbox),
        "text": found.text,
        "caption": found.caption,
        "category": texts.category_of(found),
        "part_of": found.part_of,
        "keypoints": {
            point.name: [
                _short(point.x, 1),
                _short(point.y, 1),
                *(() if point.score is None else (_short(point.score, 2),)),
            ]
            for point in found.keypoints
            if is_there(point)
        },
        "mask_area": _mask_area(found.mask) if found.mask else None,
    }
    return cast("ObjectData", {name: value for name, value in data.items() if value not in (None, "", {})})


def edges(box: Box) -> list[float]:
    """Round the edges of a box: whole pixels, and tenths where it is smaller than ten pixels."""
    small = min(box[2] - box[0], box[3] - box[1]) < _SMALL
    return [_short(edge, 1 if small else 0) for edge in box]


def _short(value: float, digits: int) -> float:
    """Round a number; a whole one is written without a point, which is two tokens less."""
    value = round(value, digits)
    return int(value) if value.is_integer() else value


def _mask_area(mask: Mask) -> int:
    from dinox_mcp.types import masks  # with NumPy: 70 ms that a reply without masks need not wait for

    return masks.area(mask)
