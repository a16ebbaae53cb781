"""Reading films in tests, and films as recorders and telephones make them."""

from collections.abc import Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from dinox_mcp.settings import Settings
from dinox_mcp.video.frames import Frame, Reader
from dinox_mcp.video.scan import Limits, Scan, scan
from dinox_mcp.video.source import open_video
from tests.video.scenes import Pixels

LIMITS = Limits(max_s=600, max_frames=10_000)
FPS = 10


def read(path: Path | str, limits: Limits = LIMITS, settings: Settings | None = None) -> tuple[Scan, list[Frame]]:
    with open_video(str(path), settings or Settings()) as video:
        found = scan(video, limits)
        with closing(Reader(video, found)) as reader:
            return found, list(reader.until(found.times[-1]))


def matrix(linear: tuple[int, int, int, int]) -> tuple[int, ...]:
    """Make a display matrix by which (x, y) is shown at (ax + cy, bx + dy)."""
    a, b, c, d = (one << 16 for one in linear)
    return a, b, 0, c, d, 0, 0, 0, 1 << 30


def turned(path: Path, matrix: tuple[int, ...]) -> Path:
    """Write a display matrix into the header of an MP4 file, as telephones do."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = b"".join((value & 0xFFFFFFFF).to_bytes(4) for value in matrix)
    path.write_bytes(data)
    return path


def record(
    path: Path,
    frames: Sequence[Pixels],
    start_s: float = 0.0,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    fps: int = FPS,
) -> Path:
    """Record frames with a clock that begins at `start_s`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = round(start_s * fps) + number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def grays(number: int, first: int = 0, size: tuple[int, int] = (64, 48)) -> list[Pixels]:
    """Make plain frames, each a little lighter than the one before."""
    return [np.full((size[1], size[0], 3), 20 + 4 * (first + at), np.uint8) for at in range(number)]


def joined(path: Path, *parts: Path) -> Path:
    """Join files end to end, as `cat` does."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path
