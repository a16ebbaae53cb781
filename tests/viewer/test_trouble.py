"""What the page does when a host, a tool or a value is not as it should be."""

from dataclasses import replace
from typing import Any

import pytest

from dinox_mcp.types.detection import Detection
from tests.viewer.conftest import Show
from tests.viewer.hosting import CAN_ALL, EVERYTHING, Shown

DOG = Detection(label="dog", bbox=(100, 100, 300, 300), score=0.9)
OBJECT = {"id": 1, "label": "dog", "bbox": [10, 10, 50, 50]}
REPLY: dict[str, Any] = {"result_id": "gone", "image": {"width": 100, "height": 80}, "objects": [OBJECT]}


def send(shown: Shown, answer: dict[str, Any]) -> None:
    shown.page.evaluate("(answer) => window.bridge.sendToolResult(answer)", answer)


def test_an_error_of_the_tool_is_said(show: Show) -> None:
    with show([DOG]) as shown:
        send(shown, {"isError": True, "content": [{"type": "text", "text": "no API key"}]})
        shown.frame.get_by_role("alert").get_by_text("no API key").wait_for()


def test_a_cancelled_call_is_said(show: Show) -> None:
    with show([DOG]) as shown:
        shown.page.evaluate("window.bridge.sendToolCancelled({ reason: 'by the user' })")
        shown.frame.get_by_role("alert").get_by_text("stopped: by the user").wait_for()


def test_a_picture_that_is_gone_leaves_the_objects(show: Show) -> None:
    with show([DOG]) as shown:
        send(shown, {"content": [], "structuredContent": REPLY})
        shown.frame.get_by_role("alert").get_by_text("The picture is not there any more").wait_for()
        assert "dog" in shown.text("#list")
        shown.problems.clear()


def test_a_host_that_lets_nothing_through_still_shows_where_things_are(show: Show) -> None:
    with show([DOG], capabilities={}) as shown:
        shown.frame.get_by_role("alert").get_by_text("This host lets no picture through").wait_for()
        shown.page.mouse.click(*shown.point(200, 200))
        assert "dog" in shown.text("#detail")
        assert shown.frame.get_by_role("button", name="Find more like this").count() == 0


def test_without_structured_content_the_result_is_looked_up_by_the_id_in_the_text(show: Show) -> None:
    with show([DOG]) as shown:
        text = f"Found 1 object. Result id: {shown.result['result_id']}"
        shown.read.clear()
        send(shown, {"content": [{"type": "text", "text": text}]})
        shown.page.wait_for_timeout(500)
        assert shown.read[0] == f"dinox://results/{shown.result['result_id']}"
        assert shown.text("#title") == "1 object"


@pytest.mark.parametrize(
    "objects",
    [
        [None, 7, "dog", {}, {"bbox": [1, 2, 3]}, {"bbox": [1, 2, 3, None]}, OBJECT],
        [{**OBJECT, "keypoints": {"nose": "here", "left_eye": [1, 2, None]}, "score": "high", "mask": {"size": [1]}}],
        [{**OBJECT, "mask": {"size": [80, 100], "counts": "garbage\u0001\u00ff"}}],
    ],
)
def test_values_of_the_wrong_kind_are_left_out(show: Show, objects: list[Any]) -> None:
    with show([DOG]) as shown:
        send(shown, {"content": [], "structuredContent": {**REPLY, "objects": objects}})
        shown.frame.locator("#object-1").click()
        assert shown.text("#title") == "1 object"
        shown.frame.wait_for_selector("#message:not([hidden])")


def test_an_answer_that_shows_nothing_is_said(show: Show) -> None:
    with show([DOG]) as shown:
        send(shown, {"content": [{"type": "text", "text": "hello"}], "structuredContent": {"name": "x"}})
        shown.frame.get_by_role("alert").get_by_text("This answer has nothing to show").wait_for()


def test_a_search_that_fails_says_why(show: Show) -> None:
    with show([DOG], able=replace(EVERYTHING, answers=frozenset({"prompt-free detection"}))) as shown:
        shown.frame.locator("#object-1").click()
        shown.frame.get_by_role("button", name="Find more like this").click()
        shown.frame.get_by_role("alert").get_by_text("fake").wait_for()
        assert "dog" in shown.text("#list")


def test_where_tools_cannot_be_called_the_chat_is_asked_to_search(show: Show) -> None:
    can = {name: {} for name in CAN_ALL if name != "serverTools"}
    with show([DOG], capabilities=can) as shown:
        shown.frame.locator("#object-1").click()
        shown.frame.get_by_role("button", name="Find more like this").click()
        shown.page.wait_for_function("window.seen.messages.length > 0")
        assert shown.seen["messages"][0].startswith('Find more like object 1 ("dog", box [100, 100, 300, 300])')
