"""A call, from the file to the result and its files."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import anyio
import av
import numpy as np
import pytest

from dinox_mcp.backends.base import Call
from dinox_mcp.errors import QuotaError
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.boxes import iou
from dinox_mcp.types.detection import DetectionRequest, Detections
from dinox_mcp.types.video import VideoResult
from tests.video.conftest import Films, Finder
from tests.video.reading import joined, matrix, record, turned
from tests.video.scenes import Scene, Thing, Witness, line

pytestmark = pytest.mark.anyio
PROMPTS = ["car", "person"]
# ruff: noqa: ASYNC240 - a test may wait for its disk


def frames(result: VideoResult) -> list[dict[str, Any]]:
    assert result.files.frames is not None
    return [json.loads(text) for text in Path(result.files.frames).read_text().splitlines()]


def film_of(result: VideoResult) -> list[av.VideoFrame]:
    assert result.files.video is not None
    with av.open(result.files.video) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        return list(container.decode(stream))


@pytest.mark.slow
async def test_things_that_cross_are_counted_once_each_and_keep_their_numbers(
    scene: Scene, film: Path, finder: Finder, tmp_path: Path
) -> None:
    witness = Witness(scene, jitter=0.03, misses=0.08, ghosts=0.2)
    result = await finder(witness).detect(str(film), PROMPTS, folder=tmp_path)
    assert result.counts == {"car": 2, "person": 2}
    owners: dict[int, set[int]] = {}
    for frame in frames(result):
        truth = [thing.box(frame["time_s"]) for thing in scene.things]
        for found in frame["objects"]:
            overlaps = [iou(found["bbox"], box) if box else 0 for box in truth]
            if max(overlaps) > 0.5 and sorted(overlaps)[-2] < 0.2:
                owners.setdefault(found["id"], set()).add(int(np.argmax(overlaps)))
    assert sorted(map(len, owners.values())) == [1, 1, 1, 1]
    assert len(set.union(*owners.values())) == 4


@pytest.mark.slow
async def test_the_result_says_where_each_object_goes_and_when(scene: Scene, film: Path, finder: Finder) -> None:
    result = await finder(Witness(scene)).detect(str(film), [*PROMPTS, "dog"], save=False)
    assert [(track.id, track.label, track.path.direction) for track in result.tracks] == [
        (track.id, track.label, "right" if track.path.start[0] < 150 else "left") for track in result.tracks
    ]
    assert {(track.first_s, track.last_s) for track in result.tracks} == {(0.0, 3.9)}
    assert result.counts == {"car": 2, "person": 2, "dog": 0}
    assert (result.peaks["car"].count, result.peaks["dog"].count) == (2, 0)
    assert result.timeline[0].counts == {"car": 2, "person": 2, "dog": 0}
    assert (result.video.width, result.video.height, result.video.frames) == (320, 180, 40)
    assert (result.video.duration_s, result.video.fps) == (4.0, 10.0)
    assert result.complete
    assert result.files.video is None


@pytest.mark.slow
async def test_the_annotated_video_has_every_frame_at_its_time_and_the_objects_of_each(
    film: Path, scene: Scene, finder: Finder, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    video = finder(Witness(scene))
    # With so many key frames, the first frames are written before the last key frame is searched.
    result = await video.detect(str(film), PROMPTS, folder=folder, stem="answer", every_s=0.2, end_s=1.9)
    shown, listed = film_of(result), frames(result)
    assert len(shown) == len(listed) == 20
    assert [frame.time for frame in shown] == pytest.approx([line["time_s"] for line in listed], abs=1e-3)
    assert (listed[0]["key"], listed[1]["key"]) == (True, False)
    assert {path.name for path in folder.iterdir()} == {
        "answer-annotated.mp4",
        "answer-frames.jsonl",
        "answer-sheet.jpg",
        "answer-tracks.json",
    }
    assert VideoResult.model_validate_json((folder / "answer-tracks.json").read_text()) == result
    middle = shown[10].to_ndarray(format="rgb24").astype(int)
    assert np.abs(middle - scene.draw(1.0)).max() > 100, "something is drawn on it"
    data = Path(result.files.video or "").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "a browser can start before all of it has arrived"


@pytest.mark.slow
async def test_between_key_frames_boxes_follow_what_moves(finder: Finder, tmp_path: Path) -> None:
    scene = Scene(
        [Thing("ball", lambda time: (40 + 60 * time, 90 + 35 * math.sin(4 * time)), (30, 30))],
        size=(200, 180),
        seconds=2,
    )
    film = scene.film(tmp_path / "film.mp4")
    result = await finder(Witness(scene)).detect(str(film), ["ball"], folder=tmp_path, every_s=1.0)
    overlaps = [
        iou(found["bbox"], scene.things[0].box(frame["time_s"]) or (0, 0, 0, 0))
        for frame in frames(result)
        for found in frame["objects"]
    ]
    assert len(overlaps) == 50
    assert min(overlaps) > 0.6, "straight lines would miss it by half a ball"


@pytest.mark.slow
async def test_calls_are_planned_reported_and_counted(film: Path, scene: Scene, finder: Finder) -> None:
    reports: list[tuple[float, str]] = []

    async def progress(part: float, message: str) -> None:
        reports.append((part, message))

    witness = Witness(scene)
    video = finder(witness)
    result = await video.detect(str(film), PROMPTS, save=False, max_calls=5, end_s=1, every_s=0.2, progress=progress)
    assert (result.calls.planned, result.calls.made, result.calls.memory) == (5, 5, 0)
    assert len(witness.asked) == 5
    assert witness.asked[0] == 0
    assert witness.asked[-1] == pytest.approx(1.0)
    assert "at most 5 calls to the backend witness" in reports[0][1]
    assert any("key frame 5 of 5 at 0:01.0" in message for _, message in reports)
    assert [part for part, _ in reports] == sorted(part for part, _ in reports)
    again = await video.detect(str(film), PROMPTS, save=False, max_calls=5, end_s=1, every_s=0.2)
    assert (again.calls.made, again.calls.memory) == (0, 5)
    assert again.tracks == result.tracks


async def test_the_text_of_a_track_is_that_of_its_best_detection(film: Path, scene: Scene, finder: Finder) -> None:
    result = await finder(Witness(scene)).detect(str(film), PROMPTS, save=False, include=["text"], end_s=1)
    assert [track.text for track in result.tracks] == [f"{track.label} {track.score:.3f}" for track in result.tracks]


@pytest.mark.slow
async def test_a_video_on_its_side_is_answered_upright(finder: Finder, tmp_path: Path) -> None:
    scene = Scene([Thing("car", line(40, 150, 40), (50, 30))], size=(180, 320), seconds=1)
    lying = [np.ascontiguousarray(np.rot90(scene.draw(number / 10))) for number in range(10)]
    path = turned(record(tmp_path / "film.mp4", lying), (0, 1 << 16, 0, -(1 << 16), 0, 0, 180 << 16, 0, 1 << 30))
    result = await finder(Witness(scene)).detect(str(path), ["car"], folder=tmp_path / "out")
    assert (result.video.width, result.video.height, result.video.rotation) == (180, 320, 90)
    assert result.tracks[0].path.direction == "right"
    shown = film_of(result)
    assert (shown[0].width, shown[0].height, shown[0].rotation) == (180, 320, 0)


async def test_boxes_and_the_annotated_video_are_mirrored_alike(finder: Finder, tmp_path: Path) -> None:
    scene = Scene([Thing("car", line(60, 100, 60), (60, 40))], size=(320, 200), seconds=1)
    mirrored = [np.ascontiguousarray(scene.draw(number / 10)[:, ::-1]) for number in range(10)]
    film = turned(record(tmp_path / "film.mp4", mirrored), matrix((-1, 0, 0, 1)))
    result = await finder(Witness(scene)).detect(str(film), ["car"], folder=tmp_path / "out")
    assert (result.video.rotation, result.video.mirrored) == (0, True)
    assert result.tracks[0].path.start == pytest.approx((30, 80, 90, 120))
    shown = film_of(result)[0].to_ndarray(format="rgb24").astype(int)
    assert np.abs(shown[10:60] - scene.draw(0.0)[10:60]).mean() < 25, "the background as the player shows it"


@pytest.mark.slow
@pytest.mark.parametrize("size", [(640, 360), (180, 320)])
async def test_boxes_are_mapped_after_the_size_changes(size: tuple[int, int], finder: Finder, tmp_path: Path) -> None:
    small = Scene([Thing("car", line(160, 90, 0), (60, 40))], size=(320, 180), seconds=1)
    other = Scene([Thing("car", line(size[0] / 2, size[1] / 2, 0), (60, 40))], size=size, seconds=1)
    parts = [
        record(tmp_path / "a.ts", [small.draw(0)] * 10),
        record(tmp_path / "b.ts", [other.draw(0)] * 10, start_s=1),
    ]
    witness = Witness(other)
    result = await finder(witness).detect(str(joined(tmp_path / "film.ts", *parts)), ["car"], folder=tmp_path / "out")
    assert (witness.pictures[0].width, witness.pictures[0].height) == size, "the backend gets frames of their own size"
    width, height = 60 * min(320 / size[0], 180 / size[1]), 40 * min(320 / size[0], 180 / size[1])
    expected = (160 - width / 2, 90 - height / 2, 160 + width / 2, 90 + height / 2)
    assert result.tracks[-1].path.end == pytest.approx(expected, abs=1)
    assert f"the size of the frames changes on the way (320x180, {size[0]}x{size[1]})" in " ".join(result.notes)
    assert (result.video.width, result.video.height, result.video.frames) == (320, 180, 20)


async def test_odd_sizes_and_single_frames_are_answered_too(finder: Finder, tmp_path: Path) -> None:
    scene = Scene([Thing("car", line(100, 60, 0), (60, 40))], size=(201, 121), seconds=0.1)
    film = scene.film(tmp_path / "film.gif", codec="gif", times=[0.0])
    result = await finder(Witness(scene)).detect(str(film), ["car"], folder=tmp_path)
    assert (result.counts, result.calls.made, len(film_of(result))) == ({"car": 1}, 1, 1)


@pytest.mark.slow
async def test_an_error_of_the_backend_keeps_what_is_done(
    film: Path, scene: Scene, finder: Finder, tmp_path: Path
) -> None:
    broke = Witness(scene, error=QuotaError("no credit left"), fail_after=6)
    result = await finder(broke).detect(str(film), PROMPTS, folder=tmp_path, end_s=3)
    assert not result.complete
    assert result.calls.made == 6
    assert "no credit left" in " ".join(result.notes)
    assert result.counts == {"car": 2, "person": 2}
    assert 0 < len(film_of(result)) == len(frames(result)) < 31


async def test_an_error_of_the_backend_at_once_leaves_the_files_of_an_earlier_call(
    short_film: Path, short_scene: Scene, finder: Finder, tmp_path: Path
) -> None:
    earlier = tmp_path / "film-frames.jsonl"
    earlier.write_text("earlier")
    broke = Witness(short_scene, error=QuotaError("no credit left"), fail_after=0)
    with pytest.raises(QuotaError, match="no credit left"):
        await finder(broke).detect(str(short_film), PROMPTS, folder=tmp_path, stem="film")
    assert earlier.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [earlier]


@pytest.mark.slow
async def test_a_cancelled_call_leaves_complete_files_and_the_result_so_far(
    film: Path, scene: Scene, finder: Finder, tmp_path: Path
) -> None:
    results: list[VideoResult] = []
    with anyio.CancelScope() as scope:

        async def progress(_part: float, message: str) -> None:
            if "key frame 8" in message:
                scope.cancel()
            await anyio.lowlevel.checkpoint()

        await finder(Witness(scene)).detect(
            str(film), PROMPTS, folder=tmp_path, stem="part", progress=progress, stopped=results.append
        )
    (result,) = results
    assert scope.cancelled_caught
    assert not result.complete
    assert "stopped after key frame 7 of 9" in result.notes[-1]
    assert 0 < len(film_of(result)) == len(frames(result)) < 40
    assert result.counts == {"car": 2, "person": 2}
    assert not list(tmp_path.glob("*.part*"))


@pytest.mark.slow
async def test_the_surest_are_followed_where_there_are_too_many(film: Path, scene: Scene, finder: Finder) -> None:
    result = await finder(Witness(scene)).detect(str(film), PROMPTS, save=False, max_objects=2, end_s=1)
    assert "of a key frame, only the 2 surest objects were followed" in " ".join(result.notes)
    assert max(sum(moment.counts.values()) for moment in result.timeline) <= 4


@pytest.mark.slow
async def test_mistakes_that_were_left_out_are_noted(film: Path, scene: Scene, finder: Finder) -> None:
    result = await finder(Witness(scene, ghosts=1.0)).detect(str(film), PROMPTS, save=False, every_s=1.0, end_s=3)
    assert "below a score of 0.5 in a single key frame were taken for mistakes" in " ".join(result.notes)


async def test_packets_lost_at_the_end_cost_only_the_end(
    film: Path, scene: Scene, finder: Finder, tmp_path: Path
) -> None:
    path = Path(shutil.copy(film, tmp_path))
    with av.open(str(path)) as container:
        lost = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size][24:]
    data = bytearray(path.read_bytes())
    for start, size in lost:
        data[start : start + size] = bytes(size)
    path.write_bytes(data)
    result = await finder(Witness(scene)).detect(str(path), PROMPTS, folder=tmp_path / "out")
    assert result.counts["car"] == 2
    assert "cannot be decoded" in " ".join(result.notes)
    assert 20 <= len(film_of(result)) == len(frames(result)) <= 25


async def test_the_end_of_a_damaged_video_is_noted(films: Films, finder: Finder, tmp_path: Path) -> None:
    path = Path(shutil.copy(films(".mkv", g="5"), tmp_path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    scene = Scene([Thing("car", line(40, 50, 30), (40, 30))], size=(160, 100))
    result = await finder(Witness(scene)).detect(str(path), PROMPTS, folder=tmp_path / "out")
    assert "the file ends early" in " ".join(result.notes)
    assert result.counts["car"] == 1
    assert len(film_of(result)) == len(frames(result)) <= result.video.frames


class Reader(Witness):
    """Knows a prompt only where it stands in the image as text, which is so in the first key frame only."""

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        found = await super().detect(image, request, call)
        words = ("SALE", "forklift") if len(self.asked) > 1 else ("forklift",)
        return found.model_copy(update={"unsearched": words, "unknown": words})


async def test_unknown_prompts_are_named_once_and_those_found_in_one_key_frame_are_not(
    scene: Scene, film: Path, finder: Finder
) -> None:
    result = await finder(Reader(scene)).detect(str(film), ["SALE", "forklift"], save=False, end_s=1)
    assert result.complete
    assert "forklift" not in result.counts
    assert result.counts["SALE"] == 0
    assert [note for note in result.notes if "cannot find" in note and "'forklift'" in note and "SALE" not in note]
