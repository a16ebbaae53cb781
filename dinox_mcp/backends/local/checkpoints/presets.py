"""The recommended models, and what a model's name stands for: a preset, a repository of the hub, or a folder."""

import difflib
import re
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from dinox_mcp.errors import SettingsError
from dinox_mcp.settings import Settings

DeviceKind = Literal["cpu", "cuda", "mps"]
Role = Literal["objects", "masks", "pose", "caption"]
"""What a model is for: it finds objects, or describes given boxes (the one for captions also reads text)."""

_DRIVER = Path("/dev/nvidiactl")
_REPOSITORY = re.compile(  # a revision is part of a path in the cache: without "..", and not absolute
    r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>\w[\w.-]*(/\w[\w.-]*)*))?"
)


@dataclass(frozen=True, slots=True)
class Preset:
    """A model that this project recommends, and what is known of it.

    `accuracy` is what its authors published (nothing of it was measured here); `cost` is what a first request
    about an image took on two CPU cores, tuned and in float32. One `without_torch` runs in ONNX Runtime alone.
    `revision` is the commit that is used, and `sha256` the checksum of its weights, where both could be verified. One
    that knows only the `kinds` of a data set has a closed vocabulary.
    """

    repo: str
    megabytes: int
    good_for: str
    accuracy: str = "no figure at hand"
    cost: str = "not measured"
    licence: str = "Apache-2.0"
    gated: bool = False
    without_torch: bool = False
    role: Role = "objects"
    revision: str | None = None
    sha256: str | None = None
    kinds: Literal["COCO", "Objects365"] | None = None


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model's files come from: `folder`, or else `repo` at `revision` (None is the newest).

    `role` is what it must be able to do, None anything.
    """

    repo: str | None = None
    revision: str | None = None
    folder: Path | None = None
    role: Role | None = "objects"

    @property
    def name(self) -> str:
        """What the model is called where no commit is known."""
        if self.folder is not None:
            return self.folder.name
        return f"{self.repo}@{self.revision[:7]}" if self.revision else str(self.repo)


PRESETS = {
    "balanced": Preset(
        "google/owlv2-base-patch16-ensemble",
        620,
        "the default on a CPU: labels, and everything without labels, from one pass over an image",
        accuracy="no figure at hand (the large model of its kind: COCO 46.1 AP)",
        cost="3.2 s; later requests about the same image take milliseconds",
        without_torch=True,
        # As several public projects name them that pin this model: the hub itself could not be reached.
        revision="cfd3195ba4ea9592eec887ded089f4c08eff231d",
        sha256="e1e130b9e404cf91a75ad45644c1da9d7fa5284085eecc864266a6923efb99e7",
    ),
    "fast": Preset(
        "google/owlvit-base-patch32",
        613,
        "slow machines and many images",
        accuracy="LVIS 19.3 AP",
        cost="0.4 s; later requests about the same image take milliseconds",
        without_torch=True,
    ),
    "accurate": Preset(
        "iSEE-Laboratory/llmdet_tiny",
        690,
        "precise boxes and phrases such as 'man in a red shirt'",
        accuracy="LVIS minival 44.7 AP (rare 37.3)",
        cost="3.0 s; each later request 2 to 3 s",
        without_torch=True,
    ),
    "accurate-base": Preset(
        "iSEE-Laboratory/llmdet_base",
        930,
        "the same with a larger model: what 'accurate' means on a GPU, and the default there",
        accuracy="LVIS minival 48.3 AP (rare 40.8)",
        cost="5.0 s",
    ),
    "accurate-large": Preset(
        "iSEE-Laboratory/llmdet_large",
        1370,
        "the same with the largest model, on a GPU",
        accuracy="LVIS minival 51.1 AP (rare 45.1)",
    ),
    "sam3": Preset(
        "facebook/sam3",
        3400,
        "masks; one label at a time, so it wants a GPU and few labels",
        licence="SAM licence",
        accuracy="COCO 56.4 AP, LVIS 53.6 AP",
        cost="16 s, and 1.6 s more for each label",
        gated=True,
    ),
    "dfine-small": Preset(
        "ustc-community/dfine-small-obj2coco",
        42,
        "80 kinds of things, those of COCO, and no others",
        accuracy="COCO 50.3 AP",
        cost="0.3 s of one processor; later requests about the same image take milliseconds",
        without_torch=True,
        kinds="COCO",
    ),
    "dfine-medium": Preset(
        "ustc-community/dfine-medium-obj2coco",
        79,
        "the same 80 kinds by a larger model",
        accuracy="COCO 55.0 AP",
        cost="0.5 s of one processor",
        without_torch=True,
        kinds="COCO",
    ),
    "dfine-small-o365": Preset(
        "ustc-community/dfine-small-obj365",
        43,
        "365 kinds of things, those of Objects365, such as shoes, lamps, tools, food and instruments",
        cost="0.3 s of one processor",
        without_torch=True,
        kinds="Objects365",
    ),
    "dfine-medium-o365": Preset(
        "ustc-community/dfine-medium-obj365",
        80,
        "the same 365 kinds by a larger model",
        cost="0.6 s of one processor",
        without_torch=True,
        kinds="Objects365",
    ),
}


DESCRIBING = {
    "sam2.1-tiny": Preset(
        "facebook/sam2.1-hiera-tiny",
        156,
        "the default for masks on a CPU and on Apple GPUs",
        cost="1.2 s an image, and 35 ms for each box",
        without_torch=True,
        role="masks",
    ),
    "sam2.1-base-plus": Preset(
        "facebook/sam2.1-hiera-base-plus",
        324,
        "masks with finer edges: the default for masks on an NVIDIA GPU",
        role="masks",
    ),
    "sam2.1-large": Preset(
        "facebook/sam2.1-hiera-large",
        898,
        "the finest masks, on a GPU",
        role="masks",
    ),
    "vitpose-base": Preset(
        "usyd-community/vitpose-base-simple",
        344,
        "the default for poses",
        accuracy="COCO keypoints 75.5 AP",
        cost="0.1 s for each person",
        role="pose",
    ),
    "vitpose-plus-base": Preset(
        "usyd-community/vitpose-plus-base", 502, "poses, by a model trained on more kinds of images", role="pose"
    ),
    "florence2-base": Preset(
        "florence-community/Florence-2-base",
        465,
        "the default for captions, categories and texts",
        licence="MIT",
        cost="2 s an image, and 1 s for each box and output",
        role="caption",
    ),
    "florence2-large": Preset(
        "florence-community/Florence-2-large",
        1550,
        "better captions, on a GPU",
        licence="MIT",
        role="caption",
    ),
}
"""Models that describe given boxes."""


def default(role: Role, device: DeviceKind) -> str:
    """Return the preset that is used for a role where the user chose none."""
    if role == "objects":
        return "accurate" if device == "cuda" else "balanced"
    if role == "masks":
        return "sam2.1-base-plus" if device == "cuda" else "sam2.1-tiny"
    return "vitpose-base" if role == "pose" else "florence2-base"


def default_model(settings: Settings) -> str:
    """Return the name of the model for objects that is used where a caller names none.

    Where the settings name none either, it depends on `device_kind`.
    """
    return settings.model or default("objects", device_kind(settings))


def device_kind(settings: Settings) -> DeviceKind:
    """Guess whether models run on an NVIDIA GPU: torch, which would know, takes seconds to import."""
    if settings.runtime == "onnx":
        return "cpu"
    gpu = settings.device.startswith("cuda") or (settings.device == "auto" and _has_gpu())
    return "cuda" if gpu else "cpu"


def runs_on_cpu(settings: Settings) -> bool:
    """Guess whether models run on the CPU; on a Mac, torch may have a GPU."""
    if settings.device == "auto":
        return sys.platform != "darwin" and not _has_gpu()
    return settings.device == "cpu"


def _has_gpu() -> bool:
    """Return whether there is NVIDIA's driver, and a build of torch that could use it."""
    try:
        if version("torch").endswith("+cpu"):
            return False
    except PackageNotFoundError:
        return False
    return shutil.which("nvidia-smi") is not None or _DRIVER.exists()


