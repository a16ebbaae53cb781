"""A question about a video, from the file to the answer and its files."""

import json
import math
from pathlib import Path

import anyio
import av
import numpy as np
import pytest

from dinox_mcp.backends.base import Call
from dinox_mcp.detector import Detector
from dinox_mcp.errors import InputError, QuotaError, SettingsError, UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.boxes import iou
from dinox_mcp.types.detection import DetectionRequest, Detections
from dinox_mcp.types.video import VideoResult
from dinox_mcp.video.detect import VideoDetector
from tests.video.conftest import Finder
from tests.video.scenes import Scene, Thing, Witness, line, write_film

pytestmark = pytest.mark.anyio
PROMPTS = ["car", "person"]
# ruff: noqa: ASYNC240 - a test may wait for its disk


def frames(result: VideoResult) -> list[dict[str, object]]:
    assert result.files.frames is not None
    return [json.loads(text) for text in Path(result.files.frames).read_text().splitlines()]


def film_of(result: VideoResult) -> list[av.VideoFrame]:
    assert result.files.video is not None
    with av.open(result.files.video) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        return list(container.decode(stream))


async def test_things_that_cross_are_counted_once_each_and_keep_their_numbers(
    scene: Scene, film: Path, finder: Finder, tmp_path: Path
) -> None:
    witness = Witness(scene, jitter=0.03, misses=0.08, ghosts=0.2)
    result = await finder(witness).detect(str(film), PROMPTS, folder=tmp_path)
    assert result.counts == {"car": 2, "person": 2}
    owners: dict[int, set[int]] = {}
    for frame in frames(result):
        truth = [thing.box(frame["time_s"]) for thing in scene.things]  # type: ignore[arg-type]
        for found in frame["objects"]:  # type: ignore[attr-defined]
            overlaps = [iou(found["bbox"], box) if box else 0 for box in truth]
            if max(overlaps) > 0.5 and sorted(overlaps)[-2] < 0.2:
                owners.setdefault(found["id"], set()).add(int(np.argmax(overlaps)))
    assert sorted(map(len, owners.values())) == [1, 1, 1, 1]
    assert len(set.union(*owners.values())) == 4


async def test_the_answer_says_where_each_thing_goes_and_when(scene: Scene, film: Path, finder: Finder) -> None:
    result = await finder(Witness(scene)).detect(str(film), [*PROMPTS, "dog"], save=False)
    assert [(track.id, track.label, track.path.direction) for track in result.tracks] == [
        (track.id, track.label, "right" if track.path.start[0] < 300 else "left") for track in result.tracks
    ]
    assert {(track.first_s, track.last_s) for track in result.tracks} == {(0.0, 3.96)}
    assert result.counts == {"car": 2, "person": 2, "dog": 0}
    assert (result.peaks["car"].count, result.peaks["dog"].count) == (2, 0)
    assert result.timeline[0].counts == {"car": 2, "person": 2, "dog": 0}
    assert (result.video.width, result.video.height, result.video.frames) == (640, 360, 100)
    assert (result.video.duration_s, result.video.fps) == (4.0, 25.0)
    assert result.complete
    assert result.files.video is None


async def test_the_annotated_video_has_every_frame_at_its_time_and_the_objects_of_each(
    film: Path, scene: Scene, finder: Finder, tmp_path: Path
) -> None:
    result = await finder(Witness(scene)).detect(str(film), PROMPTS, folder=tmp_path / "out", stem="answer")
    shown, listed = film_of(result), frames(result)
    assert len(shown) == len(listed) == 100
    assert [frame.time for frame in shown] == pytest.approx([line["time_s"] for line in listed], abs=1e-3)
    assert listed[0]["key"] is True
    assert listed[1]["key"] is False
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "answer-annotated.mp4",
        "answer-frames.jsonl",
        "answer-sheet.jpg",
        "answer-tracks.json",
    }
    assert VideoResult.model_validate_json((tmp_path / "out" / "answer-tracks.json").read_text()) == result
    middle = shown[50].to_ndarray(format="rgb24").astype(int)
    assert np.abs(middle - scene.draw(2.0)).max() > 100  # something is drawn on it
    data = Path(result.files.video or "").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # a browser can start before all of it has arrived


