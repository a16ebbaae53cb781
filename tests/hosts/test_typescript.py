"""What only the official TypeScript clients show: structured content that fits its schema, progress, cancelling."""

from pathlib import Path
from typing import Any

import pytest

from tests.hosts.conftest import SAMPLE
from tests.hosts.libraries import LIBRARIES
from tests.hosts.model.conversation import Call
from tests.hosts.report import Target

CLIENTS = [name for name in LIBRARIES if name.startswith("TypeScript")]


@pytest.fixture(scope="module", params=CLIENTS)
def report(
    request: pytest.FixtureRequest, target: Target, video: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    calls = [
        Call("detect_prompt_free", {"image": str(SAMPLE)}),
        Call("count_objects", {"image": str(SAMPLE), "prompts": ["text"]}),
        Call("visualize", {"result": "{result}"}),
    ]
    slow = ["detect_video", {"video": str(video), "prompts": ["text"], "every_s": 0.2}]
    return LIBRARIES[request.param].run(tmp_path_factory.mktemp("home"), target, calls, cancel=slow)


def test_structured_content_comes_beside_the_text(report: dict[str, Any]) -> None:
    detection, counted, _ = report["answers"]
    assert len(detection["structured"]["objects"]) == 29
    assert counted["structured"]["counts"] == {"text": 24}


def test_pictures_come_without_structured_content(report: dict[str, Any]) -> None:
    """Hosts show their model one or the other."""
    *_, picture = report["answers"]
    assert picture["structured"] is None
    assert len(picture["pictures"]) == 1


def test_only_tools_that_answer_data_have_an_output_schema(report: dict[str, Any]) -> None:
    without = {tool["name"] for tool in report["tools"] if not tool["output"]}
    assert without == {"detect_video", "search_images", "visualize", "zoom"}


def test_progress_is_heard(report: dict[str, Any]) -> None:
    assert report["progress"] >= len(report["answers"])


def test_a_call_can_be_cancelled(report: dict[str, Any]) -> None:
    assert report["cancelled"] == "cancelled"
