"""Annotated videos as files."""

from pathlib import Path

import av
import numpy as np
import pytest

from dinox_mcp.errors import UnsupportedError
from dinox_mcp.video import output
from dinox_mcp.video.output import Encoder


def write(path: Path, height: int, width: int) -> list[av.VideoFrame]:
    frame = np.full((height, width, 3), (200, 40, 40), np.uint8)
    with Encoder(path, (width, height), 25) as encoder:
        for time in (0.0, 0.04, 0.04, 1.0):
            encoder.write(frame, time)
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


@pytest.mark.parametrize(("height", "width"), [(120, 200), (121, 201), (720, 1280)])
def test_frames_keep_their_colours_and_times(height: int, width: int, tmp_path: Path) -> None:
    frames = write(tmp_path / "film.mp4", height, width)
    assert [frame.time for frame in frames] == pytest.approx([0.0, 0.04, 0.04, 1.0], abs=1e-3)
    assert (frames[0].height % 2, frames[0].width % 2) == (0, 0)
    assert frames[0].colorspace == (1 if height >= 720 else 6)
    assert frames[2].to_ndarray(format="rgb24")[height // 2, width // 2] == pytest.approx((200, 40, 40), abs=6)


def test_the_first_encoder_that_works_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(output, "ENCODERS", ("libnothing", "h264_qsv", "libvpx-vp9"))  # no such thing, no such chip
    assert len(write(tmp_path / "film.mp4", 120, 200)) == 4


def test_where_none_works_that_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(output, "ENCODERS", ("libnothing",))
    with pytest.raises(UnsupportedError, match=r"no H\.264 encoder that works"):
        write(tmp_path / "film.mp4", 120, 200)
