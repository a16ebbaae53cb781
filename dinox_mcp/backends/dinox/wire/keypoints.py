"""Reading bodies and hands: flat lists of (x, y, visibility, score), a point after the other."""

from collections.abc import Mapping, Sequence
from typing import Any

from dinox_mcp import keypoints
from dinox_mcp.backends.dinox.wire.frames import Frames
from dinox_mcp.schema import Keypoint

NAMES: Mapping[str, Sequence[str]] = {"pose": keypoints.BODY, "hand": keypoints.HAND}
"""The names of points by the field of an object that they come in."""
_VALUES = 4
_VISIBILITIES = (0, 1, 2)
_FAR = 1e9
"""No picture is that large; not finite is not less, either."""


def read(thing: Mapping[str, Any], field: str, frames: Frames) -> tuple[Keypoint, ...]:
    """Read the points of one field, in pixels of the picture; none where the object has no such thing.

    What the fourth value means is not documented: it counts as a score where it can be one.

    Raises:
        ValueError: what is there is not a list of that many points.
    """
    values = thing.get(field)
    if values is None or values == []:
        return ()
    names = NAMES[field]
    if not isinstance(values, list) or len(values) != _VALUES * len(names) or not all(map(_is_number, values)):
        raise ValueError(f"not {len(names)} points")
    factor_x, factor_y = frames.factors
    places = range(0, len(values), _VALUES)
    return tuple(
        _point(name, x * factor_x, y * factor_y, visibility, score)
        for name, (x, y, visibility, score) in zip(names, (values[i : i + _VALUES] for i in places), strict=True)
    )


def _point(name: str, x: float, y: float, visibility: float, score: float) -> Keypoint:
    return Keypoint(
        name=name,
        x=x,
        y=y,
        visibility=int(visibility) if visibility in _VISIBILITIES else None,
        score=score if 0 <= score <= 1 else None,
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _FAR
