"""Which model is meant: a preset, a repository of the hub, or a folder."""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dinox_mcp.errors import SettingsError

DeviceKind = Literal["cpu", "cuda", "mps"]

_REPOSITORY = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True, slots=True)
class Preset:
    """A model that this project recommends, and what is known of it.

    `accuracy` is what its authors published (nothing of it was measured here); `cost` is what a first question
    about a picture took on two CPU cores, tuned and in float32.
    """

    repo: str
    licence: str
    megabytes: int
    good_for: str
    accuracy: str
    cost: str
    masks: bool = False
    gated: bool = False


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model's files come from: `folder`, or else `repo` at `revision` (None is the newest)."""

    repo: str | None = None
    revision: str | None = None
    folder: Path | None = None

    @property
    def name(self) -> str:
        """What the model is called where no commit is known."""
        if self.folder is not None:
            return self.folder.name
        return f"{self.repo}@{self.revision[:7]}" if self.revision else str(self.repo)


PRESETS = {
    "balanced": Preset(
        repo="google/owlv2-base-patch16-ensemble",
        licence="Apache-2.0",
        megabytes=620,
        good_for="the default on a CPU: labels, and everything without labels, from one look at a picture",
        accuracy="no figure at hand (the large model of its kind: COCO 46.1 AP)",
        cost="3.2 s; later questions about the same picture take milliseconds",
    ),
    "fast": Preset(
        repo="google/owlvit-base-patch32",
        licence="Apache-2.0",
        megabytes=613,
        good_for="slow machines and many pictures",
        accuracy="LVIS 19.3 AP",
        cost="0.4 s; later questions about the same picture take milliseconds",
    ),
    "accurate": Preset(
        repo="iSEE-Laboratory/llmdet_tiny",
        licence="Apache-2.0",
        megabytes=690,
        good_for="precise boxes and phrases such as 'man in a red shirt'",
        accuracy="LVIS minival 44.7 AP (rare 37.3)",
        cost="3.0 s; each later question 2 to 3 s",
    ),
    "accurate-base": Preset(
        repo="iSEE-Laboratory/llmdet_base",
        licence="Apache-2.0",
        megabytes=930,
        good_for="the same with a larger model: what 'accurate' means on a GPU, and the default there",
        accuracy="LVIS minival 48.3 AP (rare 40.8)",
        cost="5.0 s",
    ),
    "accurate-large": Preset(
        repo="iSEE-Laboratory/llmdet_large",
        licence="Apache-2.0",
        megabytes=1370,
        good_for="the same with the largest model, on a GPU",
        accuracy="LVIS minival 51.1 AP (rare 45.1)",
        cost="not measured",
    ),
    "sam3": Preset(
        repo="facebook/sam3",
        licence="SAM licence",
        megabytes=3400,
        good_for="masks; one label at a time, so it wants a GPU and few labels",
        accuracy="COCO 56.4 AP, LVIS 53.6 AP",
        cost="16 s, and 1.6 s more for each label",
        masks=True,
        gated=True,
    ),
}


def resolve(name: str | None, device: DeviceKind) -> ModelSource:
    """Find out what a model's name means on a device; None is the device's default.

    A name is a preset, an existing folder, or a repository of the hub, which `@` pins to a commit, tag or branch.

    Raises:
        SettingsError: it is none of these.
    """
    name = (name or "").strip() or ("accurate" if device == "cuda" else "balanced")
    preset = preset_of(name, device)
    if preset is not None:
        return ModelSource(repo=preset.repo)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return ModelSource(folder=folder.resolve())
    match = _REPOSITORY.fullmatch(name)
    if match:
        return ModelSource(repo=match["repo"], revision=match["revision"])
    close = difflib.get_close_matches(name, PRESETS, n=1)
    raise SettingsError(
        f"DINOX_MCP_MODEL: {name!r} is no model"
        + (f"; did you mean {close[0]}?" if close else "")
        + f"; choose one of {', '.join(PRESETS)}, a repository of the hub as owner/name or owner/name@revision, "
        "or a folder that exists"
    )


def preset_of(name: str, device: DeviceKind) -> Preset | None:
    """Give the preset of a name, or None; `accurate` affords a larger model on a GPU."""
    return PRESETS.get("accurate-base" if name == "accurate" and device == "cuda" else name)
