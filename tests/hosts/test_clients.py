"""What a model sees of our answers, through each client."""

import io
import re

import pytest
from PIL import Image

from tests.hosts.environments import ROOT
from tests.hosts.model.conversation import Call, Seen
from tests.hosts.report import Report

TOOLS = {
    "count_objects",
    "describe_regions",
    "detect_by_example",
    "detect_objects",
    "detect_prompt_free",
    "compare_images",
    "detect_video",
    "export_objects",
    "save_prompt",
    "search_images",
    "visualize",
    "zoom",
}
CONTENT = ["https://example.com/parcel/4711", "LOADING BAY 3", "ORDER 4711", "DICT_6X6_50 id 23", "2000000047119"]
"""What stands in the sample."""


@pytest.fixture
def seen(report: Report, script: dict[str, Call]) -> dict[str, Seen]:
    return dict(zip(script, report.answers, strict=True))


def test_every_tool_is_declared(report: Report) -> None:
    assert {tool.name for tool in report.tools} == TOOLS


def test_parameters_keep_their_descriptions(report: Report) -> None:
    for tool in report.tools:
        assert "Absolute path on this server" in tool.json or tool.name != "detect_objects"
        assert "[x_min, y_min, x_max, y_max]" in tool.json or tool.name != "detect_by_example"


def test_a_detection_is_readable(seen: dict[str, Seen]) -> None:
    for words in CONTENT:
        assert words in seen["detection"].text
    (box,) = re.findall(r'QR code"?[^\[]*\[([\d., ]+)\]', seen["detection"].text)
    assert [float(edge) for edge in box.split(",")] == pytest.approx([282, 568, 397, 683], abs=4)


def test_a_picture_arrives_as_one(seen: dict[str, Seen]) -> None:
    assert "Drawn: 29 objects" in seen["picture"].text
    assert size(seen["picture"]) == (1280, 925)


def test_a_crop_arrives_as_a_picture(seen: dict[str, Seen]) -> None:
    assert "QR code" in seen["crop"].text
    assert min(size(seen["crop"])) > 100


def test_a_video_arrives_as_text_and_picture(seen: dict[str, Seen]) -> None:
    assert "1 QR code" in seen["video"].text
    assert min(size(seen["video"])) > 100


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("missing file", "there is no file '"),  # over HTTP, the server does not show its own folders
        ("wrong type", "min_score"),
        ("wrong range", "min_score"),
    ],
)
def test_an_error_says_what_to_do(seen: dict[str, Seen], call: str, words: str) -> None:
    assert words in seen[call].text
    assert "Traceback" not in seen[call].text


def test_the_docs_tell_of_this_version(client: str, report: Report) -> None:
    assert f"| {client} | {report.version} |" in (ROOT / "docs" / "hosts.md").read_text()


def size(seen: Seen) -> tuple[int, int]:
    assert len(seen.pictures) == 1
    with Image.open(io.BytesIO(seen.pictures[0])) as picture:
        return picture.size
