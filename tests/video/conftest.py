"""Films and detectors that tests of videos share. Each film is made once in a session: copy it to change it."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from dinox_mcp.detect.pipeline import Pipeline
from dinox_mcp.detector import Detector
from dinox_mcp.settings import Settings
from dinox_mcp.video.detect import VideoDetector
from tests.video.scenes import Scene, Thing, Witness, line

Finder = Callable[..., VideoDetector]
Films = Callable[..., Path]


@pytest.fixture(scope="session")
def scene() -> Scene:
    """Two cars and two people; one of each pair crosses the other."""
    return Scene(
        [
            Thing("car", line(30, 125, 65), (46, 28)),
            Thing("car", line(290, 117, -65), (46, 28)),
            Thing("person", line(50, 45, 55), (24, 46)),
            Thing("person", line(270, 50, -55), (24, 46)),
        ],
        size=(320, 180),
        seconds=4,
    )


@pytest.fixture(scope="session")
def film(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scene in 40 frames, 10 a second."""
    return scene.film(tmp_path_factory.mktemp("film") / "film.mp4", fps=10)


@pytest.fixture(scope="session")
def short_scene() -> Scene:
    """A car, for what does not depend on what is in the video."""
    return Scene([Thing("car", line(60, 50, 30), (40, 30))], size=(160, 100), seconds=0.4)


@pytest.fixture(scope="session")
def short_film(short_scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The short scene in 4 frames, 10 a second."""
    return short_scene.film(tmp_path_factory.mktemp("short_film") / "film.mp4", fps=10)


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Films:
    """Film 20 frames of a moving car, 10 a second; `films(".mkv", "libx264", g="5")` sets an option of the codec."""
    folder = tmp_path_factory.mktemp("films")
    scene = Scene([Thing("car", line(40, 50, 30), (40, 30))], size=(160, 100), seconds=2)

    def film(suffix: str, codec: str = "libx264", **options: str) -> Path:
        path = folder / f"{codec}{options.get('g', '')}{suffix}"
        return path if path.exists() else scene.film(path, fps=10, codec=codec, options=options)

    return film


def video_detector(detector: Detector) -> VideoDetector:
    """Make a detector of videos that has the settings, backends and store of a detector of images."""
    pipeline = Pipeline(detector.settings, detector.backends, detector.store)
    return VideoDetector(detector.settings, detector.backends, pipeline)


@pytest.fixture
async def finder() -> AsyncIterator[Finder]:
    """Make a detector of videos that asks a witness, with settings of the test."""
    made: list[tuple[Detector, VideoDetector]] = []

    def make(witness: Witness, **settings: object) -> VideoDetector:
        detector = Detector(Settings(backend="witness", **settings), backends=[witness])  # type: ignore[arg-type]
        made.append((detector, video_detector(detector)))
        return made[-1][1]

    yield make
    for detector, video in made:
        video.close()
        await detector.aclose()