async def test_between_key_frames_boxes_follow_what_moves(finder: Finder, tmp_path: Path) -> None:
    scene = Scene([Thing("ball", lambda time: (80 + 60 * time, 180 + 70 * math.sin(4 * time)), (60, 60))], seconds=4)
    film = scene.film(tmp_path / "film.mp4")
    result = await finder(Witness(scene)).detect(str(film), ["ball"], folder=tmp_path, every_s=1.0)
    overlaps = [
        iou(found["bbox"], scene.things[0].box(frame["time_s"]) or (0, 0, 0, 0))  # type: ignore[arg-type]
        for frame in frames(result)
        for found in frame["objects"]  # type: ignore[attr-defined]
    ]
    assert len(overlaps) == 100
    assert min(overlaps) > 0.6  # straight lines would miss it by half a ball


async def test_questions_are_planned_told_and_counted_before_and_after(
    film: Path, scene: Scene, finder: Finder
) -> None:
    told: list[tuple[float, str]] = []

    async def progress(part: float, message: str) -> None:
        told.append((part, message))

    witness = Witness(scene)
    video = finder(witness)
    result = await video.detect(str(film), PROMPTS, save=False, max_calls=5, progress=progress)
    assert (result.calls.planned, result.calls.made, result.calls.memory) == (5, 5, 0)
    assert len(witness.asked) == 5
    assert witness.asked[0] == 0
    assert witness.asked[-1] == pytest.approx(3.96)
    assert "at most 5 calls to the backend witness" in told[0][1]
    assert any("key frame 5 of 5 at 0:04.0" in message for _, message in told)
    assert [part for part, _ in told] == sorted(part for part, _ in told)
    again = await video.detect(str(film), PROMPTS, save=False, max_calls=5)
    assert (again.calls.made, again.calls.memory) == (0, 5)
    assert again.tracks == result.tracks


async def test_tiles_count_as_the_calls_that_they_are(film: Path, scene: Scene, finder: Finder) -> None:
    witness = Witness(scene)
    with pytest.raises(InputError, match="tiles is 4, which takes 9 calls for each key frame, more than the 8 allowed"):
        await finder(witness).detect(str(film), PROMPTS, save=False, max_calls=8, tiles=4)
    assert witness.asked == []


async def test_results_of_pictures_are_not_crowded_out(film: Path, scene: Scene) -> None:
    async with Detector(Settings(backend="witness"), backends=[Witness(scene)]) as detector:
        await VideoDetector(detector).detect(str(film), PROMPTS, save=False)
        assert detector.store.recent() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_calls": 61}, "max_calls is 61; choose 1 to 60, or raise DINOX_MCP_VIDEO_MAX_CALLS"),
        ({"max_calls": 0}, "max_calls is 0"),
        ({"every_s": 0}, "every_s is 0"),
        ({"every_s": math.nan}, "every_s is nan"),
        ({"min_score": 2}, "min_score"),
        ({"include": ["pose"]}, "include is pose"),
        ({"start_s": 9}, "has no frame between"),
        ({"prompts": " "}, "prompts is empty"),
    ],
)
async def test_wrong_arguments_are_refused_before_anything_is_asked(
    options: dict[str, object], message: str, film: Path, scene: Scene, finder: Finder
) -> None:
    witness = Witness(scene)
    with pytest.raises(InputError, match=message):
        await finder(witness).detect(str(film), **{"prompts": PROMPTS, **options})  # type: ignore[arg-type]
    assert witness.asked == []


async def test_words_that_the_backend_gives_with_what_it_finds_are_those_of_the_surest_sighting(
    film: Path, scene: Scene, finder: Finder
) -> None:
    result = await finder(Witness(scene)).detect(str(film), PROMPTS, save=False, include=["text"])
    assert [track.text for track in result.tracks] == [f"{track.label} {track.score:.3f}" for track in result.tracks]
    with pytest.raises(UnsupportedError, match="does not give caption"):
        await finder(Witness(scene)).detect(str(film), PROMPTS, save=False, include=["caption"])


