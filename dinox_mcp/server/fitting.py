"""Replies that hosts take: Claude Code shows 25,000 tokens, Claude Desktop drops what is longer than a megabyte."""

from collections.abc import Sequence

from dinox_mcp import links
from dinox_mcp.schema import DetectedObject, DetectionResult

MAX_DETAILS = 60_000
"""Characters of keypoints, captions, categories and texts in one reply; in tokens about a third of that."""
_KEYPOINT = 40
"""Characters of a keypoint in JSON, about."""


def fit(result: DetectionResult) -> DetectionResult:
    """Leave out of the last objects what is too long for one reply, and say so; the result's resource has it all."""
    room = MAX_DETAILS
    objects: list[DetectedObject] = []
    bare: list[int] = []
    for found in result.objects:
        length = _details(found)
        if length <= room:
            room -= length
            objects.append(found)
        else:
            objects.append(found.model_copy(update={"keypoints": (), "caption": None, "category": None, "text": None}))
            bare.append(found.id)
    if not bare:
        return result
    where = links.RESULT.replace("{result_id}", result.result_id)
    note = (
        f"this reply would be too long with the keypoints and words of {_objects(bare)}, which are left out; they are "
        f"in {where}, or ask for fewer objects"
    )
    return result.model_copy(update={"objects": tuple(objects), "notes": (*result.notes, note)})


def _details(found: DetectedObject) -> int:
    words = (found.caption, found.category, found.text)
    return _KEYPOINT * len(found.keypoints) + sum(len(one) for one in words if one)


def _objects(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"object {numbers[0]}"
    return f"{len(numbers)} objects ({numbers[0]} to {numbers[-1]})"
