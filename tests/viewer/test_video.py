"""Answers about videos: the contact sheet as the picture, the tracks on a timeline."""

import json
from pathlib import Path
from typing import Any

from tests.fakes import DOG
from tests.video.scenes import Scene, Thing, line
from tests.viewer.conftest import Show
from tests.viewer.scenes import photo

SHEET = "dinox://videos/abc/sheet.jpg"
PATH = {"start": [0, 0, 9, 9], "end": [50, 0, 59, 9], "mean": [25, 0, 34, 9], "direction": "right"}


def track(number: int, label: str, first: float, last: float) -> dict[str, Any]:
    return {
        "id": number,
        "label": label,
        "score": 0.9 - number / 10,
        "first_s": first,
        "last_s": last,
        "seen": 3,
        "frames": 30,
        "path": PATH,
    }


RESULT = {
    "result_id": "abc",
    "backend": "fake",
    "model": "fake-1",
    "video": {"source": "clip.mp4", "width": 640, "height": 360, "duration_s": 75.0, "fps": 25, "frames": 1875},
    "tracks": [track(1, "car", 0, 20), track(2, "person", 5, 70), track(3, "car", 60.5, 75)],
    "counts": {"car": 2, "person": 1},
    "peaks": {"car": {"count": 2, "time_s": 61.0}},
}
ANSWER = {"content": [{"type": "text", "text": "2 car.\nResult id: abc. Resources: dinox://videos/abc, and below it"}]}
RESOURCES = {"dinox://videos/abc": json.dumps(RESULT).encode(), SHEET: photo(900, 500)}


def test_tracks_are_listed_with_when_they_were_seen(show: Show) -> None:
    with show([], answer=ANSWER, resources=RESOURCES) as shown:
        assert shown.read == ["dinox://videos/abc", SHEET]
        assert shown.text("#title") == "3 tracks"
        option = shown.frame.get_by_role("option", name="3 car 1:00.5 to 1:15.0 60 %")
        assert option.count() == 1
        bar = shown.frame.locator("#object-3 .bar").bounding_box()
        mark = shown.frame.locator("#object-3 .bar span").bounding_box()
        assert abs((mark["x"] - bar["x"]) / bar["width"] - 60.5 / 75) < 0.02
        assert "at most 2 car at 1:01.0" in shown.text("#facts")
        assert "1:15.0 of video" in shown.text("#facts")


def test_a_track_is_chosen_filtered_and_asked_about(show: Show) -> None:
    with show([], answer=ANSWER, resources=RESOURCES) as shown:
        shown.frame.get_by_role("button", name="car 2", pressed=True).click()
        assert shown.text("#title") == "1 of 3 tracks"
        shown.frame.locator("#object-2").click()
        assert "0:05.0 to 1:10.0" in shown.text("#detail")
        assert shown.frame.get_by_role("button", name="Find more like this").count() == 0
        shown.frame.get_by_role("button", name="Ask").click()
        shown.page.wait_for_function("window.seen.messages.length > 0")
        assert 'track 2 ("person", 5.0 s to 70.0 s) of video result abc' in shown.seen["messages"][0]


def test_tracks_are_saved_as_a_table(show: Show) -> None:
    with show([], answer=ANSWER, resources=RESOURCES) as shown:
        shown.frame.locator("#save summary").click()
        assert shown.frame.locator("#save-coco").is_hidden()
        shown.frame.get_by_role("button", name="Table (CSV)").click()
        shown.page.wait_for_function("window.seen.files.length > 0")
        lines = shown.seen["files"][0]["data"].splitlines()
        assert lines[1] == "1,car,0.8,0,20,3,right,,,"


def test_what_the_tool_answers_is_shown(show: Show, tmp_path: Path) -> None:
    scene = Scene([Thing("dog", line(35, 50, 0), (50, 60))], size=(160, 120), seconds=2)
    given = {"video": str(scene.film(tmp_path / "film.mp4")), "prompts": ["dog"]}
    with show([DOG], ask=("detect_video", given)) as shown:
        shown.frame.get_by_role("option", name="1 dog 0:00.0 to").wait_for()
        assert [uri.rpartition("/")[2] for uri in shown.read][1:] == ["sheet.jpg"]
        shown.until("performance.getEntriesByName('dinox:picture').length > 0")