async def test_a_video_on_its_side_is_answered_upright(finder: Finder, tmp_path: Path) -> None:
    scene = Scene([Thing("car", line(60, 300, 60), (80, 40))], size=(360, 640), seconds=2)
    lying = [np.rot90(scene.draw(number / 25)) for number in range(50)]
    path = write_film(tmp_path / "film.mp4", [np.ascontiguousarray(one) for one in lying], [n / 25 for n in range(50)])
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    matrix = (0, 1 << 16, 0, -(1 << 16), 0, 0, 360 << 16, 0, 1 << 30)
    data[at : at + 36] = b"".join((value & 0xFFFFFFFF).to_bytes(4) for value in matrix)
    path.write_bytes(data)
    result = await finder(Witness(scene)).detect(str(path), ["car"], folder=tmp_path / "out")
    assert (result.video.width, result.video.height, result.video.rotation) == (360, 640, 90)
    assert result.tracks[0].path.direction == "right"
    shown = film_of(result)
    assert (shown[0].width, shown[0].height, shown[0].rotation) == (360, 640, 0)


async def test_odd_sizes_and_single_frames_are_answered_too(finder: Finder, tmp_path: Path) -> None:
    scene = Scene([Thing("car", line(100, 60, 0), (60, 40))], size=(201, 121), seconds=0.1)
    film = scene.film(tmp_path / "film.gif", codec="gif", times=[0.0])
    result = await finder(Witness(scene)).detect(str(film), ["car"], folder=tmp_path)
    assert (result.counts, result.calls.made, len(film_of(result))) == ({"car": 1}, 1, 1)


async def test_an_error_of_the_backend_keeps_what_is_done(
    film: Path, scene: Scene, finder: Finder, tmp_path: Path
) -> None:
    broke = Witness(scene, error=QuotaError("no credit left"), fail_after=6)
    result = await finder(broke).detect(str(film), PROMPTS, folder=tmp_path)
    assert not result.complete
    assert result.calls.made == 6
    assert "no credit left" in " ".join(result.notes)
    assert result.counts == {"car": 2, "person": 2}
    assert 0 < len(film_of(result)) == len(frames(result)) < 100


async def test_an_error_of_the_backend_at_once_is_an_error(film: Path, scene: Scene, finder: Finder) -> None:
    broke = Witness(scene, error=QuotaError("no credit left"), fail_after=0)
    with pytest.raises(QuotaError, match="no credit left"):
        await finder(broke).detect(str(film), PROMPTS)


async def test_an_error_at_once_leaves_the_files_of_an_earlier_call(
    film: Path, scene: Scene, finder: Finder, tmp_path: Path
) -> None:
    earlier = tmp_path / "film-frames.jsonl"
    earlier.write_text("earlier")
    broke = Witness(scene, error=QuotaError("no credit left"), fail_after=0)
    with pytest.raises(QuotaError):
        await finder(broke).detect(str(film), PROMPTS, folder=tmp_path, stem="film")
    assert earlier.read_text() == "earlier"
    assert not list(tmp_path.glob("*.part"))


async def test_a_cancelled_call_leaves_whole_files_and_the_answer_so_far(
    film: Path, scene: Scene, finder: Finder, tmp_path: Path
) -> None:
    answers: list[VideoResult] = []
    with anyio.CancelScope() as scope:

        async def progress(_part: float, message: str) -> None:
            if "key frame 8" in message:
                scope.cancel()
            await anyio.lowlevel.checkpoint()

        await finder(Witness(scene)).detect(
            str(film), PROMPTS, folder=tmp_path, stem="part", progress=progress, stopped=answers.append
        )
    (result,) = answers
    assert scope.cancelled_caught
    assert not result.complete
    assert "stopped after key frame 7 of 9" in result.notes[-1]
    assert 0 < len(film_of(result)) == len(frames(result)) < 100
    assert result.counts == {"car": 2, "person": 2}
    assert not list(tmp_path.glob("*.part*"))


async def test_without_a_folder_files_are_temporary(film: Path, scene: Scene, finder: Finder) -> None:
    video = finder(Witness(scene))
    result = await video.detect(str(film), PROMPTS, max_calls=2)
    sheet = Path(result.files.sheet or "")
    assert sheet.exists()
    video.close()
    assert not sheet.parent.exists()


async def test_the_output_folder_of_the_settings_is_used(
    film: Path, scene: Scene, finder: Finder, tmp_path: Path
) -> None:
    result = await finder(Witness(scene), output_folder=tmp_path / "out").detect(str(film), PROMPTS, max_calls=2)
    assert Path(result.files.video or "").parent == tmp_path / "out"
    assert Path(result.files.video or "").name == f"film-{result.result_id}-annotated.mp4"


