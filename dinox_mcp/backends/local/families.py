"""The families of models: what each is for, can do, and where its code is. Known without torch and the network.

A family is recognised by the `model_type` of a checkpoint, or before it is on this machine by its name. A name that
reveals nothing is taken for a detector of labels; what it is shows when it is loaded, and is checked then.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dinox_mcp.backends import local
from dinox_mcp.backends.base import Capabilities
from dinox_mcp.backends.local import kinds, models
from dinox_mcp.backends.local.checkpoints.presets import PRESETS, ModelSource, Role, default_model, resolve, variable
from dinox_mcp.errors import InputError, SettingsError, UnsupportedError
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import Need, Output

if TYPE_CHECKING:
    from dinox_mcp.backends.local.models.base import TorchModel

LABELS: frozenset[Need] = frozenset({"text prompts", "prompt-free detection"})
_OF_LABELS = Capabilities(answers=LABELS)


@dataclass(frozen=True, slots=True)
class Family:
    """A family of models.

    Attributes:
        code: Its class in torch, as "module:class".
        graph: Its class in ONNX Runtime, if there are graphs of it.
        faster_in_torch: Whether it is slower in ONNX Runtime than in torch on a CPU, where both are at hand.
        role: What its models are for.
        capabilities: What its models can do, if they find objects.
        repositories: Parts of the names of published models, by which they are recognised before they are here.
        reads_text: Whether it needs a vocabulary.
        follower: The class that follows objects through a video with the same checkpoint.
    """

    code: str
    graph: str = ""
    faster_in_torch: bool = False
    role: Role = "objects"
    capabilities: Capabilities = _OF_LABELS
    repositories: tuple[str, ...] = ()
    reads_text: bool = True
    follower: str = ""

    def load_torch_class(self, *, follows: bool = False) -> "type[TorchModel]":
        """Import the class that runs in torch, or that of the `follower`."""
        module, _, name = (self.follower if follows else self.code).partition(":")
        return cast("type[TorchModel]", getattr(import_module(f"{models.__name__}.{module}"), name))

    def load_graph_class(self) -> "Callable[..., Any]":
        """Import the class that runs without torch; it takes an `Architecture`, a folder, and keyword arguments."""
        module, _, name = self.graph.partition(":")
        return cast("Callable[..., Any]", getattr(import_module(f"{models.__name__}.{module}"), name))

    def has(self, repository: str) -> bool:
        """Return whether a repository has a model of this family, by its name."""
        return any(part in repository.lower() for part in self.repositories)


_UNKNOWN = Family("")
OWL = Family(
    "owl_torch:Owl",
    graph="owl:OwlGraph",
    capabilities=Capabilities(
        answers=LABELS
        | {"examples", "points as examples", "negative examples", "examples in other images", "saved prompts"}
    ),
    repositories=("owlv2", "owlvit", "owl-vit"),
)
GROUNDING_DINO = Family(
    "grounding_torch:GroundingDino",
    graph="grounding:GroundingDinoGraph",
    faster_in_torch=True,
    capabilities=Capabilities(answers=LABELS | {"descriptions"}),
    repositories=("grounding-dino", "grounding_dino", "groundingdino", "llmdet"),
)
OMDET = Family("omdet:OmDet", repositories=("omdet",))
SAM3 = Family(
    "sam3:Sam3",
    # One label takes it seconds, so it is not given the thousand of prompt-free detection.
    capabilities=Capabilities(
        answers=frozenset({"text prompts", "examples", "negative examples"}), outputs=frozenset({"masks"})
    ),
    repositories=("sam3",),
)
D_FINE = Family(
    "dfine_torch:DFine",
    graph="dfine:DFineGraph",
    # Its authors' own tool draws what scores this much.
    capabilities=Capabilities(answers=LABELS, min_score=0.4),
    repositories=("dfine", "d-fine", "d_fine"),
    reads_text=False,
)
FAMILIES: dict[str, Family] = {
    "owlvit": OWL,
    "owlv2": OWL,
    "grounding-dino": GROUNDING_DINO,
    "mm-grounding-dino": GROUNDING_DINO,
    "omdet-turbo": OMDET,
    "d_fine": D_FINE,
    "sam3": SAM3,
    "sam3_video": SAM3,  # the published checkpoint: this detector, and a tracker that is left out
    "sam2": Family("sam2_torch:Sam2", graph="sam2:Sam2Graph", role="masks", reads_text=False),
    # The published checkpoints: the model for images, and the memory for videos around it.
    "sam2_video": Family(
        "sam2_torch:Sam2",
        graph="sam2:Sam2Graph",
        role="masks",
        reads_text=False,
        follower="sam2_torch:Sam2Video",
    ),
    "vitpose": Family("regions:VitPose", role="pose", reads_text=False),
    "florence2": Family("regions:Florence2", role="caption"),
}


def find(model_type: str, role: Role | None = "objects", *, follows: bool = False) -> Family:
    """Return the family of a checkpoint.

    Args:
        model_type: As in the `config.json` of the checkpoint.
        role: What the model is to be used for; None for anything.
        follows: Whether it is to follow objects through a video.

    Raises:
        UnsupportedError: there is no such family, or it is for another use.
    """
    family = FAMILIES.get(model_type)
    if family and role in {None, family.role} and (family.follower or not follows):
        return family
    if follows:
        suited = " or ".join(kind for kind, one in FAMILIES.items() if one.follower)
        raise UnsupportedError(
            f"models of type {model_type!r} remember nothing from frame to frame, so that they give no masks of a "
            f"video; choose one of type {suited}, such as sam2.1-tiny, for {variable(role)}"
        )
    if family and role == "objects":
        raise UnsupportedError(
            f"models of type {model_type!r} find no objects, they are for {family.role}; name it in "
            f"{variable(family.role)}, and in DINOX_MCP_MODEL one that finds, such as balanced"
        )
    suited = ", ".join(sorted(kind for kind, one in FAMILIES.items() if one.role == (role or "objects")))
    if role in {None, "objects"}:
        raise UnsupportedError(f"the local backend cannot run models of type {model_type!r}; choose one of {suited}")
    raise UnsupportedError(
        f"models of type {model_type!r} cannot be used for {role}; choose {suited.replace(', ', ' or ')} for "
        f"{variable(role)}"
    )


def of_type(model_type: str, labels: tuple[str, ...] | None = None) -> Capabilities:
    """Return what the models can do whose `config.json` has this `model_type`, and which know only these labels."""
    return replace(FAMILIES.get(model_type, _UNKNOWN).capabilities, labels=labels)


def likely_type(repository: str) -> str:
    """Return the `model_type` that a repository of the hub has, as far as its name shows; "" if it does not."""
    return next((model_type for model_type, family in FAMILIES.items() if family.has(repository)), "")


def of_name(name: str | None, settings: Settings, cache: Path | None = None) -> Capabilities:
    """Return what a model can do.

    Args:
        name: The model; None for the default.
        settings: The settings.
        cache: The cache of the hub; None for the usual one.

    Raises:
        InputError: a caller gave the name, and there is no such model.
    """
    try:
        source = resolve(name or default_model(settings), "cpu")
    except SettingsError as error:
        if name is None:  # the first request reports it, with the variable's name
            return _UNKNOWN.capabilities
        raise InputError(f"model: {str(error).partition(': ')[2]}") from None
    preset = next((preset for preset in PRESETS.values() if preset.repo == source.repo), None)
    config = {} if preset else _config(source.folder / "config.json" if source.folder else _cached(source, cache))
    if config:
        model_type = str(config.get("model_type"))
        labels = tuple(kinds.labels_in(config).values())
        return of_type(model_type, labels if FAMILIES.get(model_type) == D_FINE else None)
    family = next((family for family in FAMILIES.values() if family.has(str(source.repo))), _UNKNOWN)
    return replace(family.capabilities, labels=kinds.of_data_set(preset.kinds) if preset else None)


def require(able: Capabilities, model: str, needs: frozenset[Need], include: frozenset[Output]) -> None:
    """Check that a loaded model can do what a request needs, whatever its name promised.

    Raises:
        UnsupportedError: it cannot; the message names models that can.
    """
    if unmet := needs - able.answers:
        can = _remedy(lambda family: needs <= family.capabilities.answers)
        raise UnsupportedError(f"the model {model} cannot do {' and '.join(sorted(unmet))}; {can}")
    if missing := include - able.outputs:
        can = _remedy(lambda family: include <= family.capabilities.outputs)
        raise UnsupportedError(
            f"the model {model} has no {' and '.join(sorted(missing))}; leave them out of `include`, or {can}"
        )


def _remedy(suits: Callable[[Family], bool]) -> str:
    """Name presets of the families that suit."""
    suited = [family for family in FAMILIES.values() if suits(family)]
    names = [name for name, preset in PRESETS.items() if any(family.has(preset.repo) for family in suited)]
    if not names:
        return "let another backend answer (DINOX_MCP_BACKEND=auto)"
    return f"choose the model {' or '.join(names[:2])} (DINOX_MCP_MODEL={names[0]})"


def _config(path: Path | None) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8")) if path else None
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _cached(source: ModelSource, cache: Path | None) -> Path | None:
    """Find the configuration of a model of the hub, if it is on this machine."""
    local.disable_telemetry()
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:  # the extra is not installed
        return None
    found = try_to_load_from_cache(str(source.repo), "config.json", cache_dir=cache, revision=source.revision)
    return Path(found) if isinstance(found, str) else None
