"""What is asked and answered on the wire, and the way back to the caller's labels and pixels."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, Field, FiniteFloat, SecretStr

from dinox_mcp import geometry
from dinox_mcp.backends.dinox.upload import shrink
from dinox_mcp.errors import InputError, ServiceError
from dinox_mcp.images.picture import Picture
from dinox_mcp.schema import Detection, DetectionRequest, Detections, Mask
from dinox_mcp.settings import Settings

MODEL = "DINO-X-1.0"
ENDPOINT = "dinox/detection"
_MAX_MASK_SIDE = 16_384
_SCORE_NOISE = 0.001


@dataclass(frozen=True)
class Job:
    """One question as the service gets it: where it goes, what it says, who pays, and what like takes as long."""

    endpoint: str
    body: bytes = field(repr=False)
    key: SecretStr
    kind: str

    @cached_property
    def question(self) -> tuple[SecretStr, str, bytes]:
        """Identify the question: equal for the same body, endpoint and key."""
        return self.key, self.endpoint, hashlib.sha256(self.body).digest()


@dataclass(frozen=True)
class Question:
    """A request body and what it takes to read the reply; sizes are (width, height) in pixels."""

    body: bytes = field(repr=False)
    labels: Mapping[str, str]
    sent: tuple[int, int]
    size: tuple[int, int]
    masks: bool

    def job(self, key: SecretStr) -> Job:
        """Address the question to the service, on a key."""
        return Job(ENDPOINT, self.body, key, f"{ENDPOINT} {'bbox+mask' if self.masks else 'bbox'}")


def ask(picture: Picture, request: DetectionRequest, settings: Settings) -> Question:
    """Put a request into the service's words. Slow: call it off the event loop.

    Raises:
        ImageError: the picture is damaged.
        InputError: a prompt has no word in it.
    """
    prompt, labels = _prompt(request.prompts)
    upload = shrink(picture, settings.upload_max_side, settings.upload_quality)
    masks = "masks" in request.include
    body: dict[str, Any] = {
        "model": MODEL,
        "image": upload.uri,
        "prompt": prompt,
        "targets": ["bbox", "mask"] if masks else ["bbox"],
        "bbox_threshold": request.min_score,
        "iou_threshold": request.iou_threshold,
    }
    if masks:
        body["mask_format"] = "coco_rle"
    return Question(
        body=json.dumps(body).encode(),
        labels=labels,
        sent=(upload.width, upload.height),
        size=(picture.width, picture.height),
        masks=masks,
    )


def read(result: Mapping[str, Any], question: Question) -> Detections:
    """Read the result of a task into detections, best first. Slow with masks: call it off the event loop.

    An object that is not understood is left out, and a mask that is not, and both are told in a note. A score
    that is missing is absent; one outside of 0 to 1 makes its object one that is not understood.

    Raises:
        ServiceError: there is no list of objects.
    """
    things = result.get("objects")
    if not isinstance(things, list):
        raise ServiceError(
            f"the DINO-X service finished without a list of objects (got {type(things).__name__}); "
            "try again, and report it to the vendor if it stays"
        )
    found, notes = [], []
    unmasked = 0
    for thing in things:
        try:
            wired = _Object.model_validate(thing)
            detection = _detection(wired, question)
        except ValueError:
            continue
        if question.masks:
            detection = detection.model_copy(update={"mask": _mask(wired.mask, question.size)})
            unmasked += detection.mask is None
        found.append(detection)
    if malformed := len(things) - len(found):
        notes.append(f"{_count(malformed)} of the reply {_was(malformed)} malformed and left out")
    if unmasked:
        notes.append(f"{_count(unmasked)} came without a mask that can be read")
    found.sort(key=lambda one: -(1.0 if one.score is None else one.score))
    return Detections(model=MODEL, objects=tuple(found), notes=tuple(notes))


class _Object(BaseModel):
    """An object of a reply: what must be there, as far as it is used."""

    category: Annotated[str, Field(min_length=1)]
    score: FiniteFloat | None = None
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    mask: Any = None


class _Mask(BaseModel):
    """A mask of a reply; its size is (height, width)."""

    counts: str
    size: tuple[Annotated[int, Field(gt=0, le=_MAX_MASK_SIDE)], Annotated[int, Field(gt=0, le=_MAX_MASK_SIDE)]]
    format: str = "coco_rle"


def _prompt(prompts: Sequence[str] | None) -> tuple[dict[str, Any], dict[str, str]]:
    """Word the prompt, and map what the service will call each label to the caller's spelling."""
    if prompts is None:
        return {"type": "universal", "universal": 1}, {}
    texts: dict[str, str] = {}
    labels: dict[str, str] = {}
    for prompt in prompts:
        text = " ".join(prompt.replace(".", " ").split())  # a full stop would end the label
        if not text:
            raise InputError(f"the prompt {prompt!r:.80} has no word in it; name what to look for, as in 'red car'")
        texts.setdefault(_fold(text), text)
        labels.setdefault(_fold(text), prompt)
    if not texts:
        raise InputError("prompts is empty; name what to look for, or leave it out to find everything")
    return {"type": "text", "text": ".".join(texts.values())}, labels


def _detection(wired: _Object, question: Question) -> Detection:
    """Bring an object back to the caller's pixels and spelling.

    Raises:
        ValueError: the box is empty or outside of the picture, or the score is none.
    """
    (sent_width, sent_height), (width, height) = question.sent, question.size
    bbox = geometry.clip(geometry.scale(wired.bbox, width / sent_width, height / sent_height), width, height)
    if geometry.area(bbox) <= 0:
        raise ValueError("an empty box")
    score = wired.score
    if score is not None and -_SCORE_NOISE <= score <= 1 + _SCORE_NOISE:
        score = min(max(score, 0.0), 1.0)
    return Detection(label=question.labels.get(_fold(wired.category), wired.category), bbox=bbox, score=score)


def _mask(wired: Any, size: tuple[int, int]) -> Mask | None:  # noqa: ANN401 - whatever the service sent
    """Bring a mask back to the caller's pixels; None where it is missing or not one."""
    from dinox_mcp import masks

    try:
        mask = _Mask.model_validate(wired)
        if mask.format != "coco_rle":
            return None
        return masks.resize(Mask(size=mask.size, counts=mask.counts), *size)
    except ValueError:
        return None


def _fold(label: str) -> str:
    return " ".join(label.casefold().split())


def _count(number: int) -> str:
    return "1 object" if number == 1 else f"{number} objects"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"
