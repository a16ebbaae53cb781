"""The tracks of a video: detections of each key frame are assigned to them, label by label."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np
import numpy.typing as npt

from dinox_mcp.types.boxes import Box, iou
from dinox_mcp.types.detection import Detection
from dinox_mcp.video.track import Appearances, Path, TrackHistory, appearance_distances, exact_content

Costs = npt.NDArray[np.float64]
Measure = Callable[[Sequence[Box]], Appearances]
"""Gives the appearances of boxes in the current key frame."""

MIN_SINGLE_SCORE = 0.5
"""The score from which an object counts that was found in a single key frame."""
_MAX_MISSED_S = 2.0  # how long people take to pass behind a car
_APPEARANCE_WEIGHT = 1.0  # of the appearance in a cost, beside the position
_HIDDEN_DISTANCE = 0.6  # appearance distance from which something else is in front of the object
_SAME_IOU = 0.7  # overlap from which a second detection of a label is the same object again
# Costs: 0 for the same position and appearance, 1 for boxes that touch, 2 at most for the position alone.
_MAX_POSITION_COST = 1.55  # about three widths away
_MAX_COST = 2.0
_MAX_UNCONFIRMED_COST = 1.2  # for a track that is not confirmed, so that two mistakes do not confirm each other
_ANY_COST = 3.0  # more than any position costs: equal contents are the same object wherever they are


@dataclass(slots=True)
class Tracker:
    """Joins the detections of key frames to tracks.

    A track may be missed for two seconds, or in one key frame where they are further apart. It is confirmed when it
    was found twice, or once without a score or with a score of at least `MIN_SINGLE_SCORE`.

    Attributes:
        every_s: The time from one key frame to the next.
        single: There is only one key frame; all its detections are confirmed.
        active: The tracks that may go on.
        ended: The confirmed tracks that have ended.
        dropped: How many tracks ended without being confirmed.
        renumbered: Numbers of tracks that turned out to be an older track, each with the number of the older one.
    """

    every_s: float
    single: bool = False
    active: list[TrackHistory] = field(default_factory=list)
    ended: list[TrackHistory] = field(default_factory=list)
    dropped: int = 0
    renumbered: list[tuple[int, int]] = field(default_factory=list)
    _keys: int = 0
    _numbers: int = 0

    @property
    def max_missed(self) -> int:
        """In how many key frames in a row a track may be missed before it ends."""
        return max(1, min(8, round(_MAX_MISSED_S / max(self.every_s, 1e-3))))

    def update(
        self, time: float, detections: Sequence[Detection], measure: Measure, followed: Sequence[Path | None] = ()
    ) -> None:
        """Assign the detections of the next key frame.

        Args:
            time: When the key frame is shown, in seconds.
            detections: What the backend found in it.
            measure: Measures the appearance of boxes in it.
            followed: For each active track, its path in the pixels since the last key frame; None where it was lost.
        """
        for track, path in zip_longest(self.active, followed):
            track.followed = [*track.followed, *path] if path and track.followed is not None else None
        measured = measure([one.bbox for one in detections])
        labels = dict.fromkeys([*(one.label for one in detections), *(track.label for track in self.active)])
        for label in labels:
            columns = [column for column, one in enumerate(detections) if one.label == label]
            self._update_label(time, label, [detections[column] for column in columns], measured[columns])
        self._stop_following_hidden(measure)
        over = [track for track in self.active if track.missed > self.max_missed]
        confirmed = [track for track in over if self.is_confirmed(track)]
        self.ended += confirmed
        self.dropped += len(over) - len(confirmed)
        self.active = [track for track in self.active if track.missed <= self.max_missed]
        self._keys += 1

    def number(self, key: int) -> None:
        """Number the confirmed tracks that began at the key frame number `key` or before, in order of appearance."""
        new = [track for track in self.confirmed() if track.first_key <= key and track.id is None]
        for track in sorted(new, key=lambda one: one.first_key):  # stable: then in the backend's order
            self._numbers += 1
            track.id = self._numbers

    def confirmed(self) -> list[TrackHistory]:
        """List the confirmed tracks so far."""
        return [*self.ended, *(track for track in self.active if self.is_confirmed(track))]

    def is_confirmed(self, track: TrackHistory) -> bool:
        """Say whether a track is taken for an object, not for a mistake of the model."""
        score = track.detections[0].detection.score
        return self.single or len(track.detections) > 1 or score is None or score >= MIN_SINGLE_SCORE

    def _stop_following_hidden(self, measure: Measure) -> None:
        """Give up the followed path of tracks that were not found and whose box shows something else now."""
        missed = [track for track in self.active if track.missed and track.followed]
        boxes = [track.followed[-1][1] for track in missed if track.followed]
        for track, appearance in zip(missed, measure(boxes), strict=True):
            if appearance_distances(track.appearance[None], appearance[None])[0, 0] > _HIDDEN_DISTANCE:
                track.followed = None

    def _update_label(self, time: float, label: str, detections: Sequence[Detection], measured: Appearances) -> None:
        """Assign the detections of one label: by content, then by position and appearance; the rest begin tracks."""
        known = self._assign_contents(time, label, detections, measured)
        tracks = [one for one in self.active if one.label == label and one.detections[-1].time < time]
        rest = [column for column in range(len(detections)) if column not in known]
        assigned = [(detections[column].bbox, exact_content(detections[column])) for column in known]
        for track, column in self._pairs(time, tracks, rest, detections, measured):
            track.extend(time, detections[column], measured[column])
            assigned.append((detections[column].bbox, track.content))
            rest.remove(column)
        for track in tracks:
            track.missed += track.detections[-1].time < time
        for column in rest:
            one, content = detections[column], exact_content(detections[column])
            if all(iou(one.bbox, box) < _SAME_IOU or _differ(content, other) for box, other in assigned):
                assigned.append((one.bbox, content))
                margin_s = self.every_s / 2
                self.active.append(
                    TrackHistory.start(time, one, measured[column], first_key=self._keys, margin_s=margin_s)
                )

    def _assign_contents(
        self, time: float, label: str, detections: Sequence[Detection], measured: Appearances
    ) -> set[int]:
        """Assign detections whose content was read before to its track, wherever they are; return their indices."""
        contents = [exact_content(one) for one in detections]
        assigned: set[int] = set()
        for content in dict.fromkeys(one for one in contents if one is not None):
            tracks = [one for one in (*self.active, *self.ended) if (one.label, one.content) == (label, content)]
            columns = [column for column, one in enumerate(contents) if one == content]
            boxes = [track.expected_box(time) if track in self.active else track.boxes[-1][1] for track in tracks]
            costs = 1 - distance_ious(boxes, [detections[column].bbox for column in columns])
            for row, found in assign(costs, _ANY_COST):
                column = columns[found]
                self._continue(tracks[row], time, detections[column], measured[column])
                assigned.add(column)
        return assigned

    def _continue(self, track: TrackHistory, time: float, detection: Detection, appearance: Appearances) -> None:
        """Extend a track by a detection with the same content, and merge what was tracked of it in between."""
        ended = track not in self.active
        if ended:
            self.ended.remove(track)
            self.active.append(track)
        same = self._same_unread(track, time, detection, appearance)
        if same:
            if track.id and same.id:
                self.renumbered.append((same.id, track.id))
            self.active.remove(same)
            track.merge(same, after_absence=ended)
        if ended and not same:
            track.resume(time, detection, appearance)
        else:
            track.extend(time, detection, appearance)

    def _same_unread(
        self, track: TrackHistory, time: float, detection: Detection, appearance: Appearances
    ) -> TrackHistory | None:
        """Find the track of the same object that began since `track` was found last and has no content yet."""
        last = track.detections[-1].time
        begun = [one for one in self.active if one.label == track.label and one.detections[0].time > last]
        begun = [one for one in begun if one.content is None]
        pairs = assign(_costs(time, begun, [detection], appearance[None]), _MAX_UNCONFIRMED_COST)
        return begun[pairs[0][0]] if pairs else None

    def _pairs(
        self,
        time: float,
        tracks: Sequence[TrackHistory],
        columns: Sequence[int],
        detections: Sequence[Detection],
        measured: Appearances,
    ) -> list[tuple[TrackHistory, int]]:
        """Pair tracks with detections (the given `columns` of them) by position and appearance.

        Tracks that were found once may be mistakes: they get only what the others leave.
        """
        pairs: list[tuple[TrackHistory, int]] = []
        for found_often in (True, False):
            rows = [track for track in tracks if (len(track.detections) > 1) is found_often]
            left = [column for column in columns if column not in {taken for _, taken in pairs}]
            costs = _costs(time, rows, [detections[column] for column in left], measured[left])
            unconfirmed = np.array([not self.is_confirmed(track) for track in rows], dtype=bool).reshape(-1, 1)
            costs = np.where(unconfirmed & (costs > _MAX_UNCONFIRMED_COST), np.inf, costs)
            pairs += [(rows[row], left[column]) for row, column in assign(costs, _MAX_COST)]
        return pairs


def assign(costs: Costs, limit: float) -> list[tuple[int, int]]:
    """Pair rows with columns at the least total cost.

    Args:
        costs: The cost of each pair, of shape (rows, columns); infinite where they cannot be a pair.
        limit: The cost of leaving a row and a column without a pair, and so the most that a pair may cost.

    Returns:
        The pairs (row, column), by rows.
    """
    # SciPy has the same solver, but takes 0.5 s and 54 MB to import (lap: 5 ms, 1 MB) and 143 MB on disk (lap: 2 MB).
    import lap

    if not costs.size:
        return []
    _, columns, _ = lap.lapjv(costs, extend_cost=True, cost_limit=limit)
    return [(row, int(column)) for row, column in enumerate(columns) if column >= 0]


def distance_ious(a: Sequence[Box], b: Sequence[Box]) -> Costs:
    """Distance-IoU of each box of `a` with each of `b`, from -1 (far apart) to 1 (the same).

    Unlike the IoU it separates near from far where boxes do not overlap, as between key frames (Zheng et al. 2020).

    Returns:
        An array of shape (len(a), len(b)).
    """
    first = np.array(a, dtype=float).reshape(-1, 1, 4)
    second = np.array(b, dtype=float).reshape(1, -1, 4)
    low, high = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=-1)
    union = _areas(first) + _areas(second) - shared
    span = np.maximum(first[..., 2:], second[..., 2:]) - np.minimum(first[..., :2], second[..., :2])
    apart = (first[..., :2] + first[..., 2:] - second[..., :2] - second[..., 2:]) / 2
    distance = np.sum(apart**2, axis=-1) / np.maximum(np.sum(span**2, axis=-1), 1e-9)
    result: Costs = shared / np.maximum(union, 1e-9) - distance
    return result


def _areas(boxes: Costs) -> Costs:
    areas: Costs = np.prod(np.maximum(boxes[..., 2:] - boxes[..., :2], 0), axis=-1)
    return areas


def _costs(
    time: float, tracks: Sequence[TrackHistory], detections: Sequence[Detection], measured: Appearances
) -> Costs:
    """Cost of each pair of a track and a detection; infinite where they are far apart or their contents differ."""
    positions = 1 - distance_ious([track.expected_box(time) for track in tracks], [one.bbox for one in detections])
    known = np.array([track.appearance for track in tracks]).reshape(len(tracks), measured.shape[1])
    contents = [exact_content(one) for one in detections]
    others = np.array([[_differ(track.content, one) for one in contents] for track in tracks], dtype=bool)
    costs = positions + _APPEARANCE_WEIGHT * appearance_distances(known, measured)
    return np.where((positions > _MAX_POSITION_COST) | others.reshape(costs.shape), np.inf, costs)


def _differ(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one != other
