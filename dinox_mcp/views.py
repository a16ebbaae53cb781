"""Pictures made of a picture and its objects. Slow functions on values: call them in a thread."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from dinox_mcp import masks
from dinox_mcp.errors import InputError, NotFoundError
from dinox_mcp.geometry import Box, area, clip
from dinox_mcp.images.picture import Picture
from dinox_mcp.schema import DetectedObject
from dinox_mcp.store import Stored

FULL_JPEG_QUALITY = 92


@dataclass(frozen=True, slots=True)
class View:
    """An encoded picture: its size in pixels and the `frame` of the original that it shows."""

    data: bytes
    mime_type: str
    width: int
    height: int
    frame: Box


def select(
    stored: Stored, numbers: Collection[int] = (), labels: Collection[str] = (), min_score: float = 0.0
) -> list[DetectedObject]:
    """Choose objects of a result by number, label (any case) and score; no choice means all.

    Raises:
        NotFoundError: a number or label is not in the result.
    """
    for number in numbers:
        get_object(stored, number)
    wanted = {label.casefold() for label in labels}
    if unknown := wanted - {label.casefold() for label in stored.result.counts}:
        raise NotFoundError(
            f"result {stored.result.result_id} has no label {sorted(unknown)[0][:60]!r}; its labels are "
            f"{', '.join(stored.result.counts) or '(none: nothing was found)'}"
        )
    return [
        found
        for found in stored.result.objects
        if (not numbers or found.id in numbers)
        and (not wanted or found.label.casefold() in wanted)
        and (found.score is None or found.score >= min_score)
    ]


def get_object(stored: Stored, number: int) -> DetectedObject:
    """Give an object of a result by its number.

    Raises:
        NotFoundError: the result has no such number.
    """
    objects = stored.result.objects
    if not 1 <= number <= len(objects):
        known = f"numbers 1 to {len(objects)}" if objects else "no objects"
        raise NotFoundError(f"result {stored.result.result_id} has no object {number}, it has {known}")
    return objects[number - 1]
