"""What is said of tracks: where from, where to, how many, and when most."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from dinox_mcp.types.boxes import Box, clip
from dinox_mcp.types.detection import certainty, count_labels
from dinox_mcp.types.video import Direction, Moment, Peak, Track, TrackPath
from dinox_mcp.video.track import Trail

_STAYS = 0.5  # in sizes of the box: less is no way
_STEEP = math.tan(math.radians(67.5))


def tracks(trails: Sequence[Trail], times: Sequence[float], reach: float, size: tuple[int, int]) -> tuple[Track, ...]:
    """Describe the numbered tracks of frames shown at `times`, in their order, in a video of (width, height) `size`."""
    return tuple(
        _track(trail, trail.id, times, reach, size)
        for trail in sorted(trails, key=lambda one: one.id or 0)
        if trail.id is not None
    )


def timeline(trails: Sequence[Trail], keys: Sequence[float], reach: float, labels: Sequence[str]) -> list[Moment]:
    """Count what there is of each label at the times of key frames."""
    moments = []
    for time in keys:
        there = [trail.sightings[0].found for trail in trails if trail.id is not None and trail.is_there(time, reach)]
        counts = count_labels(there)
        moments.append(Moment(time_s=round(time, 3), counts={label: counts.get(label, 0) for label in labels}))
    return moments


def peaks(moments: Sequence[Moment], labels: Sequence[str]) -> dict[str, Peak]:
    """Find when there was most of each label."""
    found = {}
    for label in labels:
        best = max(moments, key=lambda moment: moment.counts.get(label, 0), default=None)
        if best is not None:
            found[label] = Peak(count=best.counts.get(label, 0), time_s=best.time_s)
    return found


def direction(path: Sequence[Box]) -> Direction:
    """Say in words which way boxes go from first to last; what moves by less than half its size stays."""
    (x1, y1), (x2, y2) = _center(path[0]), _center(path[-1])
    across, down = x2 - x1, y2 - y1
    size = sum(math.sqrt(max(1.0, (box[2] - box[0]) * (box[3] - box[1]))) for box in path) / len(path)
    if math.hypot(across, down) < _STAYS * size:
        farthest = max(math.dist(_center(box), (x1, y1)) for box in path)
        return "stays" if farthest < 2 * _STAYS * size else "there and back"
    sideways: Direction = "right" if across > 0 else "left"
    upright: Direction = "down" if down > 0 else "up"
    if abs(across) > _STEEP * abs(down):
        return sideways
    if abs(down) > _STEEP * abs(across):
        return upright
    return _DIAGONAL[upright, sideways]


_DIAGONAL: dict[tuple[str, str], Direction] = {
    ("up", "right"): "up and right",
    ("up", "left"): "up and left",
    ("down", "right"): "down and right",
    ("down", "left"): "down and left",
}


def _track(trail: Trail, number: int, times: Sequence[float], reach: float, size: tuple[int, int]) -> Track:
    boxes = [clip(sighting.found.bbox, *size) for sighting in trail.sightings]
    surest = sorted((sighting.found for sighting in trail.sightings), key=certainty, reverse=True)
    mean = tuple(sum(edges) / len(boxes) for edges in zip(*boxes, strict=True))
    return Track(
        id=number,
        label=trail.label,
        score=surest[0].score,
        first_s=round(trail.sightings[0].time, 3),
        last_s=round(trail.sightings[-1].time, 3),
        seen=len(boxes),
        frames=sum(
            bisect_right(times, last + 1e-6) - bisect_left(times, first - 1e-6) for first, last in trail.visits(reach)
        ),
        path=TrackPath(
            start=_rounded(boxes[0]), end=_rounded(boxes[-1]), mean=_rounded(mean), direction=direction(boxes)
        ),
        caption=next((one.caption for one in surest if one.caption), None),
        category=next((one.category for one in surest if one.category), None),
        text=trail.content or next((one.text for one in surest if one.text), None),
    )


def _center(box: Sequence[float]) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _rounded(box: Sequence[float]) -> Box:
    x1, y1, x2, y2 = (round(edge, 1) for edge in box)
    return x1, y1, x2, y2
