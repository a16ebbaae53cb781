"""Asking in words: labels, everything, or one sentence that tells a thing from others like it."""

from collections.abc import Mapping, Sequence
from typing import Any

from dinox_mcp.backends.dinox.models import CloudModel
from dinox_mcp.backends.dinox.wire.frames import Frames
from dinox_mcp.backends.dinox.wire.question import Encode, Labelling, Question, write
from dinox_mcp.errors import InputError
from dinox_mcp.images.picture import Picture
from dinox_mcp.schema import DetectionRequest, Output

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
