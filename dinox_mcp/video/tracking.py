"""The tracks of a video: detections of each key frame are assigned to them, label by label."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import NamedTuple

import numpy as np

from dinox_mcp.types.boxes import Box, iou
from dinox_mcp.types.detection import Detection
from dinox_mcp.video.motion import (
    Appearances,
    Costs,
    Motion,
    Path,
    appearance_distances,
    assign,
    contents_differ,
    distance_ious,
    exact_content,
)

Measure = Callable[[Sequence[Box]], Appearances]
"""Gives the appearances of boxes in the current key frame."""

MIN_SINGLE_SCORE = 0.5
"""The score from which an object counts that was found in a single key frame."""
_APPEARANCE_MEMORY = 0.9  # weight of the earlier appearance of a track when it is detected again
_MIN_FOLLOWED_IOU = 0.3  # overlap with the detection from which the path followed in the pixels is used
_MAX_MISSED_S = 2.0  # how long people take to pass behind a car
_APPEARANCE_WEIGHT = 1.0  # of the appearance in a cost, beside the position
_HIDDEN_DISTANCE = 0.6  # appearance distance from which something else is in front of the object
_SAME_IOU = 0.7  # overlap from which a second detection of a label is the same object again
# Costs: 0 for the same position and appearance, 1 for boxes that touch, 2 at most for the position alone.
_MAX_POSITION_COST = 1.55  # about three widths away
_MAX_COST = 2.0
_MAX_UNCONFIRMED_COST = 1.2  # for a track that is not confirmed, so that two mistakes do not confirm each other
_ANY_COST = 3.0  # more than any position costs: equal contents are the same object wherever they are


class TimedDetection(NamedTuple):
    """What the backend found of a track at a key frame."""

    time: float
    detection: Detection


@dataclass(eq=False, slots=True)
class TrackHistory:
    """One track with all that is known of it.

    Attributes:
        first_key: The number of the key frame in which it was found first.
        boxes: Its boxes over time: detected ones at key frames, followed ones between.
        margin_s: How long it is in the video before and after a single detection, in seconds.
        followed: Its path in the pixels since its last detection; None once it is lost from sight.
        missed: In how many key frames in a row it was not found.
        id: Its number in the result, once it has one.
        content: What was read exactly of it: the content of a code or the id of a marker.
        absences: For each absence that had ended the track, the times of the detections before and after it.
    """

    label: str
    motion: Motion
    first_key: int
    detections: list[TimedDetection]
    boxes: list[tuple[float, Box]]
    appearance: Appearances
    margin_s: float
    followed: Path | None = ()
    missed: int = 0
    id: int | None = None
    content: str | None = None
    absences: list[tuple[float, float]] = field(default_factory=list)

    @classmethod
    def start(
        cls, time: float, detection: Detection, appearance: Appearances, *, first_key: int, margin_s: float
    ) -> "TrackHistory":
        """Start a track with a first detection."""
        motion, boxes = Motion.at(time, detection.bbox), [(time, detection.bbox)]
        first = [TimedDetection(time, detection)]
        content = exact_content(detection)
        return cls(detection.label, motion, first_key, first, boxes, appearance, margin_s, content=content)

    @property
    def current_box(self) -> Box | None:
        """The box at the latest key frame; None where it is not known."""
        if self.followed is None:
            return None
        return self.followed[-1][1] if self.followed else self.boxes[-1][1]

    def expected_box(self, time: float) -> Box:
        """Predict the box at a key frame: by the pixels, or by the motion where it is lost from sight."""
        return self.followed[-1][1] if self.followed else self.motion.box(time)

    def visits(self) -> list[tuple[float, float]]:
        """List from when to when it is in the video, in seconds.

        A visit lasts from its first to its last detection. With a single one, `margin_s` is added before and after.
        """
        starts = [self.detections[0].time, *(back for _, back in self.absences)]
        ends = [*(left for left, _ in self.absences), self.detections[-1].time]
        return [
            (start, end) if end > start else (start - self.margin_s, end + self.margin_s)
            for start, end in zip(starts, ends, strict=True)
        ]

    def box(self, time: float) -> Box | None:
        """Interpolate the box at a time; None where the track is not in the video then."""
        visit = next(((start, end) for start, end in self.visits() if start <= time <= end), None)
        if visit is None:
            return None
        known = [(at, box) for at, box in self.boxes if visit[0] <= at <= visit[1]]
        after = bisect_left(known, time, key=lambda one: one[0])
        if after in {0, len(known)}:
            return known[min(after, len(known) - 1)][1]
        (early, before), (late, behind) = known[after - 1 : after + 1]
        part = (time - early) / (late - early)
        x1, y1, x2, y2 = (a + part * (b - a) for a, b in zip(before, behind, strict=True))
        return x1, y1, x2, y2

    def latest(self, time: float) -> TimedDetection:
        """Give the last detection until a time, or the first of all."""
        after = bisect_left(self.detections, time + 1e-9, key=lambda one: one.time)
        return self.detections[max(0, after - 1)]

    def extend(self, time: float, detection: Detection, appearance: Appearances) -> None:
        """Add a detection; the path followed in the pixels is bent so that it ends at its box."""
        start, path = self.boxes[-1][0], self.followed
        if path and iou(path[-1][1], detection.bbox) >= _MIN_FOLLOWED_IOU:
            errors = [found - followed for found, followed in zip(detection.bbox, path[-1][1], strict=True)]
            for moment, box in path[:-1]:
                part = (moment - start) / (time - start)
                x1, y1, x2, y2 = (edge + part * error for edge, error in zip(box, errors, strict=True))
                self.boxes.append((moment, (x1, y1, x2, y2)))
        self.boxes.append((time, detection.bbox))
        self.detections.append(TimedDetection(time, detection))
        self.motion.update(time, detection.bbox)
        self.appearance = _APPEARANCE_MEMORY * self.appearance + (1 - _APPEARANCE_MEMORY) * appearance
        self.missed, self.followed = 0, ()
        self.content = self.content or exact_content(detection)

    def resume(self, time: float, detection: Detection, appearance: Appearances) -> None:
        """Add a detection after an absence that had ended the track."""
        self.absences.append((self.detections[-1].time, time))
        self.motion, self.followed = Motion.at(time, detection.bbox), None
        self.extend(time, detection, appearance)

    def merge(self, other: "TrackHistory", *, after_absence: bool) -> None:
        """Append a later track that turned out to be the same object."""
        if after_absence:
            self.absences.append((self.detections[-1].time, other.detections[0].time))
        self.absences += other.absences
        self.detections += other.detections
        self.boxes += other.boxes
        self.motion, self.appearance = other.motion, other.appearance
        self.followed, self.missed = other.followed, other.missed
        self.id = self.id or other.id

    def drop_followed_boxes(self, until: float) -> None:
        """Drop the boxes between key frames before a time, so that memory does not grow with the video."""
        detected = {one.time for one in self.detections}
        self.boxes = [(time, box) for time, box in self.boxes if time >= until or time in detected]


@dataclass(slots=True)
class Tracker:
    """Joins the detections of key frames, `every_s` seconds apart, to tracks.

    A track may be missed for two seconds, or in one key frame where they are further apart. It is confirmed when it
    was found twice, or once without a score or with a score of at least `MIN_SINGLE_SCORE`.

    Attributes:
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
        """Assign the detections of the next key frame, in which `measure` gives the appearance of boxes.

        `followed` is the path of each active track in the pixels since the last key frame; None where it was lost.
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
        """Return whether a track is taken for an object, not for a mistake of the model."""
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
            if all(iou(one.bbox, box) < _SAME_IOU or contents_differ(content, other) for box, other in assigned):
                assigned.append((one.bbox, content))
                first, margin_s = self._keys, self.every_s / 2
                self.active.append(TrackHistory.start(time, one, measured[column], first_key=first, margin_s=margin_s))

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
                self._continue(tracks[row], time, detections[columns[found]], measured[columns[found]])
                assigned.add(columns[found])
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
        """Pair tracks with the given `columns` of detections; tracks found once get only what the others leave."""
        pairs: list[tuple[TrackHistory, int]] = []
        for found_often in (True, False):
            rows = [track for track in tracks if (len(track.detections) > 1) is found_often]
            left = [column for column in columns if column not in {taken for _, taken in pairs}]
            costs = _costs(time, rows, [detections[column] for column in left], measured[left])
            unconfirmed = np.array([not self.is_confirmed(track) for track in rows], dtype=bool).reshape(-1, 1)
            costs = np.where(unconfirmed & (costs > _MAX_UNCONFIRMED_COST), np.inf, costs)
            pairs += [(rows[row], left[column]) for row, column in assign(costs, _MAX_COST)]
        return pairs


def _costs(
    time: float, tracks: Sequence[TrackHistory], detections: Sequence[Detection], measured: Appearances
) -> Costs:
    """Cost of each pair of a track and a detection; infinite where they are far apart or their contents differ."""
    positions = 1 - distance_ious([track.expected_box(time) for track in tracks], [one.bbox for one in detections])
    known = np.array([track.appearance for track in tracks]).reshape(len(tracks), measured.shape[1])
    contents = [exact_content(one) for one in detections]
    others = np.array([[contents_differ(track.content, one) for one in contents] for track in tracks], dtype=bool)
    costs = positions + _APPEARANCE_WEIGHT * appearance_distances(known, measured)
    return np.where((positions > _MAX_POSITION_COST) | others.reshape(costs.shape), np.inf, costs)
