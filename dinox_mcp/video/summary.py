"""The result of a video: its tracks, their counts over time, and the notes of all key frames."""

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from dinox_mcp.detect.answers import Answer
from dinox_mcp.detect.options import labels_of
from dinox_mcp.types.boxes import Box, area, center, clip
from dinox_mcp.types.detection import Detection, DetectionRequest, certainty, count_labels
from dinox_mcp.types.video import (
    Calls,
    Direction,
    Moment,
    Peak,
    Track,
    TrackPath,
    VideoFiles,
    VideoInfo,
    VideoResult,
)
from dinox_mcp.video.key_frames import Job
from dinox_mcp.video.scan import Scan
from dinox_mcp.video.tracking import MIN_SINGLE_SCORE, Tracker, TrackHistory

_STAYS = 0.5  # in sizes of the box: a shorter way is no movement
# Clockwise, an eighth of a turn apart.
_DIRECTIONS: Sequence[Direction] = (
    "right", "down and right", "down", "down and left", "left", "up and left", "up", "up and right",
)  # fmt: skip


@dataclass(slots=True)
class Answers:
    """What the backend answered so far: the number of calls, the notes, and the model and backend that answered last.

    Attributes:
        calls_each: How many calls each key frame takes that is not in the cache.
        times: When the answered key frames are shown, in seconds.
        made: How many calls were made.
        cached: How many key frames were answered from the cache.
        found: Whether anything was found.
        unsearched: Prompts that were searched for in no key frame.
        unknown: Those of them that no backend knows.
    """

    calls_each: int
    times: list[float] = field(default_factory=list)
    made: int = 0
    cached: int = 0
    model: str = ""
    backend: str = ""
    found: bool = False
    unsearched: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    _notes: dict[str, None] = field(default_factory=dict)
    _key_frame_notes: Counter[str] = field(default_factory=Counter)

    def add(self, time: float, answer: Answer) -> None:
        """Add the answer for the key frame at a time."""
        first, found = not self.times, answer.found
        self.times.append(time)
        self.made += 0 if answer.cached else self.calls_each
        self.cached += answer.cached
        self.model = found.model
        self.backend = answer.backend
        self.found = self.found or bool(found.objects)
        self.unsearched = tuple(one for one in found.unsearched if first or one in self.unsearched)
        self.unknown = tuple(one for one in found.unknown if first or one in self.unknown)
        self._key_frame_notes.update(set(found.notes))

    def note(self, text: str) -> None:
        """Add a note about the video; the same note is kept once."""
        self._notes[text] = None

    def notes(self) -> list[str]:
        """List the backend's notes, with the number of key frames each is about unless it is all, then the others."""
        total = len(self.times)
        of_key_frames = (
            note if number == total else f"in {number} of {total} key frames: {note}"
            for note, number in self._key_frame_notes.items()
        )
        return [*of_key_frames, *self._notes]


def video_result(
    job: Job,
    tracker: Tracker,
    answers: Answers,
    request: DetectionRequest,
    *,
    result_id: str,
    backend: str,
    complete: bool,
    files: VideoFiles,
) -> VideoResult:
    """Make the result of a video, or of its part that was answered before the call was stopped.

    `request` has the model and thresholds filled in, and `backend` is named where there is no answer.
    """
    found, tracks = job.scan, tracker.confirmed()
    until = found.times[-1] if complete or not answers.times else answers.times[-1]
    times = [time for time in found.times if time <= until]
    described = describe_tracks(tracks, times, found.size)
    searched = [label for label in labels_of(request) if label not in answers.unsearched]
    counts = count_labels((Detection(label=one.label, bbox=one.path.start) for one in described), searched)
    moments = timeline(tracks, answers.times, list(counts))
    return VideoResult(
        result_id=result_id,
        backend=answers.backend or backend,
        model=answers.model,
        video=_info(job.video.name, found),
        request=request,
        every_s=round(job.every_s, 3),
        tracks=described,
        counts=counts,
        peaks=peaks(moments, list(counts)),
        timeline=tuple(moments),
        calls=Calls(planned=job.planned_calls, made=answers.made, memory=answers.cached),
        complete=complete,
        files=files,
        notes=(*found.notes, *answers.notes(), *_tracker_notes(tracker)),
    )


