"""How a question is put: its options, and the request that they make."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

from pydantic import ValidationError

from dinox_mcp.backends.base import Call, Progress, silent
from dinox_mcp.detect.prompts import is_prompt_free, parse_prompts
from dinox_mcp.errors import InputError
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.caller import OWNER, Caller
from dinox_mcp.types.detection import DetectionRequest, Output

MAX_OBJECTS = 1000
DEFAULT_OBJECTS = 100
"""Objects that every tool lists at most, where `max_objects` is left out."""


class Who(TypedDict, total=False):
    """For whom a call is made (by default whoever runs the program), and who hears of its progress."""

    caller: Caller
    progress: Progress


class Options(Who, total=False):
    """How to ask: what is left out has the default of `DetectionRequest`, and `max_objects` is 100.

    `min_score` and `iou_threshold` are from 0 to 1, `include` names extra outputs, `model` one of the backend's, and
    `tiles` above 1 looks at the picture in that many overlapping parts along its long side too, for small things. The
    local backend takes any folder and any repository of the hub for a `model`, and fetches it: a program that passes
    strangers' words on lets only those through that `Backends.describe` lists, as the MCP server does.
    """

    min_score: float
    iou_threshold: float
    max_objects: int
    include: Iterable[Output]
    model: str | None
    tiles: int


def make_request(prompts: str | Sequence[str] | None, options: Options, **more: object) -> DetectionRequest:
    """Make the request that a caller's words and options mean.

    Raises:
        InputError: one of them is wrong; the message says which.
    """
    known = {name: value for name, value in options.items() if name in DetectionRequest.model_fields}
    if not 1 <= max_objects(options) <= MAX_OBJECTS:
        raise InputError(f"max_objects is {max_objects(options)}; choose 1 to {MAX_OBJECTS}")
    if "include" in options:
        known["include"] = frozenset(options["include"])
    try:
        words = None if prompts is None or is_prompt_free(prompts) else parse_prompts(prompts)
        return DetectionRequest(prompts=words, **known, **more)
    except ValidationError as error:
        problem = error.errors()[0]
        name = problem["loc"][0]
        raise InputError(f"{name}: {problem['msg'].lower()} (got {problem['input']!r:.80})") from None


def make_call(options: Who, pictures: Mapping[str, Picture] | None = None) -> Call:
    """Say to a backend who asks."""
    caller = caller_of(options)
    return Call(options.get("progress", silent), caller.api_key, caller.tenant, pictures or {})


def caller_of(options: Who) -> Caller:
    """Name who asks."""
    return options.get("caller", OWNER)


def max_objects(options: Options) -> int:
    """Say how many objects are listed at most."""
    return options.get("max_objects", DEFAULT_OBJECTS)


def labels_of(asked: DetectionRequest) -> list[str]:
    """List the labels that a request asks for, which count 0 where nothing is found."""
    if asked.description is not None:
        return [asked.description]
    examples: dict[str, Any] = dict.fromkeys(one.label for one in asked.examples if not one.negative)
    return [*(asked.prompts or ()), *examples]
