"""From a caller's words to detections through real, tiny, random models: detector, MCP server, command line."""

# ruff: noqa: ANN401 - options and doubles are whatever a test makes them
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from dinox_mcp.backends.base import Call
from dinox_mcp.backends.local import create
from dinox_mcp.backends.local.backend import LocalBackend
from dinox_mcp.backends.local.process import ProcessBackend
from dinox_mcp.detect.visual_prompts import VisualPrompt
from dinox_mcp.detector import Detector
from dinox_mcp.errors import SettingsError, UnsupportedError
from dinox_mcp.server.app import build_server
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import DetectionRequest
from tests.backends.local.pictures import picture as draw
from tests.backends.local.tiny_checkpoints import BUILDERS

pytestmark = pytest.mark.anyio
FAMILIES = sorted(BUILDERS)
TWO = ("owlv2", "grounding-dino")
"""One family that reuses the embeddings of labels, and one that reads them with each image."""
Checkpoints = Callable[[str], Path]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Label embeddings of tests stay out of the user's cache, on every system."""
    for variable in ("XDG_CACHE_HOME", "HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path / "cache"))
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "cache" / name)


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "photo.png"
    draw(160, 120).save(path)
    return str(path)


def settings(folder: Path, **options: Any) -> Settings:
    """Ask for a model in this process; starting another takes seconds."""
    return Settings.load(backend="local", model=str(folder), model_process="same", **options)


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_folder_of_any_family_answers_with_the_callers_labels(
    family: str, checkpoint: Checkpoints, picture: str
) -> None:
    async with Detector(settings(checkpoint(family), cache_ttl_s=0)) as detector:
        result = await detector.detect(picture, ["Red Car", "dog"], min_score=0, max_objects=1000)
        again = await detector.detect(picture, ["Red Car", "dog"], min_score=0, max_objects=1000)
    assert result.objects
    assert {found.label for found in result.objects} <= {"Red Car", "dog"}
    assert (result.backend, result.model) == ("local", checkpoint(family).name)
    for found in result.objects:
        x1, y1, x2, y2 = found.bbox
        assert 0 <= x1 < x2 <= 160
        assert 0 <= y1 < y2 <= 120
        assert found.score is not None
    assert again.objects == result.objects
    assert not again.cached


@pytest.mark.parametrize("family", TWO)
async def test_what_is_kept_changes_no_answer(family: str, checkpoint: Checkpoints, picture: str) -> None:
    labels = ["dog", "cat", "wheel"]
    answers = []
    for options in ({"features_max_bytes": 0}, {}, {}):  # nothing kept; kept by the first; found on disk
        async with Detector(settings(checkpoint(family), cache_ttl_s=0, **options)) as detector:
            for _ in range(2):
                result = await detector.detect(picture, labels, min_score=0, max_objects=1000)
                answers.append([(found.label, found.bbox, found.score) for found in result.objects])
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize("family", TWO)
async def test_without_prompts_things_get_names_of_the_vocabulary(
    family: str, checkpoint: Checkpoints, picture: str, tmp_path: Path
) -> None:
    nouns = tmp_path / "nouns.txt"
    nouns.write_text("vehicle\n  car = automobile\n  bus\nanimal\n  dog, cat\nwheel, tree, glove\n")
    async with Detector(settings(checkpoint(family), vocabulary=nouns)) as detector:
        result = await detector.detect(picture, min_score=0, max_objects=1000)
    names = {"vehicle", "car", "bus", "animal", "dog", "cat", "wheel", "tree", "glove"}
    assert result.objects
    assert set(result.counts) <= names
    assert result.notes[0].startswith("searched for 10 nouns")


async def test_the_built_in_vocabulary_costs_one_pass(checkpoint: Checkpoints, picture: str) -> None:
    async with Detector(settings(checkpoint("owlv2"))) as detector:
        result = await detector.detect(picture, min_score=0, max_objects=1000)
    assert result.objects
    assert len(result.counts) > 1


async def test_finds_by_example_in_this_and_in_other_images_and_by_saved_prompt(
    checkpoint: Checkpoints, picture: str, tmp_path: Path
) -> None:
    other = tmp_path / "other.png"
    draw(120, 160, seed=1).save(other)
    examples = [
        VisualPrompt(bbox=(20, 30, 90, 80), label="cup"),
        VisualPrompt(point=(60, 80), image=str(other), label="cup"),
    ]
    folders = {"prompts_folder": tmp_path / "prompts"}
    async with Detector(settings(checkpoint("owlv2"), **folders)) as detector:
        found = await detector.detect_by_example(picture, examples, min_score=0, max_objects=1000)
        await detector.save_prompt("cups", picture, examples)
        again = await detector.detect_by_example(
            picture, [VisualPrompt(saved="cups", label="cup")], min_score=0, max_objects=1000
        )
        tiled = await detector.detect_by_example(picture, examples, min_score=0, tiles=2)
    assert found.objects
    assert set(found.counts) == {"cup"}
    assert [(one.label, one.bbox, one.score) for one in again.objects] == [
        (one.label, one.bbox, one.score) for one in found.objects
    ]
    assert tiled.objects
    async with Detector(settings(checkpoint("owlvit"), **folders)) as detector:
        with pytest.raises(UnsupportedError, match=r"made by the model owlv2.* use that model, or save the prompt"):
            await detector.detect_by_example(picture, [VisualPrompt(saved="cups")])


