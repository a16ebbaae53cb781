"""Searches an image in tiles: what it costs, and the requests and notes of the tiles."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from functools import partial

import anyio
import anyio.to_thread

from dinox_mcp.backends.base import Backend, Call, Noting, gather, silent
from dinox_mcp.backends.registry import Backends
from dinox_mcp.detect import capabilities, tiling
from dinox_mcp.detect.answers import Answer
from dinox_mcp.detect.routing import Plan
from dinox_mcp.errors import InputError, UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections, Example

_AT_A_TIME = 4


class TiledDetection:
    """Searches images in tiles, a few images at a time: the tiles of a large image take half a gigabyte."""

    def __init__(self, backends: Backends, max_calls: int) -> None:
        self._backends = backends
        self._max_calls = max_calls
        self._cutting = anyio.CapacityLimiter(1)
        self._images = anyio.CapacityLimiter(_AT_A_TIME)

    def can_tile(self, plan: Plan, image: Picture) -> bool:
        """Return whether the tiles of a plan are within the limit, and its backends can search a part of an image."""
        try:
            for part in plan.parts:
                self._check(self._backends.get(part.backend), image, part.request)
        except (InputError, UnsupportedError):
            return False
        return True

    async def search(
        self,
        backend: Backend,
        request: DetectionRequest,
        image: Picture,
        call: Call,
        search_full: Callable[[Call], Awaitable[Answer]],
    ) -> Detections:
        """Search the full image and each of its tiles, a few at a time, and merge what was found.

        `search_full` searches the full image, or gives what the cache has.

        Raises:
            InputError: this takes more calls than one request may make.
            UnsupportedError: the backend takes no examples from the image that a tile is part of.
            BackendError: a search failed.
        """
        searches, for_tile = self._check(backend, image, request)
        cost = _cost(searches, backend, request)
        await call.progress(0.0, f"cutting the image; {cost} to the backend")
        async with self._images:
            tiles = await anyio.to_thread.run_sync(tiling.cut, image, request.tiles, limiter=self._cutting)
            quiet = replace(call, progress=silent)
            inside = replace(quiet, pictures={**call.pictures, image.digest: image})
            done = 0

            async def search_tile(tile: tiling.Tile | None) -> Detections:
                nonlocal done
                if tile is None:
                    found = (await search_full(quiet)).found
                else:
                    found = await backend.detect(tile.picture, for_tile, inside)
                done += 1
                await call.progress(done / searches, f"part {done} of {searches}")
                return found

            full, *parts = await gather([partial(search_tile, tile) for tile in (None, *tiles)], _AT_A_TIME)
            pairs = [(tile, part.objects) for tile, part in zip(tiles, parts, strict=True)]
            size = image.width, image.height
            objects = await anyio.to_thread.run_sync(
                partial(tiling.merge, full.objects, pairs, size, request.iou_threshold), limiter=self._cutting
            )
        every = (full, *parts)
        labels = {found.label for found in objects}
        pictures = (image, *(tile.picture for tile in tiles))
        notes = _notes(backend, list(zip(pictures, every, strict=True)), image, objects)
        searched = f"searched the full image and {len(tiles)} overlapping parts: {cost}"
        return full.model_copy(
            update={
                "objects": tuple(objects),
                "notes": (searched, *notes),
                "unsearched": _in_all([found.unsearched for found in every], labels),
                "unknown": _in_all([found.unknown for found in every], labels),
                "complete": all(found.complete for found in every),
            }
        )

    def _check(self, backend: Backend, image: Picture, request: DetectionRequest) -> tuple[int, DetectionRequest]:
        """Give the number of searches that the tiles take, and the request for each tile."""
        searches = len(tiling.frames(image.width, image.height, request.tiles)) + 1
        capabilities.check_calls(searches, backend, request, self._max_calls)
        examples = tuple(_in_other_picture(one, image) for one in request.examples)
        for_tile = request.model_copy(update={"tiles": 1, "examples": examples})
        try:
            capabilities.check(for_tile, backend, self._backends, for_tile.needs, request.include)
        except UnsupportedError as error:
            raise UnsupportedError(f"with tiles, which are other images than the examples are in, {error}") from None
        return searches, for_tile


def _cost(searches: int, backend: Backend, request: DetectionRequest) -> str:
    each = capabilities.calls_of(backend, request)
    return f"{searches} searches of up to {each} calls each" if each > 1 else f"{searches} calls"


def _notes(
    backend: Backend, searches: Sequence[tuple[Picture, Detections]], image: Picture, merged: Sequence[Detection]
) -> list[str]:
    """Unite the notes of all searches; notes that follow from the objects are made anew for the merged ones."""
    if not isinstance(backend, Noting):
        return list(dict.fromkeys(note for _, found in searches for note in found.notes))
    notes: dict[str, None] = {}
    for picture, found in searches:
        of_objects = backend.notes_for(found.objects, (picture.width, picture.height))
        notes |= dict.fromkeys(note for note in found.notes if note not in of_objects)
    return [*notes, *backend.notes_for(merged, (image.width, image.height))]


def _in_other_picture(example: Example, image: Picture) -> Example:
    """Refer an example in the searched image to that image by digest, as a tile is another image."""
    inside = example.embedding is None and not example.image
    return example.model_copy(update={"image": image.digest}) if inside else example


def _in_all(prompts: Sequence[Sequence[str]], found: Collection[str]) -> tuple[str, ...]:
    """Give the prompts that are in each list, without those that were found."""
    first, *others = prompts
    return tuple(one for one in first if one not in found and all(one in other for other in others))
