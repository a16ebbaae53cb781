"""Requests as the service gets them: the image, the prompt, and how the pixels map to the original's."""

import base64
import hashlib
import hmac
import io
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import UUID

from cachetools import LRUCache
from pydantic import SecretStr

from dinox_mcp.backends.dinox.models import CloudModel
from dinox_mcp.errors import InputError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import MiB
from dinox_mcp.types import boxes
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import DetectionRequest, Output

if TYPE_CHECKING:
    from PIL import Image


MAX_BASE64 = 496_000
"""The most characters of an image in a request, so that the request stays below 500,000 bytes."""
USUAL_SIDE = 1536
"""The long side in pixels to which the service shrinks images before it detects objects."""
MAX_BASE64_LARGE = 12_000_000
"""The most characters of an image that is sent larger than that, so that small text in it can be read."""
LOWEST_QUALITY = 60
_QUALITY_STEP = 6
_PIXELS_ONLY = {"APP0", "APP14"}
"""Markers of a JPEG that only say how to read its pixels, nothing of location, time or camera: JFIF and Adobe."""


@dataclass(frozen=True)
class Upload:
    """A JPEG as a data: URI, and its size in pixels."""

    uri: str = field(repr=False)
    width: int
    height: int


class Uploads:
    """A cache of uploads, of at most `max_bytes`, so that each image is shrunk and encoded once.

    The service cannot refer to an image that it was sent before: every task carries its images anew. The detection
    of objects and their description share an upload from here.
    """

    def __init__(self, max_bytes: int = 8 * MiB) -> None:
        self._kept: LRUCache[tuple[str, int, int], Upload] = LRUCache(max_bytes, getsizeof=lambda one: len(one.uri))
        self._lock = threading.Lock()

    def get(self, picture: Picture, max_side: int, quality: int) -> Upload:
        """Return the upload of an image, see `shrink`. Slow: call it in a thread."""
        key = picture.digest, min(max_side, max(picture.width, picture.height)), quality
        with self._lock:
            upload = self._kept.get(key)
        if upload is None:
            upload = shrink(picture, max_side, quality)
            with self._lock:
                if len(upload.uri) <= self._kept.maxsize:
                    self._kept[key] = upload
        return upload


def shrink(picture: Picture, max_side: int, quality: int) -> Upload:
    """Make a JPEG with a long side of at most `max_side` pixels, at a lower quality if that is needed to keep it small.

    The lowest quality is 60. A small JPEG is sent as it is if it is upright, has no metadata, and would be larger if
    it were encoded again. Slow: call it in a thread.
    """
    rgb = picture.rgb(max_side)
    data = _encode(rgb, quality)
    most = MAX_BASE64 if max(rgb.size) <= USUAL_SIDE else MAX_BASE64_LARGE
    while len(data) * 4 / 3 > most and quality > LOWEST_QUALITY:
        quality = max(quality - _QUALITY_STEP, LOWEST_QUALITY)
        data = _encode(rgb, quality)
    if len(picture.data) < len(data) and rgb.size == (picture.width, picture.height) and _is_plain(picture):
        data = picture.data
    return Upload(f"data:image/jpeg;base64,{base64.b64encode(data).decode()}", *rgb.size)


def _encode(rgb: "Image.Image", quality: int) -> bytes:
    buffer = io.BytesIO()
    rgb.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _is_plain(picture: Picture) -> bool:
    """Return whether the bytes are an RGB JPEG without EXIF, so without rotation, location and time."""
    if picture.format != "JPEG" or picture.notes:  # a truncated one is encoded again
        return False
    from PIL import Image

    with Image.open(io.BytesIO(picture.data), formats=["JPEG"]) as image:
        return image.mode == "RGB" and {marker for marker, _ in getattr(image, "applist", ())} <= _PIXELS_ONLY


@dataclass(frozen=True, slots=True)
class Frames:
    """Maps boxes between the pixels of an image and of its upload; sizes are (width, height) in pixels."""

    size: tuple[int, int]
    sent: tuple[int, int]

    @classmethod
    def of(cls, picture: Picture, upload: Upload) -> "Frames":
        """Take the sizes of an image and its upload."""
        return cls((picture.width, picture.height), (upload.width, upload.height))

    @property
    def factors(self) -> tuple[float, float]:
        """How many times larger the image is than its upload, in x and in y."""
        return self.size[0] / self.sent[0], self.size[1] / self.sent[1]

    def to_original(self, bbox: Sequence[float]) -> Box:
        """Map a box of the upload to the image, clipped to it."""
        return boxes.clip(boxes.scale(bbox, *self.factors), *self.size)

    def to_upload(self, bbox: Sequence[float]) -> Box:
        """Map a box of the image to the upload, clipped to it."""
        factor_x, factor_y = self.factors
        return boxes.clip(boxes.scale(bbox, 1 / factor_x, 1 / factor_y), *self.sent)


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


def make_requests(
    picture: Picture, request: DetectionRequest, model: CloudModel, encode: Encode
) -> tuple[ObjectRequest, ...]:
    """Make the one request for prompts, for a description, or for everything. Slow: call it in a thread."""
    prompt, label = _prompt(request)
    upload = encode(picture, model.max_side)
    targets = ("bbox", *(target for output, target in _TARGETS.items() if output in request.include))
    body = write_body(model, upload, prompt, targets, request)
    return (ObjectRequest(model, body, Frames.of(picture, upload), label, targets, request.min_score),)


def label_by_category(labels: Mapping[str, str]) -> LabelReader:
    """Label objects by their category; `labels` maps normalized categories to the caller's spelling."""

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
            raise InputError(f"the prompt {prompt!r:.80} has no word in it; name what to find, as in 'red car'")
        texts.setdefault(_normalized(text), text)
        labels.setdefault(_normalized(text), prompt)
    if not texts:
        raise InputError("prompts is empty; name what to find, or leave it out to find everything")
    return {"type": "text", "text": ".".join(texts.values())}, label_by_category(labels)