async def test_finds_by_description_and_grounds_phrases(checkpoint: Checkpoints, picture: str) -> None:
    async with Detector(settings(checkpoint("grounding-dino"))) as detector:
        described = await detector.find_by_description(picture, "the dog left of the tree", min_score=0)
        grounded = await detector.ground_phrases(picture, "A dog and a red car", ["red car", "dog"], min_score=0)
    assert set(described.counts) == {"the dog left of the tree"}
    assert set(grounded.counts) == {"red car", "dog"}


@pytest.mark.parametrize(
    ("family", "remedy"), [("owlv2", "pass model 'accurate'"), ("omdet-turbo", "pass model 'accurate'")]
)
async def test_a_description_names_the_model_that_reads_it(
    family: str, remedy: str, checkpoint: Checkpoints, picture: str
) -> None:
    async with Detector(settings(checkpoint(family))) as detector:
        with pytest.raises(UnsupportedError, match=rf"cannot do descriptions; {remedy}"):
            await detector.find_by_description(picture, "the dog left of the tree")


async def test_clients_at_once_get_what_one_gets_alone(checkpoint: Checkpoints) -> None:
    backend = LocalBackend(settings(checkpoint("owlv2")))
    pictures = [_picture(size) for size in ((160, 120), (120, 160), (64, 64), (200, 90))]
    request = DetectionRequest(prompts=("dog", "wheel"), min_score=0)
    alone = [await backend.detect(image, request, Call()) for image in pictures]
    fresh = LocalBackend(settings(checkpoint("owlv2")))
    answers: dict[tuple[int, str], Any] = {}

    async def ask(place: int, client: str) -> None:
        answers[place, client] = await fresh.detect(pictures[place], request, Call(client=client))

    async with anyio.create_task_group() as group:
        for client in "abcdefgh":
            for place in range(4):
                group.start_soon(ask, place, client)
    assert len(answers) == 32
    assert all(answer.objects == alone[place].objects for (place, _), answer in answers.items())
    for each in (backend, fresh):
        await each.aclose()


async def test_models_in_a_process_of_their_own_answer_as_they_do_here(
    checkpoint: Checkpoints, picture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    answers = []
    for where in ("same", "own"):
        backend = create(Settings.load(model_process=where))
        assert isinstance(backend, ProcessBackend if where == "own" else LocalBackend)
        async with Detector(Settings.load(backend="local", cache_ttl_s=0), [backend]) as detector:
            for family in TWO:
                model = str(checkpoint(family))
                result = await detector.detect(picture, ["dog", "wheel"], model=model, min_score=0, max_objects=1000)
                answers.append((result.model, len(result.objects), max(found.score or 0 for found in result.objects)))
    here, there = answers[: len(TWO)], answers[len(TWO) :]
    assert [answer[:2] for answer in here] == [answer[:2] for answer in there]
    assert [answer[2] for answer in here] == pytest.approx([answer[2] for answer in there], abs=1e-4)


async def test_an_assistant_finds_objects_and_everything_with_a_model_on_this_machine(
    checkpoint: Checkpoints, picture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DINOX_MCP_BACKEND", "local")
    monkeypatch.setenv("DINOX_MCP_MODEL_PROCESS", "same")
    monkeypatch.setenv("DINOX_MCP_MODEL", str(checkpoint("owlv2")))
    async with Detector() as detector, Client(build_server(detector), raise_exceptions=True) as client:
        objects = await client.call_tool("detect_objects", {"image": picture, "prompts": ["dog"], "min_score": 0.01})
        everything = await client.call_tool("detect_prompt_free", {"image": picture, "min_score": 0.01})
    for reply in (objects, everything):
        assert not reply.is_error
        assert reply.structured_content is not None
        assert reply.structured_content["backend"] == "local"
        assert reply.structured_content["objects"]
    assert "searched for" in str(everything.structured_content["notes"])  # type: ignore[index]


async def test_an_assistant_hears_what_is_wrong_with_a_model(picture: str) -> None:
    detector = Detector(settings(Path("ballanced")))
    async with detector, Client(build_server(detector)) as client:
        reply = await client.call_tool("detect_objects", {"image": picture, "prompts": ["dog"]})
    assert reply.is_error
    assert "DINOX_MCP_MODEL: 'ballanced' is not a model; did you mean balanced?" in str(reply.content)


async def test_a_model_that_cannot_be_run_is_refused(tmp_path: Path, picture: str) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.json").write_text('{"model_type": "bert"}')
    async with Detector(settings(tmp_path / "odd")) as detector:
        with pytest.raises(UnsupportedError, match=r"'bert'.*choose one of"):
            await detector.detect(picture, "dog")


async def test_a_device_that_is_not_here_is_named(checkpoint: Checkpoints, picture: str) -> None:
    async with Detector(settings(checkpoint("owlv2"), device="abacus")) as detector:
        with pytest.raises(SettingsError, match="DINOX_MCP_DEVICE: 'abacus' is not a device"):
            await detector.detect(picture, "dog")


def test_the_server_starts_and_lists_its_tools_without_torch() -> None:
    program = """
import anyio, sys
from mcp import Client
from dinox_mcp.detector import Detector
from dinox_mcp.server.app import build_server
from dinox_mcp.settings import Settings

async def main():
    detector = Detector(Settings.load(backend="local"))
    async with detector, Client(build_server(detector)) as client:
        await client.list_tools()
        detector.backends.describe()
anyio.run(main)
heavy = {"torch", "transformers", "huggingface_hub", "safetensors"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)  # noqa: S603 - ours
    assert done.returncode == 0, done.stderr


def _picture(size: tuple[int, int]) -> Any:
    import io

    from dinox_mcp.images.picture import Picture

    buffer = io.BytesIO()
    draw(*size).save(buffer, "PNG")
    return Picture.from_bytes(buffer.getvalue(), "photo.png")
