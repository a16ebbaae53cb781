"""Requests as the service gets them, and their prompts: labels, everything, or one description."""

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
"""Makes the upload of an image, its long side at most so many pixels."""
LabelReader = Callable[[Mapping[str, Any]], str]
"""Returns the caller's label for an object of a reply; raises ValueError if the object has none."""


@dataclass(frozen=True)
class ApiRequest:
    """One request as the service gets it.

    Attributes:
        endpoint: The path after `/v2/task/`.
        body: The JSON.
        key: The API key that pays.
        kind: Requests of one kind take about the same time.
    """

    endpoint: str
    body: bytes = field(repr=False)
    key: SecretStr
    kind: str

    @cached_property
    def identity(self) -> tuple[SecretStr, str, bytes]:
        """What is equal for requests of the same body, endpoint and key."""
        return self.key, self.endpoint, hashlib.sha256(self.body).digest()

    def idempotency_key(self, begun: float, number: int, window_s: float) -> str:
        """Derive the key by which the service recognizes a task: after a restart too, so that nothing is paid twice.

        It depends on the API key, the endpoint, the body (with the model, the image and the prompts), the `number` of
        earlier tasks of this request, and the window of `window_s` seconds that contains `begun`.
        """
        secret, endpoint, body = self.identity
        which = f"{endpoint}\0{number}\0{int(begun // window_s)}\0".encode() + body
        digest = hmac.new(secret.get_secret_value().encode(), which, hashlib.sha256).digest()
        return UUID(bytes=digest[:16], version=4).hex


@dataclass(frozen=True)
class ObjectRequest:
    """A request for objects: its body, and how to read the reply; `targets` are the outputs for each object."""

    model: CloudModel
    body: bytes = field(repr=False)
    frames: Frames
    label: LabelReader
    targets: tuple[str, ...] = ("bbox",)
    min_score: float = 0.0

    def with_key(self, key: SecretStr) -> ApiRequest:
        """Complete the request with the API key that pays for it."""
        kind = f"{self.model.name} {'+'.join(self.targets)}"
        return ApiRequest(self.model.endpoint, self.body, key, kind)


def write_body(
    model: CloudModel, upload: Upload, prompt: Mapping[str, Any], targets: Sequence[str], request: DetectionRequest
) -> bytes:
    """Write the body of a request for objects."""
    body: dict[str, Any] = {"model": model.name, "image": upload.uri, "prompt": prompt, "targets": targets}
    if model.takes_thresholds:
        body |= {"bbox_threshold": request.min_score, "iou_threshold": request.iou_threshold}
    if "mask" in targets:
        body["mask_format"] = "coco_rle"
    return json.dumps(body).encode()


_TARGETS: Mapping[Output, str] = {"masks": "mask", "pose": "pose_keypoints", "hands": "hand_keypoints"}


def make_request(picture: Picture, request: DetectionRequest, model: CloudModel, encode: Encode) -> ObjectRequest:
    """Make the request for prompts, for a description, or for everything. Slow: call it in a thread.

    Raises:
        ImageError: the image is damaged.
        InputError: a prompt or the description has no word in it.
    """
    prompt, label = _prompt(request)
    upload = encode(picture, model.max_side)
    targets = ("bbox", *(target for output, target in _TARGETS.items() if output in request.include))
    body = write_body(model, upload, prompt, targets, request)
    return ObjectRequest(model, body, Frames.of(picture, upload), label, targets, request.min_score)


def label_by_category(labels: Mapping[str, str]) -> LabelReader:
    """Label objects by their category, in the caller's spelling.

    `labels` maps normalized categories to labels; other categories are labels as they are.
    """

    def label(thing: Mapping[str, Any]) -> str:
        category = thing.get("category")
        if not isinstance(category, str) or not category:
            raise ValueError("no category")
        return labels.get(_normalized(category), category)

    return label


def _normalized(label: str) -> str:
    """Remove what the service may change in a label: case and spaces."""
    return " ".join(label.casefold().split())


def _prompt(request: DetectionRequest) -> tuple[dict[str, Any], LabelReader]:
    if request.description is not None:
        return _description_prompt(request.description)
    if request.prompts is None:
        return {"type": "universal", "universal": 1}, label_by_category({})
    return _text_prompt(request.prompts)


def _description_prompt(description: str) -> tuple[dict[str, Any], LabelReader]:
    """Write a description as a prompt; every object gets the description as its label."""
    text = " ".join(description.split())
    if not any(letter.isalnum() for letter in text):
        raise InputError(
            f"the description {description!r:.80} has no word in it; describe what is meant, as in 'the man in red'"
        )
    return {"type": "text", "text": text}, lambda _: description


def _text_prompt(prompts: Sequence[str]) -> tuple[dict[str, Any], LabelReader]:
    """Join prompts to one text, and map the categories of the reply to the caller's spelling."""
    texts: dict[str, str] = {}
    labels: dict[str, str] = {}
    for prompt in prompts:
        text = " ".join(prompt.replace(".", " ").split())  # a full stop would end the label
        if not text:
            raise InputError(f"the prompt {prompt!r:.80} has no word in it; name what to look for, as in 'red car'")
        texts.setdefault(_normalized(text), text)
        labels.setdefault(_normalized(text), prompt)
    if not texts:
        raise InputError("prompts is empty; name what to look for, or leave it out to find everything")
    return {"type": "text", "text": ".".join(texts.values())}, label_by_category(labels)
