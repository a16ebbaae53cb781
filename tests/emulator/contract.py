"""What the service takes: checks a request's body against the wire contract, endpoint by endpoint."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

from tests.emulator.embeddings import EmbeddingError, colours_of
from tests.emulator.pixels import PictureError, picture_size

GROUNDING_DINO = ("GroundingDino-1.6-Pro", "GroundingDino-1.6-Edge", "GroundingDino-1.5-Pro", "GroundingDino-1.5-Edge")


@dataclass(frozen=True)
class Endpoint:
    """What one endpoint takes; `prompts` empty for one without. No sample of the vendor sends T-Rex thresholds."""

    models: tuple[str, ...]
    targets: tuple[str, ...]
    prompts: tuple[str, ...] = ()
    max_side: int = 1536
    thresholds: bool = True

    @property
    def fields(self) -> set[str]:
        """The fields that a body may have."""
        thresholds = {"bbox_threshold", "iou_threshold"} if self.thresholds else set()
        masks = {"mask_format"} if "mask" in self.targets else set()
        return {"model", "image", "targets", *(thresholds | masks | {"prompt"} if self.prompts else {"regions"})}


ENDPOINTS = {
    "dinox/detection": Endpoint(
        ("DINO-X-1.0",), ("bbox", "mask", "pose_keypoints", "hand_keypoints"), ("text", "universal")
    ),
    "dinox/region_vl": Endpoint(("DINO-X-1.0",), ("caption", "roc", "ocr"), max_side=8192),
    "trex/detection": Endpoint(
        ("T-Rex-2.0",), ("bbox", "embedding"), ("visual_images", "embedding"), 1333, thresholds=False
    ),
    "grounding_dino/detection": Endpoint(GROUNDING_DINO, ("bbox",), ("text",)),
    "dino_xseek/detection": Endpoint(("DINO-XSeek-1.0",), ("bbox",), ("text",)),
}


def faults_of(name: str, body: dict[str, Any]) -> list[str]:
    """List what is wrong with a body, as a 400 would."""
    if name not in ENDPOINTS:
        return [f"no endpoint {name}"]
    try:
        return list(_faults(ENDPOINTS[name], body))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return [f"malformed: {error!r}"]


def _faults(endpoint: Endpoint, body: dict[str, Any]) -> Iterator[str]:
    yield from (f"{field}: unknown" for field in sorted(body.keys() - endpoint.fields))
    if body["model"] not in endpoint.models:
        yield f"model: {body['model']} is not of this endpoint"
    targets = body["targets"]
    if not targets or len(set(targets)) < len(targets) or set(targets) - set(endpoint.targets):
        yield f"targets: {targets}"
    if ("mask" in targets) != ("mask_format" in body) or body.get("mask_format", "coco_rle") != "coco_rle":
        yield f"mask_format: {body.get('mask_format')}"
    yield from (
        f"{name}: {body[name]}" for name in ("bbox_threshold", "iou_threshold") if not 0 <= body.get(name, 0) <= 1
    )
    size = yield from _picture(body["image"], endpoint)
    if size is None:
        return
    if endpoint.prompts:
        yield from _prompt(body["prompt"], endpoint)
    else:
        yield from _regions(body["regions"], size)


def _picture(uri: str, endpoint: Endpoint) -> Generator[str, None, tuple[int, int] | None]:
    """Give the size of a picture, if it is one."""
    try:
        size = picture_size(uri)
    except PictureError as error:
        yield f"image: {error}"
        return None
    if max(size) > endpoint.max_side:
        yield f"image: {size} is larger than {endpoint.max_side}, which only takes time"
    return size


def _prompt(prompt: dict[str, Any], endpoint: Endpoint) -> Iterator[str]:
    kind = prompt["type"]
    if kind not in endpoint.prompts or set(prompt) != {"type", kind}:
        yield f"prompt: {kind} with {sorted(prompt)}"
        return
    value = prompt[kind]
    if kind == "text" and (not isinstance(value, str) or not value.strip(". ")):
        yield f"prompt.text: {value!r}"
    if kind == "universal" and value != 1:
        yield f"prompt.universal: {value!r}"
    if kind == "embedding":
        try:
            colours_of(value)
        except EmbeddingError as error:
            yield f"prompt.embedding: {error}"
    if kind == "visual_images":
        if not value:
            yield "prompt.visual_images: empty"
        for shown in value:
            yield from _shown(shown, endpoint)


def _shown(shown: dict[str, Any], endpoint: Endpoint) -> Iterator[str]:
    size = yield from _picture(shown["image"], endpoint)
    if size is None:
        return
    if not shown["interactions"]:
        yield "interactions: empty"
    for one in shown["interactions"]:
        kind = one["type"]
        if set(one) != {"type", "category_id", kind} or kind not in ("rect", "point"):
            yield f"interactions: {one}"
        elif type(one["category_id"]) is not int:
            yield f"category_id: {one['category_id']!r}"
        elif not (_is_inside(one[kind], size) if kind == "rect" else _is_inside([*one[kind], *size], size, least=-1)):
            yield f"interactions: {one[kind]} is not inside of {size}"


def _regions(regions: list[list[float]], size: tuple[int, int]) -> Iterator[str]:
    if not regions:
        yield "regions: empty"
    yield from (f"regions: {region} is not inside of {size}" for region in regions if not _is_inside(region, size))


def _is_inside(bbox: list[float], size: tuple[int, int], least: float = 0) -> bool:
    x1, y1, x2, y2 = bbox
    return min(x1, y1) >= 0 and x2 <= size[0] and y2 <= size[1] and min(x2 - x1, y2 - y1) > least
