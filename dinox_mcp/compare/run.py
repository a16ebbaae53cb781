"""Compares two images with their detections: registers them, matches the detections, and finds what else differs.

Slow: call it in a thread.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from dinox_mcp.compare.comparison import Change, Comparison, Kind, Side
from dinox_mcp.compare.matching import Match, Matches, Placed, holder_of, match
from dinox_mcp.compare.regions import Differences, Region, find_differences
from dinox_mcp.compare.registration import Floats, Registration, map_points, register
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.boxes import Box, around, clip
from dinox_mcp.types.detection import DetectionResult

SIDE = 1280
"""Pixels of the long side at which images are compared."""
MOST_CHANGES = 200
_POOR_FIT = 0.6
"""Agreement below which the comparison has a note."""
_MUCH = 0.5
"""Share of the scene from which on the images differ so much that it is said in a note."""


@dataclass(frozen=True, eq=False)
class Aligned:
    """Two registered images, before anything is detected in them."""

    frame: "_Frame"
    registration: Registration
    differences: Differences


def align(before: Picture, after: Picture) -> Aligned:
    """Register two images and find where their pixels differ.

    Raises:
        InputError: they do not show the same scene.
        ImageError: one of them is damaged.
    """
    first, second = (np.asarray(picture.rgb(SIDE)) for picture in (before, after))
    registration = register(first, second)
    return Aligned(
        _Frame(before, after, (first, second), registration),
        registration,
        find_differences(first, second, registration),
    )


def compare(
    comparison_id: str,
    aligned: Aligned,
    before: DetectionResult,
    after: DetectionResult,
    *,
    only_objects: bool = False,
) -> Comparison:
    """Compare two registered images by what was detected in them.

    Args:
        comparison_id: the id of the comparison.
        aligned: the images.
        before: the detections in the first image.
        after: the detections in the second image.
        only_objects: leave out parts of the image that differ though no detection explains them.
    """
    frame, differences = aligned.frame, aligned.differences
    matches = match(
        [Placed(one, frame.from_before(one.bbox)) for one in before.objects],
        [Placed(one, frame.from_after(one.bbox)) for one in after.objects],
        differences,
    )
    changes = _in_order(map(frame.change, matches.changes))
    if not only_objects:
        changes += _others(frame, differences, matches)
    return Comparison(
        comparison_id=comparison_id,
        before=Side(result_id=before.result_id, image=before.image, counts=before.counts),
        after=Side(result_id=after.result_id, image=after.image, counts=after.counts),
        registered=aligned.registration.method,
        homography=tuple(frame.homography.ravel().tolist()),
        agreement=round(aligned.registration.agreement, 3),
        changes=tuple(
            change.model_copy(update={"id": number}) for number, change in enumerate(changes[:MOST_CHANGES], start=1)
        ),
        omitted=max(0, len(changes) - MOST_CHANGES),
        unchanged=dict(Counter(two.found.label for _, two in matches.unchanged).most_common()),
        outside=matches.outside,
        doubtful=matches.doubtful,
        notes=(*_notes(aligned.registration, differences), *_notes_of(before, after)),
    )


class _Frame:
    """The frame in which images are compared, the second image at a reduced size, and the ways from and to it."""

    def __init__(
        self, before: Picture, after: Picture, pixels: Sequence[npt.NDArray[np.uint8]], registration: Registration
    ) -> None:
        self._sizes = (before.width, before.height), (after.width, after.height)
        shrink = [
            np.diag([work.shape[1] / size[0], work.shape[0] / size[1], 1.0])
            for work, size in zip(pixels, self._sizes, strict=True)
        ]
        self._to_frame = registration.matrix @ shrink[0], shrink[1]
        self._back = tuple(np.linalg.inv(matrix) for matrix in self._to_frame)
        homography = self._back[1] @ self._to_frame[0]
        self.homography: npt.NDArray[np.floating[Any]] = homography / homography[2, 2]

    def from_before(self, box: Sequence[float]) -> Box:
        """Map a box of the first image to the frame."""
        return _map_box(box, self._to_frame[0])

    def from_after(self, box: Sequence[float]) -> Box:
        """Map a box of the second image to the frame."""
        return _map_box(box, self._to_frame[1])

    def to_both(self, box: Sequence[float]) -> tuple[Box, Box]:
        """Map a box of the frame to both images."""
        first, second = (clip(_map_box(box, back), *size) for back, size in zip(self._back, self._sizes, strict=True))
        return first, second

    def change(self, match: Match) -> Change:
        """Make a change of a match, without its number."""
        one, other = match.before, match.after
        placed = other or one
        if placed is None:
            raise ValueError("a match without detections")
        before, after = self.to_both(placed.box)
        scores = [found.found.score for found in (one, other) if found and found.found.score is not None]
        shift = None
        if one and other and match.kind == "moved":
            there = self.to_both(one.box)[1]
            to = other.found.bbox
            shift = (
                round((to[0] + to[2] - there[0] - there[2]) / 2, 1),
                round((to[1] + to[3] - there[1] - there[3]) / 2, 1),
            )
        return Change(
            id=1,
            kind=match.kind,
            label=placed.found.label,
            before=one.found.bbox if one else before,
            after=other.found.bbox if other else after,
            score=min(scores, default=None),
            object_before=one.found.id if one else None,
            object_after=other.found.id if other else None,
            text_before=one.found.text if one else None,
            text_after=other.found.text if other else None,
            shift=shift,
        )

    def region(self, region: Region, owner: tuple[Placed, Placed] | None) -> Change:
        """Make a change of a part of the image, without its number; `owner` is the object that it belongs to."""
        before, after = self.to_both(region.box)
        named = (
            {}
            if owner is None
            else {
                "label": owner[1].found.label,
                "object_before": owner[0].found.id,
                "object_after": owner[1].found.id,
            }
        )
        return Change(id=1, kind="changed", before=before, after=after, **named)


def _map_box(box: Sequence[float], matrix: Floats) -> Box:
    """Map a box by a homography to the upright box around it."""
    x1, y1, x2, y2 = box
    return around(map_points(np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)]), matrix).tolist())


def _others(frame: _Frame, differences: Differences, matches: Matches) -> Iterator[Change]:
    """Give the parts of the image that differ though no change of an object explains them."""
    explained = [placed.box for one in matches.changes for placed in (one.before, one.after) if placed]
    for region in differences.regions(explained):
        yield frame.region(region, holder_of(region.box, matches.unchanged))


def _in_order(changes: Iterable[Change]) -> list[Change]:
    """Sort changes by kind and label, the surest first."""
    kinds = get_args(Kind)
    return sorted(changes, key=lambda one: (kinds.index(one.kind), (one.label or "").casefold(), -(one.score or 1.0)))


def _notes(registration: Registration, differences: Differences) -> Iterator[str]:
    if registration.agreement < _POOR_FIT:
        yield (
            f"the images fit only in part ({registration.agreement:.0%} of what has structure in both): where the "
            "camera moved sideways, near things seem to move; check the changes by eye"
        )
    shown = max(1, int(differences.shown.sum()))
    if differences.mask.sum() / shown > _MUCH:
        yield "more than half of the scene differs; perhaps the images show different scenes"


def _notes_of(before: DetectionResult, after: DetectionResult) -> Iterator[str]:
    """Give the notes of both detections, each once."""
    for side, result in (("before", before), ("after", after)):
        if result.omitted:
            yield f"{side}: {result.omitted} objects were left out of the comparison; raise min_score"
    yield from (note for note in before.notes if note in after.notes)
    yield from (f"before: {note}" for note in before.notes if note not in after.notes)
    yield from (f"after: {note}" for note in after.notes if note not in before.notes)
