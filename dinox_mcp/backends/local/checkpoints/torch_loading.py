"""Loads a checkpoint into torch, with every weight or not at all; no code of the checkpoint runs."""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from dinox_mcp.backends import local
from dinox_mcp.backends.local.checkpoints import device as devices
from dinox_mcp.backends.local.checkpoints import files
from dinox_mcp.backends.local.checkpoints.device import Device
from dinox_mcp.backends.local.checkpoints.presets import Role, smaller
from dinox_mcp.backends.local.models.base import ImageModel, TorchModel
from dinox_mcp.errors import BackendError, DinoxError, UnsupportedError

# Buffers that older releases of transformers saved and newer ones compute; they hold no knowledge.
_COMPUTED = re.compile(r"(^|\.)(position_ids|relative_position_index|num_batches_tracked)$")
# A configuration describes layers. These would choose code that runs, fetched from the hub even, or other weights.
_CHOOSES_CODE = re.compile(
    r"_?(attn|experts)_implementation.*|auto_map|.*kernel_config|use_kernels|fusion_config|transformers_weights"
)
_QUANTIZED = ("quantization_config", "compression_config")
# transformers sets torch's default precision while it builds a model: two at once would disturb each other.
_loading = Lock()


def load(folder: Path, device: Device, role: Role = "objects", *, follows: bool = False) -> ImageModel:
    """Load the model in a folder onto a device for a role; takes seconds.

    Only safetensors are read and no code of the checkpoint runs. Every weight of the model comes from the
    checkpoint, or there is no model.

    Raises:
        UnsupportedError: its architecture or file format is not supported.
        BackendError: files are missing or broken, or memory ran out.
    """
    local.require_torch()
    kind = files.family(folder, role, follows=follows).load_torch_class(follows=follows)
    files.require_files(str(folder), {path.name for path in folder.iterdir()}, reads_text=files.reads_text(folder))
    files.weight_files(folder)
    with devices.memory_explained(device, smaller(role)), _loading:
        model = _load_model(folder, kind, device)
        with _faults_explained(folder):
            return kind(model, folder, device.dtype)


def _load_model(folder: Path, kind: type[TorchModel], device: Device) -> Any:  # noqa: ANN401 - one of many classes
    import torch
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    described = _description(folder)
    architecture = kind.architecture(described)
    with _faults_explained(folder):
        model, report = architecture.from_pretrained(
            folder,
            config=_configuration(architecture, described),
            dtype=torch.float32,  # what was rounded here would stay so; its family shortens what may be shorter
            local_files_only=True,
            use_safetensors=True,
            weights_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # they are reported, and refused below with their names
            output_loading_info=True,
        )
    _refuse_gaps(folder, model, report)
    return model.eval().requires_grad_(requires_grad=False).to(device.name)


def _description(folder: Path) -> dict[str, Any]:
    """Read a model's configuration without what would choose code; refuse weights that need more than torch."""
    config = files.read_json(folder / files.CONFIG)
    if any(part.get(key) for part in _parts(config) for key in _QUANTIZED):
        raise UnsupportedError(
            f"the model in {folder} is quantized (quantization_config in its config.json), which the local backend "
            "cannot run; choose its original, or another"
        )
    for part in _parts(config):
        for key in [key for key in part if _CHOOSES_CODE.fullmatch(key)]:
            del part[key]
    return config


def _parts(content: object) -> Iterator[dict[str, Any]]:
    """Walk through all objects of a JSON document."""
    if isinstance(content, dict):
        yield content
    for inner in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from _parts(inner)


def _configuration(architecture: Any, described: Mapping[str, Any]) -> Any:  # noqa: ANN401 - classes of transformers
    """Make transformers' own configuration; it finds the part that is meant only when it reads a file."""
    with tempfile.TemporaryDirectory(prefix="dinox-mcp-") as folder:
        (Path(folder) / files.CONFIG).write_text(json.dumps(described), encoding="utf-8")
        return architecture.config_class.from_pretrained(folder, local_files_only=True)


def _refuse_gaps(folder: Path, model: Any, report: dict[str, Any]) -> None:  # noqa: ANN401
    """Refuse a model some of whose weights would be random: a renamed weight is both missing and left over."""
    computed = {name for name, _ in model.named_buffers()} - set(model.state_dict())
    missing = {name for name in report["missing_keys"] if not _COMPUTED.search(name)}
    left_over = {name for name in report["unexpected_keys"] if name not in computed and not _COMPUTED.search(name)}
    problems = [
        f"{what}: {files.few(sorted(names))}"
        for what, names in (
            ("missing", missing),
            ("of another shape", {str(entry[0]) for entry in report["mismatched_keys"]}),
            ("unknown to the model", left_over),
            ("unreadable", set(map(str, report["error_msgs"]))),
        )
        if names
    ]
    if problems:
        raise BackendError(
            f"the weights in {folder} do not fit its config.json ({'; '.join(problems)}); fetch the model again, "
            "name another revision of it (owner/name@revision), or choose another"
        )


@contextmanager
def _faults_explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except DinoxError:
        raise
    except Exception as error:
        if devices.is_about_memory(error):
            raise
        # Any exception: a broken file fails in whichever line of transformers reads it first.
        line = " ".join(str(error).split())[:300] or type(error).__name__
        raise BackendError(f"the model in {folder} does not load: {line}; {files.REMEDY}") from error
