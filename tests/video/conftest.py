"""What tests of videos share."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from dinox_mcp.detector import Detector
from dinox_mcp.settings import Settings
from dinox_mcp.video.detect import VideoDetector
from tests.video.scenes import Scene, Thing, Witness, line

Finder = Callable[[Witness], VideoDetector]


@pytest.fixture
def scene() -> Scene:
    """Two cars and two people; one of each pair crosses the other."""
    return Scene(
        [
            Thing("car", line(60, 250, 130), (90, 50)),
            Thing("car", line(580, 235, -130), (90, 50)),
            Thing("person", line(100, 90, 110), (40, 90)),
            Thing("person", line(540, 100, -110), (40, 90)),
        ],
        seconds=4,
    )


@pytest.fixture
def film(scene: Scene, tmp_path: Path) -> Path:
    return scene.film(tmp_path / "film.mp4")


@pytest.fixture
async def finder() -> AsyncIterator[Finder]:
    """Make a detector of videos that asks a witness, with settings of the test."""
    made: list[tuple[Detector, VideoDetector]] = []

    def make(witness: Witness, **settings: object) -> VideoDetector:
        detector = Detector(Settings(backend="witness", **settings), backends=[witness])  # type: ignore[arg-type]
        made.append((detector, VideoDetector(detector)))
        return made[-1][1]

    yield make
    for detector, video in made:
        video.close()
        await detector.aclose()
