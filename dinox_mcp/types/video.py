"""Values about a video: tracks, counts over time, and times as people read them."""

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from dinox_mcp.types.detection import BBox, DetectionRequest, Score, Value

Seconds = Annotated[FiniteFloat, Field(ge=0)]
Direction = Literal[
    "stays", "there and back", "right", "left", "up", "down",
    "up and right", "up and left", "down and right", "down and left",
]  # fmt: skip


class VideoInfo(Value):
    """The part of a video that was searched, upright and in square pixels.

    `frames` are those shown from its first second to `duration_s`, `fps` their mean rate. `rotation` is by how many
    degrees clockwise the file says to turn its frames, and where `mirrored`, left and right change places before. Both
    was done.
    """

    source: str
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    duration_s: Seconds
    fps: Seconds
    frames: int = Field(ge=1)
    rotation: int = 0
    mirrored: bool = False


class TrackPath(Value):
    """Where a track begins and ends, its mean box, and its overall direction."""

    start: BBox
    end: BBox
    mean: BBox
    direction: Direction


class Track(Value):
    """One object over time; `id` is the number drawn on it, 1 to n in order of appearance.

    `seen` counts the key frames in which the backend found it, `frames` all frames that it is drawn in. `score` is its
    best. `text` is the content of a code or the id of a marker, where any key frame gave it. Caption, category and
    other text are each those of the surest key frame that has one.
    """

    id: int = Field(ge=1)
    label: str
    score: Score | None = None
    first_s: Seconds
    last_s: Seconds
    seen: int = Field(ge=1)
    frames: int = Field(ge=0)
    path: TrackPath
    caption: str | None = None
    category: str | None = None
    text: str | None = None


class Peak(Value):
    """The most objects of a label at one time, and the first time there were so many."""

    count: int = Field(ge=0)
    time_s: Seconds


class Moment(Value):
    """How many objects of each label there are at a key frame."""

    time_s: Seconds
    counts: dict[str, int]


class Calls(Value):
    """The calls to the backend, `planned` and `made`, and the key frames that came from the cache (`memory`)."""

    planned: int = Field(ge=0)
    made: int = Field(ge=0)
    memory: int = Field(ge=0)


class VideoFiles(Value):
    """Paths of the files that were written, or None.

    `video` is the annotated video (H.264 in MP4), `frames` the objects of each frame (JSON Lines), `sheet` the key
    frames in one image (JPEG), `answer` this result (JSON).
    """

    video: str | None = None
    frames: str | None = None
    sheet: str | None = None
    answer: str | None = None


class VideoResult(Value):
    """The result of one request for a video.

    `counts` counts tracks per label, and says 0 for each prompt that found nothing; `peaks` are the most at one time.
    Key frames are `every_s` seconds apart. `complete` is False where the call was stopped before the end.
    """

    result_id: str
    backend: str
    model: str
    video: VideoInfo
    request: DetectionRequest
    every_s: Seconds
    tracks: tuple[Track, ...]
    counts: dict[str, int]
    peaks: dict[str, Peak]
    timeline: tuple[Moment, ...]
    calls: Calls
    complete: bool = True
    files: VideoFiles = VideoFiles()
    notes: tuple[str, ...] = ()


def clock(time: float) -> str:
    """Write seconds as minutes and seconds: 62.5 is 1:02.5."""
    minutes, seconds = divmod(round(time, 1), 60)
    return f"{int(minutes)}:{seconds:04.1f}"
