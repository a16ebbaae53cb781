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

    The third value is the visibility by the vendor's word and a confidence by the vendor's code: it is taken for what
    it can be. The fourth is not documented: it counts as a score where it can be one, and differs between the points.

    Raises:
        ValueError: what is there is not a list of that many points.
    """
    values = thing.get(field)
    if values is None or values == []:
        return ()
    names = NAMES[field]
    if not isinstance(values, list) or len(values) != _VALUES * len(names) or not all(map(_is_number, values)):
        raise ValueError(f"not {len(names)} points")
    xs, ys, thirds, fourths = (values[place::_VALUES] for place in range(_VALUES))
    factor_x, factor_y = frames.factors
    sure = not set(thirds) <= set(_VISIBILITIES) and all(map(_is_score, thirds))
    scores = thirds if sure else fourths
    told = len(set(scores)) > 1
    return tuple(
        Keypoint(
            name=name,
            x=x * factor_x,
            y=y * factor_y,
            visibility=int(third) if third in _VISIBILITIES and not sure else None,
            score=score if told and _is_score(score) else None,
        )
        for name, x, y, third, score in zip(names, xs, ys, thirds, scores, strict=True)
    )


def _is_score(value: float) -> bool:
    return 0 <= value <= 1


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _FAR
