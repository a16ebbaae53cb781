"""Key frames, one after the other, each with the small grey frames that lead to it from the one before."""

from types import TracebackType
from typing import NamedTuple, Self

from PIL import Image

from dinox_mcp.drawing.encode import encode_jpeg
from dinox_mcp.images.picture import Picture
from dinox_mcp.video import flow
from dinox_mcp.video.frames import Fit, Pixels, Reader
from dinox_mcp.video.job import Job, pause

_QUALITY = 90
_TOO_SOON = 1e-3


class KeyFrame(NamedTuple):
    """A frame to ask about, and the grey frames that lead to it from the one before, that one too.

    `picture` is of the frame's own size, and `fit` says where that lies in the video; `image` is of the video's size.
    """

    time: float
    picture: Picture
    fit: Fit
    image: Image.Image
    times: list[float]
    grays: list[Pixels]


class KeyFrames:
    """Decodes the key frames of a job, from the first on. Blocks."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._reader = Reader(job.video, job.scan)
        self._number = 0
        self._times: list[float] = []
        self._grays: list[Pixels] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._reader.close()

    @property
    def damaged(self) -> int:
        """How many parts of the file could not be decoded so far."""
        return self._reader.damaged

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """The sizes of the frames so far, in order."""
        return list(self._reader.sizes)

    def next(self) -> KeyFrame | None:
        """Decode on to the next key frame; None after the last, or where the video ends before it."""
        keys, number = self._job.plan.keys, self._number
        if number == len(keys):
            return None
        time = self._job.scan.times[keys[number]]
        between = keys[number] - keys[number - 1] if number else 1
        stride = max(1, -(-between // flow.MOST), round(self._job.scan.fps / flow.RATE))
        small = flow.gray_size(self._job.scan.size)
        times, grays, frame = self._times, self._grays, None
        for frame in self._reader.until(time, pause):
            is_key = frame.time >= time - _TOO_SOON
            if is_key or (number and frame.number % stride == 0):
                times.append(frame.time)
                grays.append(frame.gray(small))
        if frame is None or frame.time < time - _TOO_SOON:
            return None
        self._times, self._grays = times[-1:], grays[-1:]
        self._number += 1
        size = self._job.scan.size
        image = Image.fromarray(frame.rgb(size))
        own = image if frame.own == size else Image.fromarray(frame.rgb(frame.own))
        source = f"{self._job.video.name}#t={frame.time:.3f}"  # a media fragment, as in the W3C's recommendation
        picture = Picture.from_bytes(encode_jpeg(own, _QUALITY), source)
        return KeyFrame(frame.time, picture, Fit.of(frame.own, size), image, times, grays)