def chosen(settings: Settings) -> dict[Role, str | None]:
    """Return the models that settings name, by their roles."""
    return {
        "objects": settings.model,
        "masks": settings.masks_model,
        "pose": settings.pose_model,
        "caption": settings.caption_model,
    }


def variable(role: Role | None) -> str:
    """Return the environment variable that chooses a role's model."""
    return "DINOX_MCP_MODEL" if role in {None, "objects"} else f"DINOX_MCP_{str(role).upper()}_MODEL"


def smaller(role: Role) -> str:
    """Return the setting that takes the least memory."""
    return f"{variable(role)}={'fast' if role == 'objects' else default(role, 'cpu')}"


def resolve(name: str | None, device: DeviceKind, role: Role | None = "objects") -> ModelSource:
    """Return where the files of a model come from; None is the device's default for the role.

    A name is a preset, an existing folder, or a repository of the hub, which `@` pins to a commit, tag or branch.

    Raises:
        SettingsError: it is none of these.
    """
    name = (name or "").strip() or default(role or "objects", device)
    preset = preset_of(name, device)
    if preset is not None and role in {None, preset.role}:
        return ModelSource(repo=preset.repo, revision=preset.revision, role=preset.role)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return ModelSource(folder=folder.resolve(), role=role)
    match = _REPOSITORY.fullmatch(name)
    if match:
        return ModelSource(repo=match["repo"], revision=match["revision"], role=role)
    raise SettingsError(_unknown(name, role))


def preset_of(name: str, device: DeviceKind) -> Preset | None:
    """Return the preset of a name in any case, or None; on a GPU `accurate` is a larger model."""
    name = name.lower()
    if name == "accurate" and device == "cuda":
        name = "accurate-base"
    return PRESETS.get(name) or DESCRIBING.get(name)


def preset_at(source: ModelSource) -> Preset | None:
    """Return the preset whose repository and commit these are, if there is one."""
    known = (PRESETS | DESCRIBING).values()
    return next((one for one in known if (one.repo, one.revision) == (source.repo, source.revision)), None)


def _unknown(name: str, role: Role | None) -> str:
    choices = [key for key, preset in (PRESETS | DESCRIBING).items() if role in {None, preset.role}]
    close = difflib.get_close_matches(name, choices, n=1)
    other = preset_of(name, "cpu")
    return (
        f"{variable(role)}: {name!r} is not a model"
        + (f" for it but one for {variable(other.role)}" if other else "")
        + (f"; did you mean {close[0]}?" if close else "")
        + f"; choose one of {', '.join(choices)}, a repository of the hub as owner/name or owner/name@revision, "
        "or a folder that exists"
    )
