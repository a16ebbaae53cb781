import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from dinox_mcp.backends import local
from dinox_mcp.backends.local.checkpoints import files
from dinox_mcp.backends.local.checkpoints import torch_loading as checkpoints
from dinox_mcp.backends.local.checkpoints.device import Device, Precision
from dinox_mcp.errors import BackendError, UnsupportedError

CPU = Device("cpu", "cpu", "float32")
WEIGHTS = "model.safetensors"
QUERY = "owlvit.visual_projection.weight"


@pytest.fixture
def folder(checkpoint: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of a tiny OWL-ViT, to be broken."""
    return Path(shutil.copytree(checkpoint("owlvit"), tmp_path / "model"))


def edit_weights(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / WEIGHTS)
    edit(weights)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def weights_of(folder: Path, precision: Precision) -> dict[str, torch.Tensor]:
    adapter: Any = checkpoints.load(folder, Device("cpu", "cpu", precision))
    return dict(adapter._model.named_parameters())


def test_a_complete_model_loads_ready_for_requests(folder: Path) -> None:
    adapter = checkpoints.load(folder, CPU)
    assert adapter.family == "owlvit"
    assert adapter.embed(["person", "dog"]).shape == (2, 32)


def test_loading_uses_no_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert checkpoints.load(folder, CPU)


def test_loading_writes_nothing_on_the_terminal(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    checkpoints.load(folder, CPU)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("family", ["owlvit", "owlv2", "grounding-dino", "mm-grounding-dino", "omdet-turbo", "sam3"])
def test_half_precision_rounds_no_weight_that_decides_on_boxes(checkpoint: Callable[[str], Path], family: str) -> None:
    half, exact = (weights_of(checkpoint(family), precision) for precision in ("bfloat16", "float32"))
    assert half.keys() == exact.keys()
    short = {name for name, weight in half.items() if weight.dtype != torch.float32}
    assert all(torch.equal(half[name], exact[name]) for name in half.keys() - short)
    assert all("vision_model." in name or "text_model." in name for name in short)
    assert bool(short) == family.startswith("owl")


def test_half_precision_answers_almost_the_same(folder: Path) -> None:
    adapter = checkpoints.load(folder, Device("cpu", "cpu", "bfloat16"))
    assert adapter.embed(["dog"]).dtype == np.float32  # as it is kept on the disk
    exact = checkpoints.load(folder, CPU)
    assert (adapter.embed(["dog"]) @ exact.embed(["dog"]).T).item() == pytest.approx(1, abs=1e-3)


def test_shards_load_by_their_index(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = sorted(weights)
    shards = {"one.safetensors": names[::2], "two.safetensors": names[1::2]}
    for shard, part in shards.items():
        save_file({name: weights[name] for name in part}, folder / shard, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: shard for shard, part in shards.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert files.is_complete(folder)
    assert checkpoints.load(folder, CPU).family == "owlvit"
    (folder / "two.safetensors").unlink()
    assert not files.is_complete(folder)
    with pytest.raises(BackendError, match=r"lacks two.safetensors"):
        checkpoints.load(folder, CPU)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda weights: weights.pop(QUERY), f"missing: {QUERY}"),
        (lambda weights: weights.update(extra=torch.ones(1)), "unknown to the model: extra"),
        (
            lambda weights: weights.update({"owlvit.renamed.weight": weights.pop(QUERY)}),
            f"missing: {QUERY}; unknown to the model: owlvit.renamed.weight",
        ),
        (lambda weights: weights.update({QUERY: torch.ones(3, 3)}), f"of another shape: {QUERY}"),
        (
            lambda weights: [weights.pop(name) for name in list(weights) if "text_model" in name],
            r"missing: owlvit.text_model\S+, \S+, \S+ and \d+ more",
        ),
    ],
)
def test_a_model_is_never_random_in_part(
    folder: Path, edit: Callable[[dict[str, torch.Tensor]], object], message: str
) -> None:
    edit_weights(folder, edit)
    with pytest.raises(BackendError, match=message) as caught:
        checkpoints.load(folder, CPU)
    assert "name another revision" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_buffers_that_older_releases_saved_do_no_harm(folder: Path) -> None:
    name = "owlvit.text_model.embeddings.position_ids"
    edit_weights(folder, lambda weights: weights.update({name: torch.arange(16)[None]}))
    assert checkpoints.load(folder, CPU)


def test_pickles_are_never_read(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    with pytest.raises(UnsupportedError, match=r"pytorch_model.bin; such files can run code"):
        checkpoints.load(folder, CPU)


def test_code_of_the_checkpoint_never_runs(folder: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (folder / "modeling_evil.py").write_text(f"open({str(ran)!r}, 'w')")
    edit_config(folder, auto_map={"AutoModel": "modeling_evil.Evil", "AutoConfig": "modeling_evil.Evil"})
    assert checkpoints.load(folder, CPU)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("key", "inner"), [("attn_implementation", False), ("_attn_implementation", True), ("experts_implementation", True)]
)
def test_a_configuration_chooses_no_code(folder: Path, monkeypatch: pytest.MonkeyPatch, key: str, inner: bool) -> None:
    chosen: list[object] = []
    check = PreTrainedModel.get_correct_attn_implementation

    def listen(self: PreTrainedModel, wanted: str | None, *arguments: object, **options: object) -> str:
        chosen.append(wanted)
        return check(self, wanted, *arguments, **options)

    monkeypatch.setattr(PreTrainedModel, "get_correct_attn_implementation", listen)
    fetched = {key: "kernels-community/evil"}
    vision = json.loads((folder / "config.json").read_text())["vision_config"]
    edit_config(folder, **({"vision_config": {**vision, **fetched}} if inner else fetched))
    assert checkpoints.load(folder, CPU)
    assert chosen
    assert "kernels-community/evil" not in chosen


@pytest.mark.parametrize("place", ["quantization_config", "text_config"])
def test_quantized_weights_are_refused(folder: Path, place: str) -> None:
    how = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    edit_config(folder, **{place: how if place == "quantization_config" else {"quantization_config": how}})
    with pytest.raises(UnsupportedError, match=r"is quantized \(quantization_config .*choose its original"):
        checkpoints.load(folder, CPU)


def test_other_weights_than_those_that_were_checked_are_never_read(folder: Path) -> None:
    edit_config(folder, transformers_weights="adapter_model.bin")
    assert checkpoints.load(folder, CPU)


@pytest.mark.parametrize("size", [0, 7, 1000, -1])
def test_truncated_weights_are_a_clear_error(folder: Path, size: int) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:size])
    with pytest.raises(BackendError, match=r"does not load: .*; get it anew .*'dinox-mcp pull'"):
        checkpoints.load(folder, CPU)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"config.json cannot be read"),
        ("[]", r"config.json is not a JSON object"),
        ('{"model_type": "bert"}', r"models of type 'bert'; choose one of d_fine, grounding-dino, "),
        ("{}", r"models of type 'None'"),
        ('{"model_type": "owlvit", "text_config": {"hidden_size": "wide"}}', r"does not load"),
    ],
)
def test_wrong_configurations(folder: Path, content: str, message: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(BackendError, match=message):
        checkpoints.load(folder, CPU)


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    assert not files.is_complete(tmp_path)
    with pytest.raises(UnsupportedError, match=r"has no config.json, so it is not a transformers model"):
        checkpoints.load(tmp_path, CPU)


@pytest.mark.parametrize("file", ["tokenizer.json", "preprocessor_config.json"])
def test_a_missing_part_beside_the_weights_is_a_clear_error(folder: Path, file: str) -> None:
    for path in folder.iterdir():
        if path.name == file or (file == "preprocessor_config.json" and path.name == "processor_config.json"):
            path.unlink()
    with pytest.raises(BackendError) as caught:
        checkpoints.load(folder, CPU)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("index", ["{}", '{"weight_map": {}}', '{"weight_map": {"a": "../elsewhere.safetensors"}}'])
def test_an_index_that_leads_nowhere(folder: Path, index: str) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "model.safetensors.index.json").write_text(index)
    assert not files.is_complete(folder)
    with pytest.raises(BackendError, match=r"lists no weights"):
        checkpoints.load(folder, CPU)


def test_memory_that_runs_out_while_loading(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhaust(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(torch.nn.Module, "to", exhaust)
    with pytest.raises(BackendError, match=r"out of memory on cpu; choose a smaller model"):
        checkpoints.load(folder, CPU)


def test_the_missing_extra_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "find_spec", lambda _name: None)
    with pytest.raises(UnsupportedError, match="install the extra 'local'"):
        checkpoints.load(folder, CPU)
