"""Checks the files of a model in a folder and loads it, with every weight or not at all."""

import json
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from dinox_mcp.backends import local
from dinox_mcp.backends.local import models
from dinox_mcp.backends.local.checkpoints import device as devices
from dinox_mcp.backends.local.checkpoints.presets import Role, smaller
from dinox_mcp.errors import BackendError, DinoxError, UnsupportedError

if TYPE_CHECKING:
    from dinox_mcp.backends.local.checkpoints.device import Device
    from dinox_mcp.backends.local.models import Family
    from dinox_mcp.backends.local.models.base import ImageModel

_CONFIG = "config.json"
_REMEDY = "get it anew (for a model of the hub, 'dinox-mcp pull' with its name repairs it)"
_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_VOCABULARIES = ({"tokenizer.json"}, {"vocab.txt"}, {"vocab.json", "merges.txt"})  # without, there'd be an empty one
_PREPROCESSORS = {"preprocessor_config.json", "processor_config.json"}
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")

# Buffers that older releases of transformers saved and newer ones compute; they hold no knowledge.
_COMPUTED = re.compile(r"(^|\.)(position_ids|relative_position_index|num_batches_tracked)$")

# A configuration describes layers. These would choose code that runs, fetched from the hub even, or other weights.
_CHOOSES_CODE = re.compile(
    r"_?(attn|experts)_implementation.*|auto_map|.*kernel_config|use_kernels|fusion_config|transformers_weights"
)
_QUANTIZED = ("quantization_config", "compression_config")

_SHOWN = 3

# transformers sets torch's default precision while it builds a model: two at once would disturb each other.
_loading = Lock()


def load(folder: Path, device: "Device", role: Role = "objects", *, follows: bool = False) -> "ImageModel":
    """Load the model in a folder onto a device; takes seconds.

    Only safetensors are read and no code of the checkpoint runs. Every weight of the model comes from the
    checkpoint, or there is no model.

    Args:
        folder: The folder of its checkpoint.
        device: Where and how precisely it computes.
        role: What it is used for.
        follows: Whether it is to follow objects through a video.

    Raises:
        UnsupportedError: its architecture or file format is not supported.
        BackendError: files are missing or broken, or memory ran out.
    """
    local.require_installed()
    kind = family(folder, role, follows=follows).load_class(follows=follows)
    require_files(str(folder), {path.name for path in folder.iterdir()}, reads_text=reads_text(folder))
    weight_files(folder)
    with devices.memory_explained(device, smaller(role)), _loading:
        model = _load_model(folder, kind, device)
        with _faults_explained(folder):
            return kind(model, folder, device.dtype)


def is_complete(folder: Path) -> bool:
    """Return whether a folder holds all files that a model needs; a broken link counts as missing."""
    try:
        names = {path.name for path in folder.iterdir() if path.is_file()}
        require_files(str(folder), names, reads_text=reads_text(folder))
        return bool(weight_files(folder))
    except BackendError:
        return False


def family(folder: Path, role: Role | None = "objects", *, follows: bool = False) -> "Family":
    """Return the family of the model in a folder, without importing torch or transformers.

    Raises:
        UnsupportedError: there is none for it, or it is for another role; None is any.
        BackendError: the folder has no readable configuration.
    """
    return models.find(_model_type(folder), role, follows=follows)


def reads_text(folder: Path) -> bool:
    """Return whether the model in a folder needs a vocabulary; if in doubt it does."""
    try:
        known = models.FAMILIES.get(_model_type(folder))
    except BackendError:
        return True
    return known is None or known.reads_text


def weight_files(folder: Path, names: Collection[str] | None = None) -> list[str]:
    """Return the names of the files that hold a model's weights: one, or the shards that its index lists.

    `names` are the files that the repository has; None for those in the folder.

    Raises:
        BackendError: the index is broken, or one of them is missing.
    """
    present = {path.name for path in folder.iterdir() if path.is_file()} if names is None else names
    if _WEIGHTS in present or _INDEX not in present:
        shards = {_WEIGHTS}
    else:
        index = _read(folder / _INDEX).get("weight_map")
        shards = set(map(str, index.values())) if isinstance(index, dict) else set()
        if not shards or any(Path(shard).name != shard for shard in shards):
            raise BackendError(f"{folder / _INDEX} lists no weights; {_REMEDY}")
    missing = sorted(shards - set(present))
    if missing:
        raise BackendError(f"{folder} lacks {few(missing)}; {_REMEDY}")
    return sorted(shards)


def require_files(subject: str, names: Iterable[str], *, reads_text: bool = True) -> None:
    """Raise UnsupportedError unless these files, by name, are a transformers model with safetensors.

    One that `reads_text` must have a vocabulary.
    """
    names = set(names)
    if _CONFIG not in names:
        raise UnsupportedError(
            f"{subject} has no config.json, so it is not a transformers model; choose a preset, a repository or a "
            "folder that has one"
        )
    if reads_text and not any(vocabulary <= names for vocabulary in _VOCABULARIES):
        raise UnsupportedError(
            f"{subject} has no vocabulary (tokenizer.json), so it is not a model that reads or writes; choose another"
        )
    if not names & _PREPROCESSORS:
        raise UnsupportedError(
            f"{subject} has no preprocessor_config.json, so its input size is unknown; choose another"
        )
    if names & {_WEIGHTS, _INDEX}:
        return
    pickles = sorted(name for name in names if name.endswith(_PICKLES))
    if pickles:
        raise UnsupportedError(
            f"{subject} has its weights only as {few(pickles)}; such files can run code and are not loaded: choose a "
            "model with model.safetensors, or convert it (save_pretrained of transformers)"
        )
    raise UnsupportedError(f"{subject} has no weights (model.safetensors); choose another model")


def _load_model(folder: Path, kind: "type[ImageModel]", device: "Device") -> Any:  # noqa: ANN401 - one of many classes
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
    config = _read(folder / _CONFIG)
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
        (Path(folder) / _CONFIG).write_text(json.dumps(described), encoding="utf-8")
        return architecture.config_class.from_pretrained(folder, local_files_only=True)


def _refuse_gaps(folder: Path, model: Any, report: dict[str, Any]) -> None:  # noqa: ANN401
    """Refuse a model some of whose weights would be random: a renamed weight is both missing and left over."""
    computed = {name for name, _ in model.named_buffers()} - set(model.state_dict())
    missing = {name for name in report["missing_keys"] if not _COMPUTED.search(name)}
    left_over = {name for name in report["unexpected_keys"] if name not in computed and not _COMPUTED.search(name)}
    problems = [
        f"{what}: {few(sorted(names))}"
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
        raise BackendError(f"the model in {folder} does not load: {line}; {_REMEDY}") from error


def _model_type(folder: Path) -> str:
    return str(_read(folder / _CONFIG).get("model_type"))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UnsupportedError(f"{path.parent} has no {path.name}, so it is not a transformers model") from None
    except (OSError, ValueError) as error:
        raise BackendError(f"{path} cannot be read ({error}); {_REMEDY}") from error
    if not isinstance(content, dict):
        raise BackendError(f"{path} is not a JSON object; {_REMEDY}")
    return content


def few(names: Collection[str]) -> str:
    """List the first few names."""
    listed = ", ".join(list(names)[:_SHOWN])
    return f"{listed} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else listed
