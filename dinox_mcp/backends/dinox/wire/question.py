"""A question as the service gets it, and what it takes to read the reply."""

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
from dinox_mcp.backends.dinox.upload import Upload
from dinox_mcp.backends.dinox.wire.frames import Frames
from dinox_mcp.images.picture import Picture
from dinox_mcp.schema import DetectionRequest

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
