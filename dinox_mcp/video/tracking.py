"""Tracks over the key frames of a video: found boxes are assigned to them at the least cost, label by label."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np
import numpy.typing as npt

from dinox_mcp.types.boxes import Box, iou
from dinox_mcp.types.detection import Detection
from dinox_mcp.video.track import Looks, Motion, Path, Sighting, Trail, identity, unlikeness

Costs = npt.NDArray[np.float64]


def closeness(a: Sequence[Box], b: Sequence[Box]) -> Costs:
    """Distance-IoU of each box of `a` with each of `b`, from -1 (far apart) to 1 (the same).

    It tells near from far where boxes do not overlap, as they do not between key frames (Zheng et al. 2020).
    """
    first = np.array(a, dtype=float).reshape(-1, 1, 4)
    second = np.array(b, dtype=float).reshape(1, -1, 4)
    low, high = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=-1)
    union = _area(first) + _area(second) - shared
    span = np.maximum(first[..., 2:], second[..., 2:]) - np.minimum(first[..., :2], second[..., :2])
    apart = (first[..., :2] + first[..., 2:] - second[..., :2] - second[..., 2:]) / 2
    distance = np.sum(apart**2, axis=-1) / np.maximum(np.sum(span**2, axis=-1), 1e-9)
    close: Costs = shared / np.maximum(union, 1e-9) - distance
    return close


def assign(costs: Costs, limit: float) -> list[tuple[int, int]]:
    """Pair rows with columns at the least cost in sum, where what stays alone costs `limit`: no pair costs more.

    Shortest augmenting paths with potentials (Jonker and Volgenant 1987), cubic in the larger side: a few hundred
    boxes take a fraction of a second.
    """
    if not costs.size:
        return []
    capped = np.minimum(costs, limit)
    pairs = _assign(capped) if capped.shape[0] <= capped.shape[1] else [(b, a) for a, b in _assign(capped.T)]
    return sorted((row, column) for row, column in pairs if costs[row, column] <= limit)


def _assign(costs: Costs) -> list[tuple[int, int]]:
    """Assign each row a column of its own; there are at least as many columns."""
    rows, columns = costs.shape
    of_row, of_column = np.zeros(rows + 1), np.zeros(columns + 1)
    owner = np.full(columns + 1, rows)  # the row that has each column; the last column is where a path starts
    for row in range(rows):
        owner[columns] = row
        least = np.full(columns, np.inf)
        came_from = np.full(columns, columns)
        visited = np.zeros(columns + 1, dtype=bool)
        here = columns
        while owner[here] != rows:
            visited[here] = True
            current = owner[here]
            reduced = costs[current] - of_row[current] - of_column[:columns]
            better = ~visited[:columns] & (reduced < least)
            least[better] = reduced[better]
            came_from[better] = here
            there = int(np.argmin(np.where(visited[:columns], np.inf, least)))
            step = least[there]
            of_row[owner[visited]] += step
            of_column[visited] -= step
            least[~visited[:columns]] -= step
            here = there
        while here != columns:
            before = came_from[here]
            owner[here] = owner[before]
            here = before
        owner[columns] = rows
    return [(int(owner[column]), column) for column in range(columns) if owner[column] != rows]


def _area(boxes: Costs) -> Costs:
    area: Costs = np.prod(np.maximum(boxes[..., 2:] - boxes[..., :2], 0), axis=-1)
    return area


LookAt = Callable[[Sequence[Box]], Looks]
SURE = 0.5
"""The score from which a thing counts that was found in a single key frame."""
_PATIENCE_S = 2.0  # as long as people pass behind a car
_NEAR = -0.55  # the least closeness of a box to where its track should be: about three widths beside it
_LOOKS = 1.0  # how much it costs to look different, where being at another place costs 1 and more
_REACH = 2.0  # the most that place and look may cost together
_WEAK_REACH = 1.2  # likewise for a track that does not count yet, lest two mistakes make one that does
_HIDDEN = 0.6  # how unlike itself a thing is where something else is before it
_ANYWHERE = 3.0  # more than any distance costs: what was read exactly is the same thing wherever it is
_SAME = 0.7  # overlap from which a second box of a label is the same thing again


@dataclass(slots=True)
class Tracker:
    """Joins what is found at key frames `every_s` seconds apart.

    A track may go unseen for two seconds, or for one key frame where they are further apart. It counts if it was seen
    twice, or once by a score of `SURE` or none; everything counts where there is a `single` key frame.

    `renumbered` are numbers of tracks that turned out to be an older track, each with the number of that one.
    """

    every_s: float
    single: bool = False
    active: list[Trail] = field(default_factory=list)
    ended: list[Trail] = field(default_factory=list)
    dropped: int = 0
    renumbered: list[tuple[int, int]] = field(default_factory=list)
    _keys: int = 0
    _ids: int = 0

    @property
    def patience(self) -> int:
        """The number of key frames that a track may be missing in."""
        return max(1, min(8, round(_PATIENCE_S / max(self.every_s, 1e-3))))

    def step(
        self, time: float, found: Sequence[Detection], look_at: LookAt, followed: Sequence[Path | None] = ()
    ) -> None:
        """Take what was found at the next key frame, where `look_at` tells what boxes look like.

        `followed` are the paths of the active tracks since the last one, in their order; None where they were lost
        from sight.
        """
        for trail, path in zip_longest(self.active, followed):
            trail.ahead = [*trail.ahead, *path] if path and trail.ahead is not None else None
        looks = look_at([one.bbox for one in found])
        labels = dict.fromkeys([*(one.label for one in found), *(trail.label for trail in self.active)])
        for label in labels:
            these = [at for at, one in enumerate(found) if one.label == label]
            self._join(time, label, [found[at] for at in these], looks[these])
        self._lose(look_at)
        over = [trail for trail in self.active if trail.missed > self.patience]
        believed = [trail for trail in over if self.counts(trail)]
        self.ended += believed
        self.dropped += len(over) - len(believed)
        self.active = [trail for trail in self.active if trail.missed <= self.patience]
        self._keys += 1

    def settle(self, key: int) -> None:
        """Number the tracks that began at the key frame `key` or before, in order of appearance."""
        born = [one for one in self.trails() if one.born <= key and one.id is None]
        for trail in sorted(born, key=lambda one: one.born):  # stable: in the backend's order
            self._ids += 1
            trail.id = self._ids

    def trails(self) -> list[Trail]:
        """List the tracks that count, so far."""
        return [*self.ended, *(trail for trail in self.active if self.counts(trail))]

    def counts(self, trail: Trail) -> bool:
        """Tell whether a track is believed."""
        score = trail.sightings[0].found.score
        return self.single or len(trail.sightings) > 1 or score is None or score >= SURE

    def _lose(self, look_at: LookAt) -> None:
        """Lose sight of what was not found, and does not look any more like it did where it should be."""
        missing = [trail for trail in self.active if trail.missed and trail.ahead]
        boxes = [trail.ahead[-1][1] for trail in missing if trail.ahead]
        for trail, look in zip(missing, look_at(boxes), strict=True):
            if unlikeness(trail.look[None], look[None])[0, 0] > _HIDDEN:
                trail.ahead = None

    def _join(self, time: float, label: str, found: Sequence[Detection], looks: Looks) -> None:
        """Give what was found of a label to its tracks; what is left begins tracks of its own."""
        known = self._recognize(time, label, found, looks)
        trails = [one for one in self.active if one.label == label and one.sightings[-1].time < time]
        rest = [column for column in range(len(found)) if column not in known]
        held = [(found[column].bbox, identity(found[column])) for column in known]
        for trail, column in self._pairs(time, trails, rest, found, looks):
            trail.extend(time, found[column], looks[column])
            held.append((found[column].bbox, trail.content))
            rest.remove(column)
        for trail in trails:
            trail.missed += trail.sightings[-1].time < time
        for column in rest:
            one, content = found[column], identity(found[column])
            if all(iou(one.bbox, box) < _SAME or _differ(content, other) for box, other in held):
                held.append((one.bbox, content))
                motion, sightings, points = Motion.at(time, one.bbox), [Sighting(time, one)], [(time, one.bbox)]
                self.active.append(
                    Trail(one.label, motion, self._keys, sightings, points, looks[column], content=content)
                )

    def _recognize(self, time: float, label: str, found: Sequence[Detection], looks: Looks) -> set[int]:
        """Give contents that were seen before to their tracks, wherever they are now; tell which were given."""
        contents = [identity(one) for one in found]
        given: set[int] = set()
        for content in dict.fromkeys(one for one in contents if one is not None):
            trails = [one for one in (*self.active, *self.ended) if (one.label, one.content) == (label, content)]
            columns = [column for column, one in enumerate(contents) if one == content]
            places = [trail.expected(time) if trail in self.active else trail.points[-1][1] for trail in trails]
            costs = 1 - closeness(places, [found[column].bbox for column in columns])
            for row, place in assign(costs, _ANYWHERE):
                column = columns[place]
                self._continue(trails[row], time, found[column], looks[column])
                given.add(column)
        return given

    def _continue(self, trail: Trail, time: float, found: Detection, look: Looks) -> None:
        """Lead a track on to where its content was read again."""
        ended = trail not in self.active
        if ended:
            self.ended.remove(trail)
            self.active.append(trail)
        same = self._unread(trail, time, found, look)
        if same:
            if trail.id and same.id:
                self.renumbered.append((same.id, trail.id))
            self.active.remove(same)
            trail.take_over(same, returned=ended)
        if ended and not same:
            trail.come_back(time, found, look)
        else:
            trail.extend(time, found, look)

    def _unread(self, trail: Trail, time: float, found: Detection, look: Looks) -> Trail | None:
        """Find the same thing as a track of its own: begun since, not read yet, and leading to the same box."""
        last = trail.sightings[-1].time
        begun = [one for one in self.active if one.label == trail.label and one.sightings[0].time > last]
        begun = [one for one in begun if one.content is None]
        pairs = assign(_costs(time, begun, [found], look[None]), _WEAK_REACH)
        return begun[pairs[0][0]] if pairs else None

    def _pairs(
        self, time: float, trails: Sequence[Trail], columns: Sequence[int], found: Sequence[Detection], looks: Looks
    ) -> list[tuple[Trail, int]]:
        """Pair tracks with what was found, by place and look."""
        pairs: list[tuple[Trail, int]] = []
        for sure in (True, False):  # what was seen once may be a mistake, and takes nothing from what was seen often
            rows = [trail for trail in trails if (len(trail.sightings) > 1) is sure]
            left = [column for column in columns if column not in {taken for _, taken in pairs}]
            costs = _costs(time, rows, [found[column] for column in left], looks[left])
            weak = np.array([not self.counts(trail) for trail in rows], dtype=bool).reshape(-1, 1)
            costs = np.where(weak & (costs > _WEAK_REACH), np.inf, costs)
            pairs += [(rows[row], left[column]) for row, column in assign(costs, _REACH)]
        return pairs


def _costs(time: float, trails: Sequence[Trail], found: Sequence[Detection], looks: Looks) -> Costs:
    """Tell how badly each track fits each box; infinitely where they are far apart or their contents differ."""
    close = closeness([trail.expected(time) for trail in trails], [one.bbox for one in found])
    known = np.array([trail.look for trail in trails]).reshape(len(trails), looks.shape[1])
    contents = [identity(one) for one in found]
    others = np.array([[_differ(trail.content, one) for one in contents] for trail in trails], dtype=bool)
    costs = np.where(close >= _NEAR, 1 - close + _LOOKS * unlikeness(known, looks), np.inf)
    return np.where(others.reshape(costs.shape), np.inf, costs)


def _differ(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one != other
