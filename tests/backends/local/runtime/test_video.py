"""A film whose things real, tiny, random models find and follow: from the file to its masks."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("av")

from dinox_mcp.detector import Detector
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import Mask
from dinox_mcp.types.masks import decode
from tests.backends.local.pictures import picture
from tests.video.scenes import write_film

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("process", ["same", "own"])
async def test_masks_of_a_video(checkpoint: Callable[[str], Path], tmp_path: Path, process: str) -> None:
    import numpy as np

    large = picture(240, 180)
    frames = [np.asarray(large.crop((3 * n, 2 * n, 3 * n + 160, 2 * n + 120))) for n in range(8)]
    film = write_film(tmp_path / "film.mp4", frames, [n / 8 for n in range(8)])
    settings = Settings.load(
        backend="local",
        model=str(checkpoint("owlv2")),
        masks_model=str(checkpoint("sam2_video")),
        model_process=process,
    )
    async with Detector(settings) as detector:
        result = await detector.detect_video(
            str(film), ["dog"], min_score=0, max_objects=3, include=["masks"], folder=tmp_path, stem="film"
        )
    assert result.complete
    assert any(checkpoint("sam2_video").name in note for note in result.notes)
    lines = [json.loads(line) for line in (tmp_path / "film-frames.jsonl").read_text().splitlines()]
    assert len(lines) == 8
    masks = [Mask.model_validate(one["mask"]) for line in lines for one in line["objects"] if "mask" in one]
    assert masks
    assert {decode(mask).shape for mask in masks} == {(120, 160)}
