"""What a job or a run finds: its request with the images of its examples, what answers it, and what that costs."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from dinox_mcp.backends.base import Priced
from dinox_mcp.backends.registry import Backends
from dinox_mcp.batch.journal import REMEDY
from dinox_mcp.detect.capabilities import calls_of
from dinox_mcp.detect.options import Caller, Options, make_request
from dinox_mcp.detect.pipeline import Pipeline
from dinox_mcp.detect.routing import Plan
from dinox_mcp.detect.visual_prompts import MAX_PICTURES_BYTES, Sources, VisualPrompt, resolve
from dinox_mcp.errors import InputError, SettingsError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.store.files import open_regular, write_atomically
from dinox_mcp.types.detection import DetectionRequest

T = TypeVar("T")
_EXAMPLE = "example-"
_PRIVATE = 0o600


class Detecting(Sources, Protocol):
    """A detector; `Detector` is one."""

    settings: Settings
    backends: Backends
    pipeline: Pipeline

    async def read(self, data: bytes, name: str) -> Picture:
        """Make an image of encoded bytes."""
        ...

    async def draw(self, work: Callable[[], T]) -> T:
        """Run slow work on pixels in one of a few threads."""
        ...

    async def aclose(self) -> None:
        """Close connections, models and threads."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """What decides the results of a job or a run, and how they are found.

    Attributes:
        header: all that decides what is found, as it is kept.
        request: what to find in each image.
        plan: what answers the request.
        pictures: the images of its examples, by digest.
    """

    header: dict[str, Any]
    request: DetectionRequest
    plan: Plan
    pictures: Mapping[str, Picture]


async def request_of(
    prompts: str | Sequence[str] | None,
    examples: Sequence[VisualPrompt],
    options: Options,
    sources: Sources,
    caller: Caller,
) -> tuple[DetectionRequest, dict[str, Picture]]:
    """Make the request of a job, with the images of its examples by their digests.

    Raises:
        InputError: there are both prompts and examples, or one of them is wrong.
    """
    if prompts is not None and examples:
        raise InputError("both prompts and examples are given; pass one of them to say what to find")
    if not examples:
        return make_request(prompts, options), {}
    found, pictures = await resolve(examples, None, sources, caller)
    return make_request(None, options, examples=found), pictures


def answered_by(backends: Backends, plan: Plan) -> list[dict[str, object]]:
    """Name the backends, models and thresholds that answer, so that a job is never continued by others."""
    return [
        {
            "backend": part.backend,
            "model": part.request.model or next((one.name for one in backends.get(part.backend).models()), ""),
            "min_score": part.request.min_score,
            "iou_threshold": part.request.iou_threshold,
            **({"min_scores": part.scores.model_dump(exclude={"backend"})} if part.scores else {}),
        }
        for part in plan.parts
    ]


def paid_calls(backends: Backends, plan: Plan) -> int:
    """Count the calls to services that cost something, for each image."""
    return sum(
        calls_of(backends.get(part.backend), part.request) for part in plan.parts if _is_paid(backends, part.backend)
    )


def most_paid_calls(detector: Detecting, plan: Plan) -> int:
    """Count the calls to services that cost something, for each image with its tiles and descriptions, at most."""
    backends, tiles = detector.backends, plan.request.tiles
    calls = paid_calls(backends, plan) * (1 + tiles**2 if tiles > 1 else 1)
    for part in plan.parts:
        missing = plan.request.include - backends.get(part.backend).capabilities(part.request.model).outputs
        by = detector.pipeline.router.describers(missing, part.backend, caller_has_key=False) if missing else {}
        calls += sum(1 for name in by if _is_paid(backends, name))
    return calls


def _is_paid(backends: Backends, name: str) -> bool:
    return isinstance(backends.get(name), Priced) or backends.needs_key(name)


def save_images(folder: Path, images: Mapping[str, Picture], remedy: str = REMEDY) -> None:
    """Keep the images of examples beside the journal of a job, as those of results are gone after a restart.

    Raises:
        SettingsError: they cannot be written; `remedy` says what to do then.
    """
    for digest, image in images.items():
        path = folder / f"{_EXAMPLE}{digest}"
        try:
            if not path.exists():
                write_atomically(path, image.data, _PRIVATE)
        except OSError as error:
            raise SettingsError(f"an example cannot be kept in {folder} ({error.strerror}); {remedy}") from None


def load_images(folder: Path, max_pixels: int) -> dict[str, Picture]:
    """Load the images of examples; those that are damaged are left out."""
    images = {}
    for path in folder.glob(f"{_EXAMPLE}*"):
        with suppress(OSError, InputError), open_regular(path) as file:
            image = Picture.from_bytes(file.read(MAX_PICTURES_BYTES), "an example", max_pixels=max_pixels)
            images[path.name.removeprefix(_EXAMPLE)] = image
    return images
