"""From boxes to masks in all frames, through a real, tiny, random model and through doubles."""

# ruff: noqa: ANN401 - doubles take what they are given
import io
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from dinox_mcp.backends.base import Call, Follower
from dinox_mcp.backends.local.backend import LocalBackend, Workers
from dinox_mcp.backends.local.models.base import Prepared, check
from dinox_mcp.backends.local.runtime.describing import follow
from dinox_mcp.detector import Detector
from dinox_mcp.errors import BackendError, DeadlineError, UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Mask
from dinox_mcp.types.masks import decode
from tests.backends.local.fakes import FakeModel
from tests.backends.local.pictures import picture as draw

pytestmark = pytest.mark.anyio
BOXES: list[Box] = [(10, 20, 90, 100), (60, 5, 150, 70), (0, 0, 160, 120)]


def frames(count: int) -> list[Picture]:
    """Give frames of a scene that moves."""
    large = draw(240, 180)

    def encoded(n: int) -> bytes:
        buffer = io.BytesIO()
        large.crop((3 * n, 2 * n, 3 * n + 160, 2 * n + 120)).save(buffer, "PNG")
        return buffer.getvalue()

    return [Picture.from_bytes(encoded(n)) for n in range(count)]


@dataclass(frozen=True)
class FakeState:
    nbytes: int = 10


@dataclass
class FakeFollower:
    """Counts the frames that each memory has seen; each turn takes `turn_s`, in which it can be stopped."""

    turn_s: float = 0.0
    at_once: int = 2
    reuses_text: bool = False
    looks: int = 0
    failure: Exception | None = None
    groups: list[int] = field(default_factory=list)
    turns: int = 0

    def prepare(self, image: Any) -> Prepared:
        return Prepared(np.zeros((3, 1, 1), dtype=np.float32), image.size)

    def encode(self, batch: Sequence[Prepared]) -> list[FakeState]:
        self.looks += len(batch)
        return [FakeState() for _ in batch]

    def remember(self, boxes: Sequence[Box], size: tuple[int, int]) -> Any:
        assert size == (160, 120)
        self.groups.append(len(boxes))
        return {"boxes": boxes, "frames": 0}

    def follow(self, _state: Any, memory: Any) -> list[Mask | None]:
        self.turns += 1
        for _ in range(20):
            check()
            time.sleep(self.turn_s / 20)
        if self.failure:
            raise self.failure
        memory["frames"] += 1
        return [Mask(size=(120, 160), counts=f"{x1:g} {memory['frames']}") for x1, *_ in memory["boxes"]]


@pytest.fixture
def model() -> FakeModel:
    return FakeModel("org/masks", FakeFollower(), notes=("computed in bfloat16",))


@pytest.fixture
async def workers(model: FakeModel) -> AsyncIterator[Workers]:
    made = Workers(Settings.load(timeout_s=1), lambda _name, **_: model)
    yield made
    await made.aclose()


async def test_a_real_model_gives_a_mask_of_each_thing_in_each_frame(checkpoint: Callable[[str], Path]) -> None:
    backend = LocalBackend(Settings.load(masks_model=str(checkpoint("sam2_video"))))
    assert isinstance(backend, Follower)
    told = await backend.follow(frames(3), BOXES, Call())
    alone = await backend.follow(frames(3), BOXES[2:], Call())
    await backend.aclose()
    assert told.model == checkpoint("sam2_video").name
    assert [len(masks) for masks in told.masks] == [3, 3, 3]
    masks = [mask for row in told.masks for mask in row if mask]
    assert {decode(mask).shape for mask in masks} == {(120, 160)}
    assert [row[2] is None for row in told.masks] == [mask is None for (mask,) in alone.masks]


