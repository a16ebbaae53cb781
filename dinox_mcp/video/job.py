"""What is to be done: a video that is open, and the frames of it that are asked about."""

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from anyio import from_thread

from dinox_mcp import tiling
from dinox_mcp.errors import InputError
from dinox_mcp.settings import Settings
from dinox_mcp.video import sampling
from dinox_mcp.video.scan import Limits, Scan, scan
from dinox_mcp.video.source import VideoFile, open_video


@dataclass(frozen=True, slots=True)
class Job:
    """A video that is open, what it is, which frames are asked about, and how many calls each of them takes."""

    video: VideoFile
    scan: Scan
    plan: sampling.Plan
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
        return Job(video, found, sampling.plan(found.times, every_s, most // calls_each), calls_each)
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
