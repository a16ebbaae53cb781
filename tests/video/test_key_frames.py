"""What backends get of a video: key frames, and every frame for masks."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import av
import numpy as np
import pytest

from dinox_mcp.backends.base import Call, Followed
from dinox_mcp.detector import Detector
from dinox_mcp.errors import BackendError, InputError, UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Mask
from dinox_mcp.types.masks import decode, encode
from dinox_mcp.types.video import VideoResult
from dinox_mcp.video.detect import VideoDetector
from dinox_mcp.video.key_frames import AT_ONCE, plan_key_frames
from tests.video.conftest import Finder, video_detector
from tests.video.scenes import Scene, Thing, Witness, line

pytestmark = pytest.mark.anyio
PROMPTS = ["car", "person"]
# ruff: noqa: ASYNC240 - a test may wait for its disk
TIMES = [number / 10 for number in range(41)]


@pytest.mark.parametrize(
    ("every_s", "most", "keys"),
    [
        (1.0, 60, (0, 10, 20, 30, 40)),
        (3.0, 60, (0, 20, 40)),
        (0.5, 3, (0, 20, 40)),
        (1.0, 1, (20,)),
    ],
)
def test_key_frames_are_even_and_include_the_first_and_the_last(
    every_s: float, most: int, keys: tuple[int, ...]
) -> None:
    chosen, apart_s = plan_key_frames(TIMES, every_s, most)
    assert chosen == keys
    assert apart_s == pytest.approx(2.0 if len(keys) == 3 else 1.0 if len(keys) == 5 else 4.0)


def test_more_key_frames_than_frames_are_all_frames() -> None:
    assert plan_key_frames(TIMES[:3], 0.001, 60)[0] == (0, 1, 2)
    assert plan_key_frames([0.0], 0.5, 60)[0] == (0,)


@pytest.mark.parametrize("every_s", [0, -1, float("nan")])
def test_a_time_that_is_not_positive_is_refused(every_s: float) -> None:
    with pytest.raises(InputError, match="choose the seconds from one key frame to the next"):
        plan_key_frames(TIMES, every_s, 60)


@dataclass
class Masker(Witness):
    """A witness that gives the boxes of the first frame as masks of all frames, and no masks with `hides`."""

    hides: bool = False
    breaks_after: int | None = None
    followed: list[tuple[list[float], list[Box]]] = field(default_factory=list)

    async def follow(self, frames: Sequence[Picture], boxes: Sequence[Box], call: Call) -> Followed:
        if self.breaks_after == len(self.followed):
            raise BackendError("no memory left; free some")
        self.followed.append(([float(frame.source.rpartition("#t=")[2]) for frame in frames], list(boxes)))
        for number in range(len(frames)):
            await call.progress(number / len(frames), f"frame {number + 1} of {len(frames)}")
        width, height = frames[0].width, frames[0].height
        masks = tuple(None if self.hides else _filled(box, width, height) for box in boxes)
        return Followed("masker-1", (masks,) * len(frames), ("masks were computed in crayon",))


def _filled(box: Box, width: int, height: int) -> Mask:
    bits = np.zeros((height, width), dtype=np.bool_)
    x1, y1, x2, y2 = map(round, box)
    bits[y1:y2, x1:x2] = True
    return encode(bits)


def lines_of(result: VideoResult) -> list[dict[str, Any]]:
    assert result.files.frames is not None
    return [json.loads(text) for text in Path(result.files.frames).read_text().splitlines()]


def pixels_of(path: str | None) -> list[np.ndarray[Any, Any]]:
    assert path is not None
    with av.open(path) as container:
        return [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]


async def ask(video: VideoDetector, film: Path, folder: Path, **options: Any) -> VideoResult:  # noqa: ANN401
    return await video.detect(str(film), PROMPTS, folder=folder, **{"include": ["masks"], **options})


@pytest.mark.slow
async def test_each_track_has_a_mask_in_each_frame_that_it_is_in(
    film: Path, scene: Scene, finder: Finder, tmp_path: Path
) -> None:
    masker = Masker(scene)
    result = await ask(finder(masker), film, tmp_path, end_s=0.9)
    assert result.complete
    frames = lines_of(result)
    assert len(frames) == len(pixels_of(result.files.video)) == 10
    assert all("mask" in one for frame in frames for one in frame["objects"])
    first = frames[0]["objects"][0]
    x1, y1, x2, y2 = map(round, first["bbox"])
    bits = decode(Mask.model_validate(first["mask"]))
    assert bits.shape == (180, 320)
    assert bits.sum() == (x2 - x1) * (y2 - y1) == bits[y1:y2, x1:x2].sum()
    assert "masks were computed in crayon" in result.notes
    assert "masks were followed through 10 frames by masker-1; they are in" in " ".join(result.notes)


@pytest.mark.slow
async def test_following_begins_anew_at_each_key_frame_with_a_bounded_number_of_frames(
    film: Path, scene: Scene, finder: Finder, tmp_path: Path
) -> None:
    masker = Masker(scene)
    result = await ask(finder(masker), film, tmp_path, every_s=2.0, end_s=1.9)
    assert [time for times, _ in masker.followed for time in times] == pytest.approx([n / 10 for n in range(20)])
    assert max(len(times) for times, _ in masker.followed) == AT_ONCE < 19
    starts = [times[0] for times, _ in masker.followed]
    keys = [frame["time_s"] for frame in lines_of(result) if frame["key"]]
    assert set(np.round(keys, 3)) <= set(np.round(starts, 3))
    assert len(masker.followed[0][1]) == 4


@pytest.mark.slow
async def test_masks_are_drawn_on_the_video_and_on_the_sheet(
    film: Path, scene: Scene, finder: Finder, tmp_path: Path
) -> None:
    with_ = await ask(finder(Masker(scene)), film, tmp_path / "with", end_s=0.5)
    without = await ask(finder(Masker(scene)), film, tmp_path / "without", end_s=0.5, include=[])
    x1, y1, x2, y2 = map(round, lines_of(with_)[0]["objects"][0]["bbox"])
    inside = np.s_[y1 + 8 : y2 - 8, x1 + 8 : x2 - 8]
    one, other = pixels_of(with_.files.video)[0], pixels_of(without.files.video)[0]
    assert np.abs(one[inside] - other[inside]).mean() > 10
    assert Path(with_.files.sheet or "").read_bytes() != Path(without.files.sheet or "").read_bytes()
    assert not any("mask" in thing for frame in lines_of(without) for thing in frame["objects"])


@pytest.mark.slow
async def test_what_has_ended_or_is_hidden_has_no_mask(finder: Finder, tmp_path: Path) -> None:
    scene = Scene(
        [Thing("car", line(50, 50, 20), (46, 28)), Thing("person", line(150, 120, 0), (24, 46), last=0.5)],
        size=(320, 180),
        seconds=3.5,
    )
    film = scene.film(tmp_path / "film.mp4", fps=5)
    seen = await ask(finder(Masker(scene)), film, tmp_path / "seen")
    gone = next(track for track in seen.tracks if track.label == "person")
    assert gone.last_s <= 0.5
    for frame in lines_of(seen):
        people = [one for one in frame["objects"] if one["label"] == "person"]
        assert bool(people) == (frame["time_s"] <= gone.last_s)
        assert all("mask" in one for one in frame["objects"])
    hidden = await ask(finder(Masker(scene, hides=True)), film, tmp_path / "hidden", end_s=1)
    assert not any("mask" in one for frame in lines_of(hidden) for one in frame["objects"])
    assert hidden.counts == seen.counts


@pytest.mark.slow
async def test_a_video_without_objects_requests_no_masks(finder: Finder, tmp_path: Path) -> None:
    scene = Scene([], size=(160, 100), seconds=0.5)
    masker = Masker(scene)
    result = await ask(finder(masker), scene.film(tmp_path / "film.mp4", fps=10), tmp_path)
    assert masker.followed == []
    assert len(lines_of(result)) == 5


@pytest.mark.slow
async def test_masks_are_not_requested_of_the_detection_too(
    film: Path, scene: Scene, finder: Finder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[frozenset[str]] = []
    detect = Masker.detect

    async def listen(self: Masker, image: Picture, request: Any, call: Call) -> Any:  # noqa: ANN401
        asked.append(request.include)
        return await detect(self, image, request, call)

    monkeypatch.setattr(Masker, "detect", listen)
    result = await ask(finder(Masker(scene)), film, tmp_path, include=["masks", "text"], max_calls=2, end_s=0.5)
    assert set(asked) == {frozenset({"text"})}
    assert result.request.include == {"masks", "text"}


@pytest.mark.slow
async def test_the_number_of_frames_is_reported_first_and_progress_rises(
    film: Path, scene: Scene, finder: Finder, tmp_path: Path
) -> None:
    reports: list[tuple[float, str]] = []

    async def progress(part: float, message: str) -> None:
        reports.append((part, message))

    await ask(finder(Masker(scene)), film, tmp_path, progress=progress, end_s=1.4)
    assert "and masks in 15 frames, seconds each on a CPU" in reports[0][1]
    assert any("masks at 0:01.0 of 0:01.4" in message and "left: frame" in message for _, message in reports)
    assert [part for part, _ in reports] == sorted(part for part, _ in reports)
    assert 0.9 < reports[-1][0] <= 1


@pytest.mark.slow
async def test_more_frames_than_are_allowed_are_refused_before_any_call(
    film: Path, scene: Scene, finder: Finder, tmp_path: Path
) -> None:
    masker = Masker(scene)
    video = finder(masker, video_max_mask_frames=5)
    message = r"of which there are 40, more than the 5 allowed .* choose about 0.5 s .*DINOX_MCP_VIDEO_MAX_MASK_FRAMES"
    with pytest.raises(InputError, match=message):
        await ask(video, film, tmp_path)
    assert masker.asked == []
    result = await ask(video, film, tmp_path, start_s=1, end_s=1.4)
    assert len(lines_of(result)) == 5


@pytest.mark.slow
async def test_a_backend_that_cannot_is_refused_with_who_can(film: Path, scene: Scene, tmp_path: Path) -> None:
    witness, masker = Witness(scene), Masker(scene, name="masker")
    async with Detector(Settings(backend="witness"), backends=[witness, masker]) as detector:
        with pytest.raises(UnsupportedError, match=r"witness cannot follow masks .*the backend (local or )?masker can"):
            await ask(video_detector(detector), film, tmp_path)
    async with Detector(Settings(backend="embedded")) as detector:
        with pytest.raises(UnsupportedError, match=r"embedded cannot follow masks .*the backend local can"):
            await ask(video_detector(detector), film, tmp_path)
    assert witness.asked == []


@pytest.mark.slow
async def test_with_auto_another_backend_that_is_ready_follows_the_masks(
    film: Path, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness, masker = Witness(scene), Masker(scene, name="masker")
    monkeypatch.setattr(Witness, "PREFERENCE", 300, raising=False)
    monkeypatch.setattr(Masker, "PREFERENCE", 200, raising=False)
    async with Detector(Settings(backend="auto"), backends=[witness, masker]) as detector:
        result = await ask(video_detector(detector), film, tmp_path, end_s=0.5)
    assert result.backend == "witness"
    assert masker.asked == []
    assert masker.followed
    assert any("by masker-1" in note for note in result.notes)


@pytest.mark.slow
async def test_masks_without_files_to_write_them_into_are_refused(film: Path, scene: Scene, finder: Finder) -> None:
    with pytest.raises(InputError, match="only in its files; name a folder for them"):
        await finder(Masker(scene)).detect(str(film), PROMPTS, include=["masks"], save=False)


@pytest.mark.slow
async def test_a_cancelled_call_keeps_the_frames_whose_masks_are_known(
    film: Path, scene: Scene, finder: Finder, tmp_path: Path
) -> None:
    results: list[VideoResult] = []
    masker = Masker(scene)
    with anyio.CancelScope() as scope:

        async def progress(_part: float, _message: str) -> None:
            if len(masker.followed) == 3:
                scope.cancel()
            await anyio.lowlevel.checkpoint()

        # With so many key frames, the first masks are followed before the last key frame is searched.
        await ask(finder(masker), film, tmp_path, progress=progress, stopped=results.append, every_s=0.2, end_s=2.2)
    (result,) = results
    assert scope.cancelled_caught
    assert result.calls.made < result.calls.planned
    frames = lines_of(result)
    assert len(frames) == len(pixels_of(result.files.video)) == sum(len(times) for times, _ in masker.followed[:2])
    assert all("mask" in one for frame in frames for one in frame["objects"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("calls", "stopped"),
    [
        pytest.param(0, "stopped at 0:01.9 by an error of the backend", id="while key frames are searched"),
        pytest.param(2, "stopped by an error of the backend", id="after the last key frame"),
    ],
)
async def test_an_error_of_the_follower_keeps_what_is_done(
    film: Path, scene: Scene, finder: Finder, tmp_path: Path, calls: int, stopped: str
) -> None:
    masker = Masker(scene, breaks_after=calls)
    result = await ask(finder(masker), film, tmp_path, every_s=0.2, end_s=1.9)
    assert not result.complete
    assert f"{stopped}: no memory left; free some" in " ".join(result.notes)
    assert result.counts == {"car": 2, "person": 2}
    drawn = sum(len(times) for times, _ in masker.followed)
    assert (len(lines_of(result)) if result.files.frames else 0) == drawn < 20


@pytest.mark.slow
async def test_masks_of_other_objects_than_were_requested_are_an_error(
    film: Path, scene: Scene, finder: Finder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def follow(_self: Masker, frames: Sequence[Picture], _boxes: Sequence[Box], _call: Call) -> Followed:
        return Followed("masker-1", ((),) * len(frames))

    monkeypatch.setattr(Masker, "follow", follow)
    result = await ask(finder(Masker(scene)), film, tmp_path, end_s=0.5)
    assert not result.complete
    assert "masker-1 gave masks of other objects than were requested; report it" in " ".join(result.notes)
