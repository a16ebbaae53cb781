"""Comparisons of images by what is detected in them: made, kept, and drawn."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from dinox_mcp.backends.base import Progress, gather, silent
from dinox_mcp.compare.comparison import Comparison
from dinox_mcp.detect.options import MAX_OBJECTS, OWNER, Caller, CallOptions, Options, caller_of
from dinox_mcp.drawing import views
from dinox_mcp.errors import DinoxError, NotFoundError
from dinox_mcp.images.budget import Slots
from dinox_mcp.images.picture import Picture
from dinox_mcp.store.kept import KEPT, Kept, PerTenant
from dinox_mcp.store.results import Store, new_result_id
from dinox_mcp.store.shared import SharedStore, kept_here_alone
from dinox_mcp.types.detection import DetectionRequest, DetectionResult

if TYPE_CHECKING:
    from dinox_mcp.compare.run import Aligned

Detect = Callable[[Picture, DetectionRequest, Options], Awaitable[DetectionResult]]
_MAX_BYTES = 16 * 1024 * 1024


class Comparisons:
    """Makes comparisons, and keeps the last ten of each caller.

    Args:
        detect: detects in an image, and keeps the result.
        slots: run slow work on pixels.
        store: where the results are kept.
        shared: where several servers keep comparisons together.
    """

    def __init__(self, detect: Detect, slots: Slots, store: Store, shared: SharedStore | None = None) -> None:
        self._detect, self._slots, self._store = detect, slots, store
        self._kept: Kept[Comparison] = Kept(
            "comparison",
            PerTenant(_MAX_BYTES),
            shared,
            lambda comparison: comparison.model_dump_json().encode(),
            Comparison.model_validate_json,
        )

    async def compare(self, before: Picture, after: Picture, request: DetectionRequest, options: Options) -> Comparison:
        """Register two images, detect in both at once, and compare.

        Raises:
            InputError: they do not show the same scene; nothing was detected then.
        """
        aligned = await self._slots.run(partial(_align, before, after))
        sides = zip((before, after), _shared_progress(options), strict=True)
        results = await gather(
            [
                partial(
                    self._detect, image, request, Options(**{"max_objects": MAX_OBJECTS, **options, "progress": report})
                )
                for image, report in sides
            ],
            2,
        )
        name, only_objects = new_result_id(), request.prompts is not None
        found = await self._slots.run(partial(_compare, name, aligned, results, only_objects=only_objects))
        try:
            await self._kept.put(caller_of(options).tenant, name, found)
        except DinoxError as error:
            return found.model_copy(update={"notes": (*found.notes, kept_here_alone(error))})
        return found

    async def get(self, comparison_id: str, caller: Caller = OWNER) -> Comparison:
        """Fetch an earlier comparison.

        Raises:
            NotFoundError: there is none for this caller.
        """
        found = await self._kept.get(caller.tenant, comparison_id)
        if found is None:
            raise NotFoundError(
                f"there is no comparison {comparison_id[:40]!r} (the last {KEPT} are kept); call compare_images again"
            )
        return found

    async def side_by_side(self, comparison_id: str, caller: Caller = OWNER, mime_type: str = views.JPEG) -> bytes:
        """Draw the two images of a comparison side by side with the changes, as JPEG or PNG.

        Raises:
            NotFoundError: the comparison, or one of its images, is no longer kept.
        """
        found = await self.get(comparison_id, caller)
        first, second = [
            (await self._store.fetch(side.result_id, caller.tenant)).picture for side in (found.before, found.after)
        ]
        return await self._slots.run(partial(_side_by_side, found, first, second, mime_type))


# OpenCV and NumPy are imported with the first comparison.


def _align(before: Picture, after: Picture) -> "Aligned":
    from dinox_mcp.compare.run import Aligned

    return Aligned(before, after)


def _compare(name: str, aligned: "Aligned", results: Sequence[DetectionResult], *, only_objects: bool) -> Comparison:
    from dinox_mcp.compare.run import compare

    before, after = results
    return compare(name, aligned, before, after, only_objects=only_objects)


def _side_by_side(comparison: Comparison, before: Picture, after: Picture, mime_type: str) -> bytes:
    from dinox_mcp.compare.run import side_by_side

    return side_by_side(comparison, before, after, mime_type)


def _shared_progress(options: CallOptions) -> tuple[Progress, Progress]:
    """Report the mean of two detections at once, up to nine tenths; the comparison takes the rest."""
    report = options.get("progress", silent)
    shares = [0.0, 0.0]

    def of(side: int) -> Progress:
        async def progress(share: float, message: str) -> None:
            shares[side] = max(shares[side], share)
            await report(0.45 * sum(shares), f"{('before', 'after')[side]}: {message}")

        return progress

    return of(0), of(1)
