"""What the command-line hosts send their model besides our answers, and what they leave of a long one."""

import json
import re
from pathlib import Path

import pytest

from tests.hosts.command_lines import HOSTS
from tests.hosts.model.conversation import Call
from tests.hosts.model.server import Model
from tests.hosts.report import Target

MARKERS = 400


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a picture of many markers, each with a content to report."""
    import cv2
    import numpy as np

    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_6X6_250)
    picture = np.full((MARKERS // 25 * 80, 25 * 80), 255, np.uint8)
    for number in range(MARKERS):
        row, column = divmod(number, 25)
        marker = cv2.aruco.generateImageMarker(dictionary, number % 250, 60)
        picture[row * 80 + 10 : row * 80 + 70, column * 80 + 10 : column * 80 + 70] = marker
    path = tmp_path_factory.mktemp("crowd") / "markers.png"
    cv2.imwrite(str(path), picture)
    return path


@pytest.fixture(scope="module", params=list(HOSTS))
def model(
    request: pytest.FixtureRequest, over_stdio: Target, crowd: Path, tmp_path_factory: pytest.TempPathFactory
) -> Model:
    """Give the model that a host sent a long answer to."""
    long = Call("detect_objects", {"image": str(crowd), "prompts": ["ArUco marker"], "max_objects": MARKERS})
    model, _ = HOSTS[request.param].run(tmp_path_factory.mktemp("home"), over_stdio, [long])
    return model


def test_the_instructions_are_sent(model: Model) -> None:
    assert "Eyes for exact questions" in json.dumps(model.requests[-1])


def test_output_schemas_are_not_sent(model: Model) -> None:
    assert "mask_area" not in json.dumps(model.requests[0])


def test_result_and_counts_survive_in_a_long_answer(model: Model) -> None:
    """They stand at its ends: hosts that cut take from the middle."""
    (answer,) = model.answers
    assert re.search(r'"result_id": ?"\w+"|Result id: \w+', answer.text)
    assert re.search(rf'"ArUco marker": ?{MARKERS}|{MARKERS} ArUco marker', answer.text)


def test_claude_code_names_the_tools_and_defers_their_schemas(over_stdio: Target, tmp_path: Path) -> None:
    """Its default: the model searches for a tool before it calls it, so that names must say what tools do."""
    model, _ = HOSTS["Claude Code"].run(tmp_path, over_stdio, [], ENABLE_TOOL_SEARCH="true")
    assert not model.requests
    sent = json.dumps([body for _, body in model.others])
    assert "mcp__dinox__detect_objects" in sent
    assert "Where the picture is" not in sent