async def test_a_folder_that_cannot_be_written_is_named(film: Path, scene: Scene, finder: Finder) -> None:
    witness = Witness(scene)
    with pytest.raises(SettingsError, match="cannot write into"):
        await finder(witness).detect(str(film), PROMPTS, folder=film / "below")
    assert witness.asked == []


async def test_the_video_itself_is_not_overwritten(scene: Scene, finder: Finder, tmp_path: Path) -> None:
    film = scene.film(tmp_path / "film-annotated.mp4")
    with pytest.raises(SettingsError, match="is the video itself, which is not overwritten"):
        await finder(Witness(scene)).detect(str(film), PROMPTS, folder=tmp_path, stem="film")


async def test_a_full_disk_is_named(
    film: Path, scene: Scene, finder: Finder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dinox_mcp.video.output.Encoder.write", write)
    with pytest.raises(SettingsError, match="No space left on device"):
        await finder(Witness(scene)).detect(str(film), PROMPTS, folder=tmp_path)
    assert not list(tmp_path.glob("*.part*"))


async def test_the_surest_are_followed_where_there_are_too_many(film: Path, scene: Scene, finder: Finder) -> None:
    result = await finder(Witness(scene)).detect(str(film), PROMPTS, save=False, max_objects=2)
    assert "of a key frame, only the 2 surest objects were followed" in " ".join(result.notes)
    assert max(sum(moment.counts.values()) for moment in result.timeline) <= 4


async def test_mistakes_that_were_left_out_are_said(film: Path, scene: Scene, finder: Finder) -> None:
    result = await finder(Witness(scene, ghosts=1.0)).detect(str(film), PROMPTS, save=False, every_s=1.0)
    assert "below a score of 0.5 in a single key frame were taken for mistakes" in " ".join(result.notes)


async def test_a_wrong_index_at_the_end_costs_the_end_only(scene: Scene, finder: Finder, tmp_path: Path) -> None:
    path = scene.film(tmp_path / "film.mp4")
    with av.open(str(path)) as container:
        lost = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size][60:]
    data = bytearray(path.read_bytes())
    for place, size in lost:
        data[place : place + size] = bytes(size)
    path.write_bytes(data)
    result = await finder(Witness(scene)).detect(str(path), PROMPTS, folder=tmp_path / "out")
    assert result.counts["car"] == 2
    assert "cannot be decoded" in " ".join(result.notes)
    assert 50 <= len(film_of(result)) == len(frames(result)) <= 61


async def test_the_contact_sheet_keeps_to_the_limits_of_a_reply(film: Path, scene: Scene, finder: Finder) -> None:
    from PIL import Image

    video = finder(Witness(scene), preview_max_side=500, preview_max_bytes=20_000)
    result = await video.detect(str(film), PROMPTS, every_s=0.2)
    path = Path(result.files.sheet or "")
    with Image.open(path) as sheet:
        assert max(sheet.size) <= 500
    assert path.stat().st_size <= 20_000


async def test_the_end_of_a_damaged_video_is_said(scene: Scene, finder: Finder, tmp_path: Path) -> None:
    path = scene.film(tmp_path / "film.mkv")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    result = await finder(Witness(scene)).detect(str(path), PROMPTS, folder=tmp_path / "out")
    assert "the file ends early" in " ".join(result.notes)
    assert result.counts["car"] == 2
    assert len(film_of(result)) == len(frames(result)) <= result.video.frames


class Reader(Witness):
    """Knows no prompt but by its words, which stand in the first key frame only."""

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        found = await super().detect(image, request, call)
        words = ("SALE", "forklift") if len(self.asked) > 1 else ("forklift",)
        return found.model_copy(update={"unsearched": words, "unknown": words})


async def test_words_that_stand_in_one_key_frame_are_known_and_others_named_once(
    scene: Scene, film: Path, finder: Finder
) -> None:
    result = await finder(Reader(scene)).detect(str(film), ["SALE", "forklift"], save=False)
    assert result.complete
    assert "forklift" not in result.counts
    assert result.counts["SALE"] == 0
    assert [note for note in result.notes if "cannot find" in note and "'forklift'" in note and "SALE" not in note]
