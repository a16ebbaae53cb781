"""What models can tell of given boxes: masks, poses, captions; each family is imported when it is used."""

from importlib import import_module
from typing import TYPE_CHECKING, cast

from dinox_mcp.backends.local.presets import Role, variable
from dinox_mcp.errors import UnsupportedError

if TYPE_CHECKING:
    from dinox_mcp.backends.local.describing.base import Describer
    from dinox_mcp.backends.local.model import Family

FAMILIES: dict[str, tuple[Role, str]] = {
    "sam2": ("masks", "masks"),
    "sam2_video": ("masks", "masks"),  # the published checkpoints: this model, and a memory that is left out
    "vitpose": ("pose", "poses"),
    "florence2": ("caption", "captions"),
}
"""The role and the module of each `model_type` in a checkpoint's configuration."""
WITHOUT_TEXT = frozenset(FAMILIES) - {"florence2"}
"""Those that need no vocabulary."""


def family_of(model_type: str, role: Role | None) -> "Family[Describer]":
    """Import the family of a checkpoint; a `role` of None is any.

    Raises:
        UnsupportedError: there is none for this `model_type`, or it is for another role.
    """
    for known, (purpose, module) in FAMILIES.items():
        if known == model_type and role in {None, purpose}:
            return cast("Family[Describer]", import_module(f"{__name__}.{module}"))
    suited = sorted(known for known, (purpose, _) in FAMILIES.items() if role in {None, purpose})
    raise UnsupportedError(
        f"models of type {model_type!r} cannot be used for {role or 'anything'}; choose {' or '.join(suited)} "
        f"for {variable(role)}"
    )


def refuse_as_detector(model_type: str) -> None:
    """Raise UnsupportedError if a model of this type describes boxes and so finds nothing by itself."""
    if model_type in FAMILIES:
        role, _ = FAMILIES[model_type]
        raise UnsupportedError(
            f"models of type {model_type!r} find no objects, they are for {role}: name it in {variable(role)}, and in "
            "DINOX_MCP_MODEL one that finds, such as balanced"
        )
