"""Requests by example: boxes and points in this and other images, and embeddings of examples."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dinox_mcp.backends.dinox.models import T_REX, find
from dinox_mcp.backends.dinox.request import Encode, Frames, LabelReader, ObjectRequest, write_body
from dinox_mcp.errors import InputError, ServiceError, UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.types import boxes
from dinox_mcp.types.detection import DetectionRequest, Embedding, Example

BACKEND = "dinox"


def make_requests(
    picture: Picture, request: DetectionRequest, pictures: Mapping[str, Picture], encode: Encode
) -> tuple[ObjectRequest, ...]:
    """Make the requests for all examples: one for boxes and points, and one for each embedding.

    The service takes one embedding per task. `pictures` are the other images with examples, by digest. Slow: call it
    in a thread.
    """
    upload = encode(picture, T_REX.max_side)
    frames = Frames.of(picture, upload)
    prompts: list[tuple[dict[str, Any], LabelReader]] = []
    if drawn := [example for example in request.examples if example.embedding is None]:
        labels = list(dict.fromkeys(example.label for example in drawn))
        numbers = {label: number for number, label in enumerate(labels, start=1)}
        visual = {"type": "visual_images", "visual_images": _visual_images(picture, drawn, numbers, pictures, encode)}
        prompts.append((visual, _by_number(labels)))
    for label, data in dict.fromkeys(_embeddings(request.examples)):
        prompts.append(({"type": "embedding", "embedding": data}, _by_number([label])))
    bodies = [write_body(T_REX, upload, prompt, ["bbox"], request) for prompt, _ in prompts]
    return tuple(
        ObjectRequest(T_REX, body, frames, label, min_score=request.min_score)
        for body, (_, label) in zip(bodies, prompts, strict=True)
    )


def calls(examples: Sequence[Example]) -> int:
    """Count the tasks that examples take: one for all boxes and points, one for each embedding, and at least one."""
    saved = {(example.label, example.embedding) for example in examples if example.embedding}
    return max(1, len(saved) + any(example.embedding is None for example in examples))


def make_embedding_request(
    picture: Picture, request: DetectionRequest, pictures: Mapping[str, Picture], encode: Encode
) -> ObjectRequest:
    """Make the request for one embedding of all examples. Slow: call it in a thread.

    Raises:
        ImageError: an image is damaged.
        InputError: an example lies outside of its image, or its image is not given.
        UnsupportedError: an example is an embedding already.
    """
    if any(example.embedding for example in request.examples):
        raise UnsupportedError("a saved prompt cannot be saved again; save boxes or points in images")
    upload = encode(picture, T_REX.max_side)
    numbers = dict.fromkeys((example.label for example in request.examples), 1)
    images = _visual_images(picture, request.examples, numbers, pictures, encode)
    targets = ("bbox", "embedding")  # as in every sample of the vendor; the boxes are not used
    body = write_body(T_REX, upload, {"type": "visual_images", "visual_images": images}, targets, request)
    return ObjectRequest(T_REX, body, Frames.of(picture, upload), _by_number([*numbers]), targets)


def read_embedding(result: Mapping[str, Any]) -> Embedding:
    """Read the embedding of a result.

    Raises:
        ServiceError: there is no embedding.
    """
    data = result.get("embedding")
    if not isinstance(data, str) or not data:
        raise ServiceError(
            f"the DINO-X service finished without an embedding (got {type(data).__name__}); "
            "try again, or search by the examples themselves"
        )
    return Embedding(backend=BACKEND, model=T_REX.name, data=data)


def _by_number(labels: Sequence[str]) -> LabelReader:
    """Label objects by the number of their category, which counts from 1; a single label is for all objects."""

    def label(thing: Mapping[str, Any]) -> str:
        number = 1 if len(labels) == 1 else thing.get("category_id")
        if not isinstance(number, int) or not 1 <= number <= len(labels):
            raise ValueError("not a category of the request")
        return labels[number - 1]

    return label


def _embeddings(examples: Iterable[Example]) -> Iterable[tuple[str, str]]:
    """List label and data of each embedding, all of which T-Rex must have made."""
    for example in examples:
        saved = example.embedding
        if saved is None:
            continue
        if saved.backend != BACKEND or not _is_ours(saved.model):
            raise UnsupportedError(
                f"the saved prompt for {example.label!r:.80} is of {saved.model} (backend {saved.backend}), "
                f"which {T_REX.name} (backend {BACKEND}) does not understand; search with that backend and model, "
                f"or save the prompt again with {BACKEND}"
            )
        yield example.label, saved.data


def _is_ours(model: str) -> bool:
    try:
        return find(model) is T_REX
    except InputError:
        return False


def _visual_images(
    picture: Picture,
    examples: Iterable[Example],
    numbers: Mapping[str, int],
    pictures: Mapping[str, Picture],
    encode: Encode,
) -> list[dict[str, Any]]:
    """Group examples by image: each image is sent once, with its boxes and points in pixels of the upload."""
    groups: dict[Picture, list[Example]] = {}
    for example in examples:
        shown = picture if example.image in ("", picture.digest) else pictures.get(example.image)
        if shown is None:
            raise InputError(
                f"the image {example.image:.12} of an example for {example.label!r:.80} is not given; "
                "pass it with the example"
            )
        groups.setdefault(shown, []).append(example)
    sent = []
    for shown, group in groups.items():
        upload = encode(shown, T_REX.max_side)
        frames = Frames.of(shown, upload)
        interactions = [_interaction(example, numbers[example.label], frames) for example in group]
        sent.append({"image": upload.uri, "interactions": interactions})
    return sent


def _interaction(example: Example, number: int, frames: Frames) -> dict[str, Any]:
    """Write a box or a point in pixels of the upload."""
    if example.point is not None:
        x, y = example.point
        if not (0 <= x <= frames.size[0] and 0 <= y <= frames.size[1]):
            raise _outside_error(example.label, "point", example.point, frames)
        return {"type": "point", "category_id": number, "point": frames.to_upload((x, y, x, y))[:2]}
    bbox = example.bbox or (0, 0, 0, 0)
    sent = frames.to_upload(bbox)
    if boxes.area(sent) <= 0:
        raise _outside_error(example.label, "bbox", bbox, frames)
    return {"type": "rect", "category_id": number, "rect": sent}


def _outside_error(label: str, kind: str, coordinates: Sequence[float], frames: Frames) -> InputError:
    width, height = frames.size
    return InputError(
        f"the {kind} {[round(value, 1) for value in coordinates]} of the example for {label!r:.80} lies outside "
        f"its image of {width}x{height} pixels; give one inside, in pixels of the original image"
    )
