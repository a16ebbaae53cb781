"""The models of the cloud: what each can do, its endpoint, and how users spell its name."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from dinox_mcp.backends.base import Capabilities
from dinox_mcp.errors import InputError, UnsupportedError
from dinox_mcp.types.detection import DetectionRequest, Need, Output

DESCRIBES: frozenset[Output] = frozenset({"caption", "category", "text"})
"""What DINO-X can add to given boxes, whichever model found them."""
_EXAMPLES: frozenset[Need] = frozenset({"examples", "points as examples", "examples in other images", "saved prompts"})


@dataclass(frozen=True, slots=True)
class CloudModel:
    """A model of the service: its name there, its endpoint, and the long side in pixels to which it shrinks images.

    `spellings` are other names for it, in lower case, without hyphens, dots and spaces. A model with
    `takes_thresholds=False` is sent no thresholds, as in all samples of the vendor; its detections are filtered here.
    """

    name: str
    endpoint: str
    about: str
    spellings: tuple[str, ...]
    answers: frozenset[Need] = frozenset({"text prompts"})
    outputs: frozenset[Output] = frozenset()
    max_side: int = 1536
    takes_thresholds: bool = True

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return Capabilities(self.answers, self.outputs, DESCRIBES)


DINO_X = CloudModel(
    "DINO-X-1.0",
    "dinox/detection",
    "any noun, or everything without a prompt; masks, body poses and hands",
    ("dinox", "dinox1"),
    answers=frozenset({"text prompts", "prompt-free detection"}),
    outputs=frozenset({"masks", "pose", "hands"}),
)
T_REX = CloudModel(
    "T-Rex-2.0",
    "trex/detection",
    "more like these: boxes, points and saved prompts as examples, also from other images",
    ("trex", "trex2"),
    answers=_EXAMPLES,
    max_side=1333,
    takes_thresholds=False,
)
XSEEK = CloudModel(
    "DINO-XSeek-1.0",
    "dino_xseek/detection",
    "what a sentence describes, distinguished from others like it",
    ("xseek", "xseek1", "xseek10", "dinoxseek", "dinoxseek1"),
    answers=frozenset({"descriptions"}),
)


def _grounding_dino(version: str, size: str, about: str, *more: str) -> CloudModel:
    short = f"{version.replace('.', '')}{size.lower()}"
    return CloudModel(
        f"GroundingDino-{version}-{size}", "grounding_dino/detection", about, (f"gdino{short}", f"gd{short}", *more)
    )


MODELS = (
    DINO_X,
    _grounding_dino("1.6", "Pro", "any noun, boxes only", "groundingdino", "groundingdino16"),
    _grounding_dino("1.6", "Edge", "any noun, boxes only; smaller and faster"),
    _grounding_dino("1.5", "Pro", "any noun, boxes only; before 1.6", "groundingdino15"),
    _grounding_dino("1.5", "Edge", "any noun, boxes only; smaller and faster, before 1.6"),
    T_REX,
    XSEEK,
)
"""All models, the default first."""
ALL = Capabilities(
    answers=frozenset().union(*(model.answers for model in MODELS)),
    outputs=frozenset().union(*(model.outputs for model in MODELS)),
    describes=DESCRIBES,
)
"""What can be done if no model is named, as the request decides which one answers."""


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


_BY_SPELLING = {spelling: model for model in MODELS for spelling in (_plain(model.name), *model.spellings)}


def find(name: str) -> CloudModel:
    """Find a model by its name, in any case and with or without hyphens and dots.

    Raises:
        InputError: there is no such model; the message names all.
    """
    model = _BY_SPELLING.get(_plain(name))
    if model is None:
        choices = ", ".join(known.name for known in MODELS)
        raise InputError(f"the backend dinox has no model {name!r:.80}; choose {choices}")
    return model


def choose(request: DetectionRequest) -> CloudModel:
    """Choose the model for a request: the named one, or else the first that can answer it.

    Raises:
        InputError: there is no model of that name.
        UnsupportedError: it cannot answer this request, or not with these outputs.
    """
    able = [model for model in MODELS if request.needs <= model.answers]
    model = find(request.model) if request.model is not None else next(iter(able), None)
    if model is None:
        raise _cannot("the backend dinox", request.needs - ALL.answers, "do without it")
    who = f"{model.name} of the backend dinox"
    if model not in able:
        names = ", ".join(other.name for other in able)
        raise _cannot(who, request.needs - model.answers, f"use model {names}" if names else "do without it")
    if missing := request.include - model.outputs - DESCRIBES:
        others = [
            f"{one.name} can, for {' and '.join(sorted(one.answers))}" for one in MODELS if missing <= one.outputs
        ]
        raise _cannot(who, missing, f"{'; '.join(others)}; otherwise do without it")
    return model


def _cannot(who: str, what: Iterable[str], remedy: str) -> UnsupportedError:
    return UnsupportedError(f"{who} cannot do {' and '.join(sorted(what))}; {remedy}")
