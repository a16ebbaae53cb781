"""What is kept of results of videos: so much for each caller, and so much for all of them together."""

import pytest

from dinox_mcp.errors import NotFoundError
from dinox_mcp.store import videos
from dinox_mcp.store.videos import PerTenant, Videos
from dinox_mcp.types.detection import DetectionRequest
from dinox_mcp.types.video import Calls, VideoInfo, VideoResult

RESULT = VideoResult(
    result_id="v1",
    backend="fake",
    model="fake-1",
    video=VideoInfo(source="film.mp4", width=64, height=48, duration_s=1, fps=10, frames=10),
    request=DetectionRequest(),
    every_s=0.5,
    tracks=(),
    counts={},
    peaks={},
    timeline=(),
    calls=Calls(planned=1, made=1, memory=0),
)


def test_all_callers_together_are_bounded_in_number_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videos, "KEPT_OF_ALL", 3)
    shelf: PerTenant[str] = PerTenant(max_bytes=100)
    assert shelf.put("a", "1", "a1", 10) == []
    assert shelf.put("b", "1", "b1", 20) == []
    assert shelf.put("b", "2", "b2", 20) == []
    assert shelf.put("c", "1", "c1", 10) == ["b1"], "too many: the oldest of the caller with most bytes"
    assert shelf.put("c", "2", "c2", 90) == ["c1", "b2"], "too many bytes: of the callers with most, not the newest"
    assert (shelf.get("a", "1"), shelf.get("b", "2"), shelf.get("c", "2")) == ("a1", None, "c2")


def test_results_of_many_callers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videos, "KEPT_OF_ALL", 2)
    kept = Videos()
    for tenant in ("a", "b", "c"):
        kept.put(RESULT, tenant)
    assert kept.get("v1", "c") == RESULT
    with pytest.raises(NotFoundError, match="no result 'v1' of a video"):
        kept.get("v1", "a")
