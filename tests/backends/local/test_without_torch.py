"""Models of the local backend answer where torch and transformers cannot be imported."""

import json
import re
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dinox_mcp.backends import local
from dinox_mcp.backends.base import Call, Follower
from dinox_mcp.backends.local import create
from dinox_mcp.backends.local.backend import LocalBackend
from dinox_mcp.backends.local.checkpoints import graph
from dinox_mcp.backends.local.checkpoints.checkpoint import Checkpoint
from dinox_mcp.backends.local.checkpoints.hub import Hub
from dinox_mcp.detect.visual_prompts import VisualPrompt
from dinox_mcp.detector import Detector
from dinox_mcp.errors import BackendError, UnsupportedError
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import DetectionRequest, DetectionResult
from tests.backends.local.conftest import photo
from tests.backends.local.fakehub import FakeHub, serve
from tests.backends.local.pictures import picture as draw
from tests.backends.local.tiny_graphs import (
    GRAPHS,
    write_checkpoint,
    write_json,
    write_masks_checkpoint,
    write_phrases_checkpoint,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def without_torch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Make each import of torch and transformers fail, and take the graphs of tiny models for the package's."""
    for name in ("torch", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(local, "find_spec", lambda _name: None)
    monkeypatch.setattr(graph, "FOLDER", GRAPHS)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "cache" / name)
    graph.architectures.cache_clear()
    yield
    graph.architectures.cache_clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_checkpoint("owlvit", tmp_path / "checkpoint")


@pytest.fixture
def image(tmp_path: Path) -> str:
    path = tmp_path / "photo.png"
    draw(160, 120).save(path)
    return str(path)


def settings(folder: Path, **options: str) -> Settings:
    return Settings.load(backend="local", model=str(folder), model_process="same", **options)


@pytest.mark.parametrize("family", ["owlv2", "owlvit"])
async def test_labels_examples_and_the_vocabulary_are_found(family: str, image: str, tmp_path: Path) -> None:
    folder = write_checkpoint(family, tmp_path / "checkpoint")
    async with Detector(settings(folder, precision="float32")) as detector:
        labels = await detector.detect(image, ["dog", "red car"], min_score=0)
        alike = await detector.detect_by_example(image, [VisualPrompt(bbox=(10, 10, 90, 80))], min_score=0)
        anything = await detector.detect(image, None, min_score=0, max_objects=5)
    for result in (labels, alike, anything):
        assert result.objects
        assert "computed in float32 by ONNX Runtime" in result.notes
    assert {one.label for one in labels.objects} <= {"dog", "red car"}


async def test_labels_descriptions_and_captions_are_found_by_a_model_of_phrases(image: str, tmp_path: Path) -> None:
    folder = write_phrases_checkpoint(tmp_path / "checkpoint")
    async with Detector(settings(folder)) as detector:
        labels = await detector.detect(image, ["dog", "red car"], min_score=0)
        described = await detector.find_by_description(image, "the person in the red car", min_score=0)
    for result in (labels, described):
        assert result.objects
        assert "computed in float32 by ONNX Runtime" in result.notes
    assert {one.label for one in labels.objects} <= {"dog", "red car"}


async def test_whether_int8_is_used_is_decided_once(folder: Path, image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[bool] = []
    load = graph.Graph.__init__

    def remember(self: graph.Graph, *arguments: Any, int8: bool = False, **options: Any) -> None:  # noqa: ANN401
        if "image" in arguments:
            loads.append(int8)
        load(self, *arguments, int8=int8, **options)

    monkeypatch.setattr(graph.Graph, "__init__", remember)
    first = await detect(settings(folder), image)
    tried, loads[:] = list(loads), []
    again = await detect(settings(folder), image)
    assert tried[:2] == [False, True]
    assert len(loads) == 1
    assert first.notes == again.notes
    assert any(note.startswith(("computed in int8 by ONNX", "computed in float32 by ONNX")) for note in first.notes)


async def test_a_damaged_decision_is_made_again(folder: Path, image: str, tmp_path: Path) -> None:
    await detect(settings(folder), image)
    (decision,) = (tmp_path / "cache").rglob("precision/*.json")
    decision.write_text("{", encoding="utf-8")
    assert (await detect(settings(folder), image)).objects
    assert "doubt" in json.loads(decision.read_text("utf-8"))


async def test_a_model_without_a_graph_says_what_it_needs(folder: Path, image: str) -> None:
    write_json(folder / "config.json", {"model_type": "omdet-turbo"})
    with pytest.raises(UnsupportedError, match=r"needs torch and transformers.*choose the model balanced or fast"):
        await detect(settings(folder), image)


async def test_boxes_get_masks(folder: Path, image: str, tmp_path: Path) -> None:
    masks = write_masks_checkpoint(tmp_path / "masks")
    async with Detector(settings(folder, masks_model=str(masks), precision="float32")) as detector:
        result = await detector.detect(image, ["dog"], include=["masks"], min_score=0, max_objects=3)
    assert len(result.objects) == 3
    assert all(one.mask is not None and one.mask.size == (120, 160) for one in result.objects)


async def test_a_model_for_masks_without_a_graph_says_what_it_needs(folder: Path, image: str, tmp_path: Path) -> None:
    masks = write_masks_checkpoint(tmp_path / "masks")
    write_json(masks / "config.json", {"model_type": "sam2", "mask_decoder_config": {"num_attention_heads": 1}})
    async with Detector(settings(folder, masks_model=str(masks), precision="float32")) as detector:
        result = await detector.detect(image, ["dog"], include=["masks"], min_score=0, max_objects=3)
    assert all(one.mask is None for one in result.objects)
    assert any("needs torch and transformers" in note and "sam2.1-tiny" in note for note in result.notes)


async def test_masks_of_a_video_say_what_they_need(folder: Path, tmp_path: Path) -> None:
    masks = write_masks_checkpoint(tmp_path / "masks")
    backend = create(settings(folder, masks_model=str(masks)))
    assert isinstance(backend, Follower)
    with pytest.raises(UnsupportedError, match=r"masks of a video needs torch.*leave masks out"):
        await backend.follow([photo()], [(10, 10, 50, 50)], Call())
    await backend.aclose()


async def test_captions_say_what_they_need(folder: Path, image: str) -> None:
    async with Detector(settings(folder)) as detector:
        with pytest.raises(UnsupportedError, match="caption"):
            await detector.detect(image, ["dog"], include=["caption"], min_score=0)


@pytest.mark.parametrize("option", [{"device": "cuda"}, {"precision": "bfloat16"}, {"runtime": "torch"}])
def test_settings_that_need_torch_are_not_ready_without(folder: Path, option: dict[str, str]) -> None:
    assert local.unready(settings(folder), caller_has_key=False) is None
    unready = local.unready(settings(folder, **option), caller_has_key=False)
    assert unready is not None
    assert "install the extra 'local'" in unready.remedy


async def test_the_runtime_of_the_settings_is_not_replaced(folder: Path, image: str) -> None:
    with pytest.raises(UnsupportedError, match=r"does not run in ONNX Runtime as set .*PRECISION=bfloat16"):
        await detect(settings(folder, runtime="onnx", precision="bfloat16"), image)


async def test_a_gpu_needs_torch(folder: Path, image: str) -> None:
    with pytest.raises(UnsupportedError, match="the device cuda needs torch"):
        await detect(settings(folder, device="cuda"), image)


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A model that knows six kinds, one of which is called "Dinning Table" in its configuration."""
    return write_checkpoint("d_fine", tmp_path / "closed")


@pytest.mark.parametrize("precision", ["auto", "int8"])
async def test_a_closed_vocabulary_is_found_by_prompts_and_without(closed: Path, image: str, precision: str) -> None:
    async with Detector(settings(closed, precision=precision)) as detector:
        prompted = await detector.detect(image, ["dining tables", "Doggy"], min_score=0)
        anything = await detector.detect(image, None, min_score=0)
    assert set(prompted.counts) == {"dining tables", "Doggy"}
    assert {one.label for one in prompted.objects} <= set(prompted.counts)
    assert {one.label for one in anything.objects} <= {"person", "dog", "car", "SUV", "dining table", "monitor/TV"}
    assert anything.objects
    precise = "computed in float32 by ONNX Runtime" + ", as this model has no int8" * (precision == "int8")
    assert precise in prompted.notes
    assert not (closed.parent / "cache").exists()  # there is nothing to decide


async def test_prompts_outside_a_closed_vocabulary_are_named_with_who_finds_them(closed: Path, image: str) -> None:
    who = r"cannot find 'unicorn': it knows person, dog.*; for anything else pass model 'balanced' or 'fast'"
    async with Detector(settings(closed)) as detector:
        some = await detector.detect(image, ["dog", "unicorn"], min_score=0)
        with pytest.raises(UnsupportedError, match=who):
            await detector.detect(image, ["unicorn"], min_score=0)
    assert some.counts.keys() == {"dog"}
    (note,) = (note for note in some.notes if "unicorn" in note)
    assert re.search(who, note)
    assert "no such words" not in note  # this backend reads none


@pytest.mark.parametrize("names", [None, {"7": "zebra"}])
async def test_a_configuration_that_does_not_fit_the_weights_is_refused(
    closed: Path, image: str, names: dict[str, str] | None
) -> None:
    write_json(closed / "config.json", {"model_type": "d_fine", "id2label": names})
    with pytest.raises(BackendError, match=r"config\.json names \d kinds .* and the weights score 7; get it anew"):
        await detect(settings(closed), image)


async def test_a_closed_vocabulary_has_no_examples_and_no_descriptions(closed: Path, image: str) -> None:
    async with Detector(settings(closed)) as detector:
        with pytest.raises(UnsupportedError, match="cannot do examples; pass model 'balanced'"):
            await detector.detect_by_example(image, [VisualPrompt(bbox=(10, 10, 90, 80))])
        with pytest.raises(UnsupportedError, match="cannot do descriptions; pass model 'accurate'"):
            await detector.find_by_description(image, "the dog on the left")


async def test_auto_gives_each_prompt_to_a_closed_vocabulary_or_to_the_next_backend(closed: Path, image: str) -> None:
    auto = Settings.load(backend="auto", model=str(closed), model_process="same")
    async with Detector(auto) as detector:
        result = await detector.detect(image, ["SUV", "banana", "QR code"], min_score=0)
    assert {source.backend: source.labels for source in result.sources if source.labels} == {
        "local": ("SUV",),
        "embedded": ("banana",),
    }


async def test_a_preset_comes_from_the_hub_with_its_own_kinds(closed: Path, tmp_path: Path) -> None:
    chosen = Settings.load(model="dfine-small-o365")
    with serve(FakeHub()) as fake:
        fake.add("ustc-community/dfine-small-obj365", closed)
        hub = Hub(endpoint=fake.url, cache=tmp_path / "hub")
        backend = LocalBackend(chosen, partial(Checkpoint, settings=chosen, hub=hub))
        before = backend.capabilities().labels
        found = await backend.detect(photo(), DetectionRequest(prompts=("SUV",), min_score=0), Call())
        after = backend.capabilities().labels
        await backend.aclose()
    assert before is not None
    assert len(before) == 365
    assert after == ("person", "dog", "car", "SUV", "dining table", "monitor/TV")
    assert {one.label for one in found.objects} == {"SUV"}
    assert found.model.startswith("ustc-community/dfine-small-obj365@")


async def detect(settings: Settings, image: str) -> DetectionResult:
    async with Detector(settings) as detector:
        return await detector.detect(image, ["dog"], min_score=0)