async def test_half_precision_gives_much_the_same(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dinox_mcp.backends.local.checkpoints.precision.slowness", lambda: None)
    told = []
    for precision in ("float32", "bfloat16"):
        backend = LocalBackend(
            Settings.load(device="cpu", precision=precision, masks_model=str(checkpoint("sam2_video")))
        )
        told.append(await backend.follow(frames(3), BOXES, Call()))
        await backend.aclose()
    exact, rough = told
    assert exact.notes == ()
    assert rough.notes == ("masks were computed in bfloat16",)
    pairs = [
        (a, b) for row, other in zip(exact.masks, rough.masks, strict=True) for a, b in zip(row, other, strict=True)
    ]
    assert any(a and b for a, b in pairs)
    assert np.mean([np.mean(decode(a) == decode(b)) for a, b in pairs if a and b]) > 0.9


async def test_a_model_without_a_memory_is_refused(checkpoint: Callable[[str], Path]) -> None:
    backend = LocalBackend(Settings.load(masks_model=str(checkpoint("sam2"))))
    with pytest.raises(UnsupportedError, match="DINOX_MCP_MASKS_MODEL"):
        await backend.follow(frames(1), BOXES, Call())
    await backend.aclose()


async def test_things_are_followed_some_at_a_time_and_each_frame_is_encoded_once(
    workers: Workers, model: FakeModel
) -> None:
    told = await follow(workers.get, workers.settings, frames(4), BOXES, Call())
    assert model.adapter.groups == [2, 1]
    assert (model.adapter.looks, model.adapter.turns) == (4, 8)
    assert [mask and mask.counts for mask in told.masks[2]] == ["10 3", "60 3", "0 3"]
    assert (told.model, told.notes) == ("org/masks@1234567", ("masks were computed in bfloat16",))


async def test_progress_rises_and_names_the_frame(workers: Workers) -> None:
    heard: list[tuple[float, str]] = []

    async def progress(fraction: float, message: str) -> None:
        heard.append((fraction, message))

    await follow(workers.get, workers.settings, frames(4), BOXES, Call(progress))
    assert [one for one in heard if one[1].startswith("frame")] == [(n / 4, f"frame {n + 1} of 4") for n in range(4)]
    assert [fraction for fraction, _ in heard] == sorted(fraction for fraction, _ in heard)


async def test_a_cancelled_call_stops_within_a_frame(workers: Workers, model: FakeModel) -> None:
    model.adapter.turn_s = 0.2

    async def progress(_fraction: float, message: str) -> None:
        if message.startswith("frame 2"):
            scope.cancel()

    with anyio.CancelScope() as scope:
        await follow(workers.get, workers.settings, frames(50), BOXES, Call(progress))
    assert scope.cancelled_caught
    turns = model.adapter.turns
    assert turns <= 3
    model.adapter.turn_s = 0
    await follow(workers.get, workers.settings, frames(1), BOXES[:1], Call())  # and the next one is answered
    assert model.adapter.turns == turns + 1


async def test_a_step_that_takes_too_long_is_an_error_that_says_so(workers: Workers, model: FakeModel) -> None:
    model.adapter.turn_s = 3
    with pytest.raises(DeadlineError, match=r"a few masks in one frame took more than 1 s; .*TIMEOUT_S"):
        await follow(workers.get, workers.settings, frames(2), BOXES, Call())


async def test_errors_of_the_model_are_explained(workers: Workers, model: FakeModel) -> None:
    model.adapter.failure = RuntimeError("bad luck")
    with pytest.raises(BackendError, match="the model failed: bad luck; try again"):
        await follow(workers.get, workers.settings, frames(2), BOXES, Call())


async def test_masks_of_a_video(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    pytest.importorskip("av")
    from tests.video.scenes import write_film

    large = draw(240, 180)
    frames = [np.asarray(large.crop((3 * n, 2 * n, 3 * n + 160, 2 * n + 120))) for n in range(8)]
    film = write_film(tmp_path / "film.mp4", frames, [n / 8 for n in range(8)])
    settings = Settings.load(
        backend="local",
        model=str(checkpoint("owlv2")),
        masks_model=str(checkpoint("sam2_video")),
        model_process="same",
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
