"""The tracks of a video: detections of each key frame are assigned to them, label by label."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

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


@dataclass(frozen=True, eq=False, slots=True)
class TimedDetection:
    """What the backend found at a key frame, and what it looks like there."""

    time: float
    detection: Detection
    appearance: Appearances

    @property
    def content(self) -> str | None:
        """What was read exactly of it."""
        return exact_content(self.detection)


class TrackHistory:
    """One track with all that is known of it.

    Args:
        first: Its first detection.
        first_key: The number of that key frame.
        margin_s: How long it is in the video before and after a single detection, in seconds.

    Attributes:
        boxes: Its boxes over time: detected ones at key frames, followed ones between.
        followed: Its path in the pixels since its last detection; None once it is lost from sight.
        missed: In how many key frames in a row it was not found.
        id: Its number in the result, once it has one.
        content: What was read exactly of it: the content of a code or the id of a marker.
        absences: For each absence that had ended the track, the times of the detections before and after it.
    """

    def __init__(self, first: TimedDetection, *, first_key: int, margin_s: float) -> None:
        bbox = first.detection.bbox
        self.label, self.content = first.detection.label, first.content
        self.motion, self.appearance = Motion(first.time, bbox), first.appearance
        self.first_key, self.margin_s = first_key, margin_s
        self.detections = [first]
        self.boxes = [(first.time, bbox)]
        self.followed: Path | None = ()
        self.missed = 0
        self.id: int | None = None
        self.absences: list[tuple[float, float]] = []

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

    def extend(self, found: TimedDetection) -> None:
        """Add a detection; the path followed in the pixels is bent so that it ends at its box."""
        start, path, bbox = self.boxes[-1][0], self.followed, found.detection.bbox
        if path and iou(path[-1][1], bbox) >= _MIN_FOLLOWED_IOU:
            errors = [detected - followed for detected, followed in zip(bbox, path[-1][1], strict=True)]
            for moment, box in path[:-1]:
                part = (moment - start) / (found.time - start)
                x1, y1, x2, y2 = (edge + part * error for edge, error in zip(box, errors, strict=True))
                self.boxes.append((moment, (x1, y1, x2, y2)))
        self.boxes.append((found.time, bbox))
        self.detections.append(found)
        self.motion.update(found.time, bbox)
        self.appearance = _APPEARANCE_MEMORY * self.appearance + (1 - _APPEARANCE_MEMORY) * found.appearance
        self.missed, self.followed = 0, ()
        self.content = self.content or found.content

    def resume(self, found: TimedDetection) -> None:
        """Add a detection after an absence that had ended the track."""
        self.absences.append((self.detections[-1].time, found.time))
        self.motion, self.followed = Motion(found.time, found.detection.bbox), None
        self.extend(found)

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
        appearances = measure([one.bbox for one in detections])
        found = [TimedDetection(time, one, look) for one, look in zip(detections, appearances, strict=True)]
        labels = dict.fromkeys([*(one.label for one in detections), *(track.label for track in self.active)])
        for label in labels:
            self._update_label(time, label, [one for one in found if one.detection.label == label])
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

    def _update_label(self, time: float, label: str, found: Sequence[TimedDetection]) -> None:
        """Assign the detections of one label: by content, then by position and appearance; the rest begin tracks."""
        assigned = [(one, one.content) for one in self._assign_contents(found)]
        tracks = [one for one in self.active if one.label == label and one.detections[-1].time < time]
        for track, one in self._pairs(tracks, _without(found, [one for one, _ in assigned])):
            track.extend(one)
            assigned.append((one, track.content))
        for track in tracks:
            track.missed += track.detections[-1].time < time
        for one in _without(found, [one for one, _ in assigned]):
            if not any(_is_same(one, other, content) for other, content in assigned):
                assigned.append((one, one.content))
                self.active.append(TrackHistory(one, first_key=self._keys, margin_s=self.every_s / 2))

    def _assign_contents(self, found: Sequence[TimedDetection]) -> list[TimedDetection]:
        """Assign detections whose content was read before to its track, wherever they are; return them."""
        assigned = []
        for content in dict.fromkeys(one.content for one in found if one.content is not None):
            equal = [one for one in found if one.content == content]
            known = (equal[0].detection.label, content)
            tracks = [one for one in (*self.active, *self.ended) if (one.label, one.content) == known]
            boxes = [one.expected_box(equal[0].time) if one in self.active else one.boxes[-1][1] for one in tracks]
            costs = 1 - distance_ious(boxes, [one.detection.bbox for one in equal])
            for row, column in assign(costs, _ANY_COST):
                self._continue(tracks[row], equal[column])
                assigned.append(equal[column])
        return assigned

    def _continue(self, track: TrackHistory, found: TimedDetection) -> None:
        """Extend a track by a detection with the same content, and merge what was tracked of it in between."""
        ended = track not in self.active
        if ended:
            self.ended.remove(track)
            self.active.append(track)
        same = self._same_unread(track, found)
        if same:
            if track.id and same.id:
                self.renumbered.append((same.id, track.id))
            self.active.remove(same)
            track.merge(same, after_absence=ended)
        if ended and not same:
            track.resume(found)
        else:
            track.extend(found)

    def _same_unread(self, track: TrackHistory, found: TimedDetection) -> TrackHistory | None:
        """Find the track of the same object that began since `track` was found last and has no content yet."""
        unread = [one for one in self.active if one.label == track.label and one.content is None]
        begun = [one for one in unread if one.detections[0].time > track.detections[-1].time]
        pairs = assign(_costs(begun, [found]), _MAX_UNCONFIRMED_COST)
        return begun[pairs[0][0]] if pairs else None

    def _pairs(
        self, tracks: Sequence[TrackHistory], found: Sequence[TimedDetection]
    ) -> list[tuple[TrackHistory, TimedDetection]]:
        """Pair tracks with detections; tracks found once get only what the others leave."""
        pairs: list[tuple[TrackHistory, TimedDetection]] = []
        for found_often in (True, False):
            rows = [track for track in tracks if (len(track.detections) > 1) is found_often]
            left = _without(found, [taken for _, taken in pairs])
            costs = _costs(rows, left)
            unconfirmed = np.array([not self.is_confirmed(track) for track in rows], dtype=bool).reshape(-1, 1)
            costs = np.where(unconfirmed & (costs > _MAX_UNCONFIRMED_COST), np.inf, costs)
            pairs += [(rows[row], left[column]) for row, column in assign(costs, _MAX_COST)]
        return pairs


def _without(found: Sequence[TimedDetection], taken: Sequence[TimedDetection]) -> list[TimedDetection]:
    return [one for one in found if one not in taken]


def _is_same(found: TimedDetection, other: TimedDetection, content: str | None) -> bool:
    """Return whether a detection is that of another object once more, whose `content` is known."""
    overlap = iou(found.detection.bbox, other.detection.bbox)
    return overlap >= _SAME_IOU and not contents_differ(found.content, content)


def _costs(tracks: Sequence[TrackHistory], found: Sequence[TimedDetection]) -> Costs:
    """Cost of each pair of a track and a detection; infinite where they are far apart or their contents differ."""
    if not (tracks and found):
        return np.zeros((len(tracks), len(found)))
    expected = [track.expected_box(found[0].time) for track in tracks]
    positions = 1 - distance_ious(expected, [one.detection.bbox for one in found])
    known, measured = (np.array([one.appearance for one in side]) for side in (tracks, found))
    contents = [one.content for one in found]
    others = np.array([[contents_differ(track.content, one) for one in contents] for track in tracks], dtype=bool)
    costs = positions + _APPEARANCE_WEIGHT * appearance_distances(known, measured)
    return np.where((positions > _MAX_POSITION_COST) | others, np.inf, costs)
