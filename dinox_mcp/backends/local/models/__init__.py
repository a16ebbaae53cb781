"""Model families by the `model_type` of a checkpoint: detectors, describers and followers, imported when used."""

from importlib import import_module
from typing import TYPE_CHECKING, cast

from dinox_mcp.backends.local.checkpoints.presets import Role, variable
from dinox_mcp.errors import UnsupportedError

if TYPE_CHECKING:
    from dinox_mcp.backends.local.models.interfaces import Describer, Family, Follower


FAMILIES = {
    "owlvit": "owl",
    "owlv2": "owl",
    "grounding-dino": "grounding_dino",
    "mm-grounding-dino": "grounding_dino",
    "omdet-turbo": "omdet",
    "sam3": "sam3",
    "sam3_video": "sam3",  # the published checkpoint: this detector, and a tracker that is left out
}


def family_of(model_type: str) -> "Family":
    """Import the family of a checkpoint.

    Raises:
        UnsupportedError: there is none for this `model_type`.
    """
    if model_type not in FAMILIES:
        raise UnsupportedError(
            f"the local backend cannot run models of type {model_type!r}; choose one of {', '.join(sorted(FAMILIES))}"
        )
    return cast("Family", import_module(f"{__name__}.{FAMILIES[model_type]}"))


DESCRIBERS: dict[str, tuple[Role, str]] = {
    "sam2": ("masks", "sam2"),
    "sam2_video": ("masks", "sam2"),  # the published checkpoints: this model, and a memory that is left out
    "vitpose": ("pose", "vitpose"),
    "florence2": ("caption", "florence2"),
}
"""The role and the module of each `model_type` in a checkpoint's configuration."""
WITHOUT_TEXT = frozenset(DESCRIBERS) - {"florence2"}
"""Those that need no vocabulary."""


def describer_family(model_type: str, role: Role | None) -> "Family[Describer]":
    """Import the family of a checkpoint; a `role` of None is any.

    Raises:
        UnsupportedError: there is none for this `model_type`, or it is for another role.
    """
    for known, (purpose, module) in DESCRIBERS.items():
        if known == model_type and role in {None, purpose}:
            return cast("Family[Describer]", import_module(f"{__name__}.{module}"))
    suited = sorted(known for known, (purpose, _) in DESCRIBERS.items() if role in {None, purpose})
    raise UnsupportedError(
        f"models of type {model_type!r} cannot be used for {role or 'anything'}; choose {' or '.join(suited)} "
        f"for {variable(role)}"
    )


def refuse_as_detector(model_type: str) -> None:
    """Raise UnsupportedError if a model of this type describes boxes and so finds nothing by itself."""
    if model_type in DESCRIBERS:
        role, _ = DESCRIBERS[model_type]
        raise UnsupportedError(
            f"models of type {model_type!r} find no objects, they are for {role}: name it in {variable(role)}, and in "
            "DINOX_MCP_MODEL one that finds, such as balanced"
        )


FOLLOWERS = {"sam2_video": "sam2_video"}
"""The module of each `model_type` in a checkpoint's configuration."""


def follower_family(model_type: str) -> "Family[Follower]":
    """Import the family of a checkpoint.

    Raises:
        UnsupportedError: there is none for this `model_type`.
    """
    if module := FOLLOWERS.get(model_type):
        return cast("Family[Follower]", import_module(f"{__name__}.{module}"))
    raise UnsupportedError(
        f"models of type {model_type!r} remember nothing from frame to frame, so that they give no masks of a video; "
        f"choose one of type {' or '.join(FAMILIES)}, such as sam2.1-tiny, for {variable('masks')}"
    )
