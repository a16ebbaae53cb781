"""Model families, by the `model_type` in a checkpoint's configuration; a family is imported when it is used."""

from importlib import import_module
from typing import TYPE_CHECKING, cast

from dinox_mcp.errors import UnsupportedError

if TYPE_CHECKING:
    from dinox_mcp.backends.local.model import Family

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
