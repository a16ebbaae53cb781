"""What is to be done with a video: its key frames, the frames that are asked about, and the answers so far."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import TracebackType
from typing import Self

from anyio import from_thread

from dinox_mcp.detect import tiling
from dinox_mcp.detect.pipeline import Answer
from dinox_mcp.errors import InputError
from dinox_mcp.settings import Settings
from dinox_mcp.types.video import Calls
from dinox_mcp.video.scan import Limits, Scan, scan
from dinox_mcp.video.source import VideoFile, open_video

EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """Key frames by their numbers, about `every_s` seconds apart."""

    keys: tuple[int, ...]
    every_s: float


def plan(times: Sequence[float], every_s: float, most: int) -> Plan:
    """Choose key frames among frames shown at increasing times, at most `most` of them, evenly in time.

    The first and the last frame are among them, as what is not between two key frames is not seen.

    Raises:
        InputError: `every_s` is not a positive number.
    """
    if not every_s > 0:
        raise InputError(f"every_s is {every_s}; choose the seconds from one key frame to the next, such as {EVERY_S}")
    span = times[-1] - times[0]
    steps = min(max(1, most - 1), max(1, -int(-span // every_s)))
    if most == 1 or len(times) == 1:
        return Plan((len(times) // 2,), max(span, every_s))
    ideal = [times[0] + span * step / steps for step in range(steps + 1)]
    keys = sorted({_nearest(times, time) for time in ideal})
    return Plan(tuple(keys), max(times[b] - times[a] for a, b in pairwise(keys)))


def _nearest(times: Sequence[float], time: float) -> int:
    after = min(bisect_left(times, time), len(times) - 1)
    return after - 1 if after and time - times[after - 1] < times[after] - time else after


@dataclass(frozen=True, slots=True)
class Job:
    """A video that is open, what it is, which frames are asked about, and how many calls each of them takes."""

    video: VideoFile
    scan: Scan
    plan: Plan
    calls_each: int

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.video.file.close()


def opened(
    source: str, settings: Settings, every_s: float, most: int, start_s: float, end_s: float | None, tiles: int
) -> Job:
    """Open a video, and plan what is asked of it. Blocks: call it in a thread.

    Raises:
        InputError: an argument or the video is wrong.
    """
    video = open_video(source, settings)
    try:
        found = scan(video, Limits(settings.video_max_s, settings.video_max_frames, start_s, end_s), pause)
        calls_each = _calls_each(found.size, tiles, most)
        return Job(video, found, plan(found.times, every_s, most // calls_each), calls_each)
    except BaseException:
        video.file.close()
        raise


def pause() -> None:
    """Stop a thread whose call was cancelled; called between frames."""
    from_thread.check_cancelled()


def _calls_each(size: tuple[int, int], tiles: int, most: int) -> int:
    calls = len(tiling.frames(*size, tiles)) + 1 if tiles > 1 else 1
    if calls > most:
        raise InputError(
            f"tiles is {tiles}, which takes {calls} calls for each key frame, more than the {most} allowed; "
            "choose fewer, or raise max_calls"
        )
    return calls


@dataclass(slots=True)
class Record:
    """Counts calls and collects notes. Each key frame takes `calls_each` calls, unless it is known from memory."""

    calls_each: int
    asked: list[float] = field(default_factory=list)
    model: str = ""
    backend: str = ""
    found: bool = False
    unsearched: tuple[str, ...] = ()
    """Prompts that were looked for in no key frame."""
    unknown: tuple[str, ...] = ()
    """Those of them that no backend knows."""
    _made: int = 0
    _remembered: int = 0
    _notes: dict[str, None] = field(default_factory=dict)
    _answered: Counter[str] = field(default_factory=Counter)

    def add(self, time: float, answer: Answer) -> None:
        """Record the answer about the key frame at a time."""
        first = not self.asked
        self.asked.append(time)
        self._made += 0 if answer.cached else self.calls_each
        self._remembered += answer.cached
        self.model = answer.found.model
        self.backend = answer.backend
        self.found = self.found or bool(answer.found.objects)
        found = answer.found
        self.unsearched = tuple(one for one in found.unsearched if first or one in self.unsearched)
        self.unknown = tuple(one for one in found.unknown if first or one in self.unknown)
        self._answered.update(set(answer.found.notes))

    def note(self, text: str) -> None:
        """Note something about the video as a whole."""
        if text:
            self._notes[text] = None

    def notes(self) -> list[str]:
        """List the backend's notes, each with the number of key frames that it is about unless it is all, then ours."""
        total = len(self.asked)
        answered = (
            note if times == total else f"in {times} of {total} key frames: {note}"
            for note, times in self._answered.items()
        )
        return [*answered, *self._notes]

    def calls(self, planned: int) -> Calls:
        """Count the calls that were made, of those `planned`."""
        return Calls(planned=planned, made=self._made, memory=self._remembered)
