"""Asking by example: boxes and points in this and other pictures, and embeddings that were made of some before."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dinox_mcp.backends.dinox.models import T_REX, find
from dinox_mcp.backends.dinox.upload import Frames
from dinox_mcp.backends.dinox.wire.question import Encode, Labelling, Question, write
from dinox_mcp.errors import InputError, ServiceError, UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.types import boxes
from dinox_mcp.types.detection import DetectionRequest, Embedding, Example

BACKEND = "dinox"


def ask(
    picture: Picture, request: DetectionRequest, pictures: Mapping[str, Picture], encode: Encode
) -> tuple[Question, ...]:
    """Ask for all examples: boxes and points at once, then each embedding, of which the service takes one a task.

    `pictures` are those that examples lie in, by digest. Slow: call it off the event loop.

    Raises:
        ImageError: a picture is damaged.
        InputError: an example lies outside of its picture, or its picture is not given.
        UnsupportedError: an embedding is of another model.
    """
    upload = encode(picture, T_REX.max_side)
    frames = Frames.of(picture, upload)
    drawn = [example for example in request.examples if example.embedding is None]
    numbers = _numbered(drawn)
    prompts: list[tuple[dict[str, Any], Labelling]] = []
    if drawn:
        shown = {"type": "visual_images", "visual_images": _shown(picture, drawn, numbers, pictures, encode)}
        prompts.append((shown, _by_number({number: label for label, number in numbers.items()})))
    for label, data in dict.fromkeys(_saved(request.examples)):
        prompts.append(({"type": "embedding", "embedding": data}, _always(label)))
    return tuple(
        Question(T_REX, write(T_REX, upload, prompt, ["bbox"], request), frames, label, min_score=request.min_score)
        for prompt, label in prompts
    )


def calls(shown: Sequence[Example]) -> int:
    """Count the tasks that examples take, at least one: all boxes and points share one, each embedding has its own."""
    saved = {(one.label, one.embedding) for one in shown if one.embedding}
    return max(1, len(saved) + any(one.embedding is None for one in shown))


def ask_embedding(
    picture: Picture, request: DetectionRequest, pictures: Mapping[str, Picture], encode: Encode
) -> Question:
    """Ask for one embedding of all examples. Slow: call it off the event loop.

    Raises:
        ImageError: a picture is damaged.
        InputError: an example lies outside of its picture, or its picture is not given.
        UnsupportedError: an example is an embedding already.
    """
    if any(example.embedding for example in request.examples):
        raise UnsupportedError("a saved prompt cannot be saved again; save boxes or points in pictures")
    upload = encode(picture, T_REX.max_side)
    numbers = dict.fromkeys((example.label for example in request.examples), 1)
    shown = {"type": "visual_images", "visual_images": _shown(picture, request.examples, numbers, pictures, encode)}
    targets = ("bbox", "embedding")  # as in every sample of the vendor; the boxes are not used
    body = write(T_REX, upload, shown, targets, request)
    return Question(T_REX, body, Frames.of(picture, upload), _always(request.examples[0].label), targets)


def read_embedding(result: Mapping[str, Any]) -> Embedding:
    """Read the embedding of a result.

    Raises:
        ServiceError: there is none.
    """
    data = result.get("embedding")
    if not isinstance(data, str) or not data:
        raise ServiceError(
            f"the DINO-X service finished without an embedding (got {type(data).__name__}); "
            "try again, or search by the examples themselves"
        )
    return Embedding(backend=BACKEND, model=T_REX.name, data=data)


def _numbered(examples: Iterable[Example]) -> dict[str, int]:
    """Number the labels from 1, as the service knows categories by number only."""
    return {label: number for number, label in enumerate(dict.fromkeys(one.label for one in examples), start=1)}


def _by_number(labels: Mapping[int, str]) -> Labelling:
    """Label by the number of the category; where there is one label only, it is meant."""
    if len(labels) == 1:
        return _always(next(iter(labels.values())))

    def label(thing: Mapping[str, Any]) -> str:
        number = thing.get("category_id")
        if not isinstance(number, int) or number not in labels:
            raise ValueError("no category that was asked for")
        return labels[number]

    return label


def _always(label: str) -> Labelling:
    return lambda _: label


def _saved(examples: Iterable[Example]) -> Iterable[tuple[str, str]]:
    """Give label and data of each embedding, if this model made it."""
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


def _shown(
    picture: Picture,
    examples: Iterable[Example],
    numbers: Mapping[str, int],
    pictures: Mapping[str, Picture],
    encode: Encode,
) -> list[dict[str, Any]]:
    """Group examples by their pictures, each sent with its own boxes and points in uploaded pixels."""
    groups: dict[Picture, list[Example]] = {}
    for example in examples:
        shown = picture if example.image in ("", picture.digest) else pictures.get(example.image)
        if shown is None:
            raise InputError(
                f"the picture {example.image:.12} of an example for {example.label!r:.80} is not given; "
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
    """Put a box or a point in uploaded pixels."""
    if example.point is not None:
        x, y = example.point
        if not (0 <= x <= frames.size[0] and 0 <= y <= frames.size[1]):
            raise _outside(example.label, "point", example.point, frames)
        return {"type": "point", "category_id": number, "point": frames.there((x, y, x, y))[:2]}
    bbox = example.bbox or (0, 0, 0, 0)
    there = frames.there(bbox)
    if boxes.area(there) <= 0:
        raise _outside(example.label, "bbox", bbox, frames)
    return {"type": "rect", "category_id": number, "rect": there}


def _outside(label: str, kind: str, place: Sequence[float], frames: Frames) -> InputError:
    width, height = frames.size
    return InputError(
        f"the {kind} {[round(value, 1) for value in place]} of the example for {label!r:.80} has nothing of its "
        f"picture of {width}x{height} pixels; give one inside, in pixels of the original image"
    )
