"""A request as the service gets it, and requests in words: labels, everything, or one sentence."""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID

from pydantic import SecretStr

from dinox_mcp.backends.dinox.models import CloudModel
from dinox_mcp.backends.dinox.upload import Frames, Upload
from dinox_mcp.errors import InputError
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.detection import DetectionRequest, Output

Encode = Callable[[Picture, int], Upload]
"""Makes the upload of a picture, its long side at most so many pixels."""
Labelling = Callable[[Mapping[str, Any]], str]
"""Gives the caller's label of an object of a reply; raises ValueError where it has none."""


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

    def idempotency_key(self, begun: float, number: int, window_s: float) -> str:
        """Derive the key by which the service knows a task: the same after a restart, so that nothing is paid twice.

        It depends on who pays, on the model, the picture and the request (all of them are in the body), on the
        `number` of earlier tasks of this question, and on the window of `window_s` seconds that `begun` lies in.
        """
        secret, endpoint, body = self.question
        which = f"{endpoint}\0{number}\0{int(begun // window_s)}\0".encode() + body
        digest = hmac.new(secret.get_secret_value().encode(), which, hashlib.sha256).digest()
        return UUID(bytes=digest[:16], version=4).hex


@dataclass(frozen=True)
class Question:
    """A question for objects: its body, and how to read what comes; `targets` are what is asked of each object."""

    model: CloudModel
    body: bytes = field(repr=False)
    frames: Frames
    label: Labelling
    targets: tuple[str, ...] = ("bbox",)
    min_score: float = 0.0

    def job(self, key: SecretStr) -> Job:
        """Address the question to the service, on a key."""
        kind = f"{self.model.name} {'+'.join(self.targets)}"
        return Job(self.model.endpoint, self.body, key, kind)


def write(
    model: CloudModel, upload: Upload, prompt: Mapping[str, Any], targets: Sequence[str], request: DetectionRequest
) -> bytes:
    """Write the body of a question for objects."""
    body: dict[str, Any] = {"model": model.name, "image": upload.uri, "prompt": prompt, "targets": targets}
    if model.takes_thresholds:
        body |= {"bbox_threshold": request.min_score, "iou_threshold": request.iou_threshold}
    if "mask" in targets:
        body["mask_format"] = "coco_rle"
    return json.dumps(body).encode()


_TARGETS: Mapping[Output, str] = {"masks": "mask", "pose": "pose_keypoints", "hands": "hand_keypoints"}


def ask(picture: Picture, request: DetectionRequest, model: CloudModel, encode: Encode) -> Question:
    """Put a request into the service's words. Slow: call it off the event loop.

    Raises:
        ImageError: the picture is damaged.
        InputError: a prompt or the description has no word in it.
    """
    prompt, label = _prompt(request)
    upload = encode(picture, model.max_side)
    targets = ("bbox", *(target for output, target in _TARGETS.items() if output in request.include))
    body = write(model, upload, prompt, targets, request)
    return Question(model, body, Frames.of(picture, upload), label, targets, request.min_score)


def spelled(labels: Mapping[str, str]) -> Labelling:
    """Label by category, as the caller wrote it: `labels` by what `fold` makes of them; others come as they are."""

    def label(thing: Mapping[str, Any]) -> str:
        category = thing.get("category")
        if not isinstance(category, str) or not category:
            raise ValueError("no category")
        return labels.get(fold(category), category)

    return label


def fold(label: str) -> str:
    """Leave out what the service may change in a label: case and spaces."""
    return " ".join(label.casefold().split())


def _prompt(request: DetectionRequest) -> tuple[dict[str, Any], Labelling]:
    if request.description is not None:
        return _sentence(request.description)
    if request.prompts is None:
        return {"type": "universal", "universal": 1}, spelled({})
    return _labels(request.prompts)


def _sentence(description: str) -> tuple[dict[str, Any], Labelling]:
    """Ask for what a sentence describes: whatever the service calls it is what the caller described."""
    text = " ".join(description.split())
    if not any(letter.isalnum() for letter in text):
        raise InputError(
            f"the description {description!r:.80} has no word in it; describe what is meant, as in 'the man in red'"
        )
    return {"type": "text", "text": text}, lambda _: description


def _labels(prompts: Sequence[str]) -> tuple[dict[str, Any], Labelling]:
    """Join labels, and map what the service will call each to the caller's spelling."""
    texts: dict[str, str] = {}
    labels: dict[str, str] = {}
    for prompt in prompts:
        text = " ".join(prompt.replace(".", " ").split())  # a full stop would end the label
        if not text:
            raise InputError(f"the prompt {prompt!r:.80} has no word in it; name what to look for, as in 'red car'")
        texts.setdefault(fold(text), text)
        labels.setdefault(fold(text), prompt)
    if not texts:
        raise InputError("prompts is empty; name what to look for, or leave it out to find everything")
    return {"type": "text", "text": ".".join(texts.values())}, spelled(labels)
