"""The model families by the `model_type` of a checkpoint: what each is for, can do, and where its code is."""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, cast

from dinox_mcp.backends.base import Capabilities
from dinox_mcp.backends.local.checkpoints.presets import Role, variable
from dinox_mcp.errors import UnsupportedError
from dinox_mcp.types.detection import Need

if TYPE_CHECKING:
    from dinox_mcp.backends.local.models.base import ImageModel

LABELS: frozenset[Need] = frozenset({"text prompts", "prompt-free detection"})
_OF_LABELS = Capabilities(answers=LABELS)


@dataclass(frozen=True, slots=True)
class Family:
    """A family of models.

    Attributes:
        code: Its class, as "module:class".
        role: What its models are for.
        capabilities: What its models can do, if they find objects.
        repositories: Parts of the names of published models, by which they are recognised before they are here.
        reads_text: Whether it needs a vocabulary.
        follower: The class that follows objects through a video with the same checkpoint.
    """

    code: str
    role: Role = "objects"
    capabilities: Capabilities = _OF_LABELS
    repositories: tuple[str, ...] = ()
    reads_text: bool = True
    follower: str = ""

    def load_class(self, *, follows: bool = False) -> "type[ImageModel]":
        """Import the class of the family, or of its `follower`."""
        module, _, name = (self.follower if follows else self.code).partition(":")
        return cast("type[ImageModel]", getattr(import_module(f"{__name__}.{module}"), name))


OWL = Family(
    "owl:Owl",
    capabilities=Capabilities(
        answers=LABELS
        | {"examples", "points as examples", "negative examples", "examples in other images", "saved prompts"}
    ),
    repositories=("owlv2", "owlvit", "owl-vit"),
)
GROUNDING_DINO = Family(
    "grounding_dino:GroundingDino",
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
FAMILIES: dict[str, Family] = {
    "owlvit": OWL,
    "owlv2": OWL,
    "grounding-dino": GROUNDING_DINO,
    "mm-grounding-dino": GROUNDING_DINO,
    "omdet-turbo": OMDET,
    "sam3": SAM3,
    "sam3_video": SAM3,  # the published checkpoint: this detector, and a tracker that is left out
    "sam2": Family("sam2:Sam2", role="masks", reads_text=False),
    # The published checkpoints: the model for images, and the memory for videos around it.
    "sam2_video": Family("sam2:Sam2", role="masks", reads_text=False, follower="sam2_video:Sam2Video"),
    "vitpose": Family("vitpose:VitPose", role="pose", reads_text=False),
    "florence2": Family("florence2:Florence2", role="caption"),
}


def find(model_type: str, role: Role | None = "objects", *, follows: bool = False) -> Family:
    """Return the family of a checkpoint.

    Args:
        model_type: As in the `config.json` of the checkpoint.
        role: What the model is to be used for; None for anything.
        follows: Whether it is to follow objects through a video.

    Raises:
        UnsupportedError: there is no such family, or it is for another role.
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
            f"models of type {model_type!r} find no objects, they are for {family.role}: name it in "
            f"{variable(family.role)}, and in DINOX_MCP_MODEL one that finds, such as balanced"
        )
    suited = ", ".join(sorted(kind for kind, one in FAMILIES.items() if one.role == (role or "objects")))
    if role in {None, "objects"}:
        raise UnsupportedError(f"the local backend cannot run models of type {model_type!r}; choose one of {suited}")
    raise UnsupportedError(
        f"models of type {model_type!r} cannot be used for {role}; choose {suited.replace(', ', ' or ')} for "
        f"{variable(role)}"
    )