def describe_tracks(tracks: Sequence[TrackHistory], times: Sequence[float], size: tuple[int, int]) -> tuple[Track, ...]:
    """Describe the numbered tracks in their order, in a video of (width, height) `size` with frames at `times`."""
    return tuple(
        _describe(track, track.id, times, size)
        for track in sorted(tracks, key=lambda one: one.id or 0)
        if track.id is not None
    )


def timeline(tracks: Sequence[TrackHistory], key_times: Sequence[float], labels: Sequence[str]) -> list[Moment]:
    """Count the numbered tracks of each label at each key frame."""
    moments = []
    visits = [(one.label, one.visits()) for one in tracks if one.id is not None]
    for time in key_times:
        counts = Counter(label for label, times in visits if any(start <= time <= end for start, end in times))
        moments.append(Moment(time_s=round(time, 3), counts={label: counts[label] for label in labels}))
    return moments


def peaks(moments: Sequence[Moment], labels: Sequence[str]) -> dict[str, Peak]:
    """Find the highest count of each label, and when it was reached first."""
    found = {}
    for label in labels if moments else ():
        best = max(moments, key=lambda moment: moment.counts.get(label, 0))
        found[label] = Peak(count=best.counts.get(label, 0), time_s=best.time_s)
    return found


def direction(path: Sequence[Box]) -> Direction:
    """Name the direction from the first box to the last; a way of less than half their size stays."""
    (x1, y1), (x2, y2) = center(path[0]), center(path[-1])
    across, down = x2 - x1, y2 - y1
    size = sum(math.sqrt(max(1.0, area(box))) for box in path) / len(path)
    if math.hypot(across, down) < _STAYS * size:
        farthest = max(math.dist(center(box), (x1, y1)) for box in path)
        return "stays" if farthest < 2 * _STAYS * size else "there and back"
    return _DIRECTIONS[round(math.atan2(down, across) / math.radians(45)) % 8]


def _describe(track: TrackHistory, number: int, times: Sequence[float], size: tuple[int, int]) -> Track:
    boxes = [clip(one.detection.bbox, *size) for one in track.detections]
    best_first = sorted((one.detection for one in track.detections), key=certainty, reverse=True)
    mean = tuple(sum(edges) / len(boxes) for edges in zip(*boxes, strict=True))
    visits = track.visits()
    return Track(
        id=number,
        label=track.label,
        score=best_first[0].score,
        first_s=round(track.detections[0].time, 3),
        last_s=round(track.detections[-1].time, 3),
        seen=len(boxes),
        frames=sum(bisect_right(times, last + 1e-6) - bisect_left(times, first - 1e-6) for first, last in visits),
        path=TrackPath(
            start=_rounded(boxes[0]), end=_rounded(boxes[-1]), mean=_rounded(mean), direction=direction(boxes)
        ),
        caption=next((one.caption for one in best_first if one.caption), None),
        category=next((one.category for one in best_first if one.category), None),
        text=track.content or next((one.text for one in best_first if one.text), None),
    )


def _info(name: str, found: Scan) -> VideoInfo:
    return VideoInfo(
        source=name,
        width=found.size[0],
        height=found.size[1],
        duration_s=round(found.duration_s, 3),
        fps=round(found.fps, 3),
        frames=len(found.times),
        rotation=found.orientation.rotation,
        mirrored=found.orientation.mirrored,
    )


def _tracker_notes(tracker: Tracker) -> list[str]:
    notes = [
        f"{number} turned out to be {older} when its code was read; some frames in the files say {number}"
        for number, older in tracker.renumbered
    ]
    if tracker.dropped:
        few = f"{tracker.dropped} detections below a score of {MIN_SINGLE_SCORE} in a single key frame"
        notes.append(f"{few} were taken for mistakes")
    return notes


def _rounded(box: Sequence[float]) -> Box:
    x1, y1, x2, y2 = (round(edge, 1) for edge in box)
    return x1, y1, x2, y2
