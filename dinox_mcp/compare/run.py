"""Compares two images with their detections: registers them, matches the detections, and finds what else differs.

Draws the changes on both images, too. Slow: call it in a thread.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import get_args

import numpy as np
from PIL import Image

from dinox_mcp.compare.comparison import Change, Comparison, Kind, Side
from dinox_mcp.compare.matching import Match, Matches, Placed, holder_of, match
from dinox_mcp.compare.regions import find_differences
from dinox_mcp.compare.registration import Floats, map_points, register
from dinox_mcp.drawing.annotate import annotate
from dinox_mcp.drawing.sheet import contact_sheet
from dinox_mcp.drawing.style import Style
from dinox_mcp.drawing.views import FULL_QUALITY, JPEG, PNG, encode_jpeg, encode_png
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.boxes import Box, around, center, clip, is_ordered
from dinox_mcp.types.detection import DetectedObject, DetectionResult

SIDE = 1280
"""Pixels of the long side at which images are compared."""
MOST_CHANGES = 200
_DRAWN_SIDE = 1600  # pixels of the longest side of each image where they are drawn side by side
_STYLE = Style(captions=False, all_labels=get_args(Kind))
_POOR_FIT = 0.6  # agreement below which the comparison has a note
_MUCH = 0.5  # share of the scene from which on the images differ so much that it is said in a note


class Aligned:
    """Two registered images, before anything is detected in them.

    Boxes are compared in the frame of the second image at a reduced size.

    Attributes:
        registration: how the images fit.
        differences: where their pixels differ.
        homography: the matrix (3, 3) that maps pixels of the first image to pixels of the second.

    Raises:
        InputError: they do not show the same scene.
        ImageError: one of them is damaged.
    """

    def __init__(self, before: Picture, after: Picture) -> None:
        first, second = (np.asarray(picture.rgb(SIDE)) for picture in (before, after))
        self.registration = register(first, second)
        self.differences = find_differences(first, second, self.registration)
        self._sizes = (before.width, before.height), (after.width, after.height)
        shrink = [
            np.diag([work.shape[1] / size[0], work.shape[0] / size[1], 1.0])
            for work, size in zip((first, second), self._sizes, strict=True)
        ]
        self._to_frame = self.registration.matrix @ shrink[0], shrink[1]
        self._back = tuple(np.linalg.inv(matrix) for matrix in self._to_frame)
        homography = self._back[1] @ self._to_frame[0]
        self.homography: Floats = homography / homography[2, 2]

    def placed(self, before: DetectionResult, after: DetectionResult) -> tuple[list[Placed], list[Placed]]:
        """Place the detections of both images in the frame."""
        first, second = (
            [Placed(one, _map_box(one.bbox, matrix)) for one in result.objects]
            for result, matrix in zip((before, after), self._to_frame, strict=True)
        )
        return first, second

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
            from_x, from_y = center(self.to_both(one.box)[1])
            to_x, to_y = center(other.found.bbox)
            shift = round(to_x - from_x, 1), round(to_y - from_y, 1)
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

    def region(self, box: Box, owner: tuple[Placed, Placed] | None) -> Change:
        """Make a change of a part of the image, without its number; `owner` is the object that it belongs to."""
        before, after = self.to_both(box)
        change = Change(id=1, kind="changed", before=before, after=after)
        if owner is None:
            return change
        first, second = owner[0].found, owner[1].found
        named = {"label": second.label, "object_before": first.id, "object_after": second.id}
        return change.model_copy(update=named)


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
    matches = match(*aligned.placed(before, after), aligned.differences)
    changes = _in_order(map(aligned.change, matches.changes))
    if not only_objects:
        changes += _others(aligned, matches)
    return Comparison(
        comparison_id=comparison_id,
        before=Side(result_id=before.result_id, image=before.image, counts=before.counts),
        after=Side(result_id=after.result_id, image=after.image, counts=after.counts),
        registered=aligned.registration.method,
        homography=tuple(aligned.homography.ravel().tolist()),
        agreement=round(aligned.registration.agreement, 3),
        changes=tuple(
            change.model_copy(update={"id": number}) for number, change in enumerate(changes[:MOST_CHANGES], start=1)
        ),
        omitted=max(0, len(changes) - MOST_CHANGES),
        unchanged=dict(Counter(two.found.label for _, two in matches.unchanged).most_common()),
        outside=matches.outside,
        doubtful=matches.doubtful,
        notes=(*_notes(aligned), *_notes_of(before, after)),
    )


def _map_box(box: Sequence[float], matrix: Floats) -> Box:
    """Map a box by a homography to the upright box around it."""
    x1, y1, x2, y2 = box
    return around(map_points(np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)]), matrix).tolist())


def _others(aligned: Aligned, matches: Matches) -> Iterator[Change]:
    """Give the parts of the image that differ though no change of an object explains them."""
    explained = [placed.box for one in matches.changes for placed in (one.before, one.after) if placed]
    for box in aligned.differences.regions(explained):
        yield aligned.region(box, holder_of(box, matches.unchanged))


def _in_order(changes: Iterable[Change]) -> list[Change]:
    """Sort changes by kind and label, the surest first."""
    kinds = get_args(Kind)
    return sorted(changes, key=lambda one: (kinds.index(one.kind), (one.label or "").casefold(), -(one.score or 1.0)))


def _notes(aligned: Aligned) -> Iterator[str]:
    registration, differences = aligned.registration, aligned.differences
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


def side_by_side(comparison: Comparison, before: Picture, after: Picture, mime_type: str = JPEG) -> bytes:
    """Draw the changes, numbered alike in both images, and put these beside each other, or below if they are wide.

    Args:
        comparison: the changes.
        before: the first image.
        after: the second image.
        mime_type: of the result, JPEG or PNG.
    """
    counts = ", ".join(f"{number} {kind}" for kind, number in comparison.counts.items()) or "no change"
    before_boxes, after_boxes = [one.before for one in comparison.changes], [one.after for one in comparison.changes]
    frames = [
        (_drawn(comparison, before, before_boxes, "appeared"), f"before · {counts}"),
        (_drawn(comparison, after, after_boxes, "disappeared"), f"after · {counts}"),
    ]
    sheet = contact_sheet(frames, 2 * _DRAWN_SIDE)
    return encode_png(sheet) if mime_type == PNG else encode_jpeg(sheet, FULL_QUALITY)


def _drawn(comparison: Comparison, picture: Picture, boxes: Sequence[Box], absent: Kind) -> Image.Image:
    """Draw the changes on an image, with dashed boxes for those of the kind whose object is absent there."""
    objects = [
        DetectedObject(id=change.id, label=change.kind, bbox=box)
        for change, box in zip(comparison.changes, boxes, strict=True)
        if is_ordered(box)  # it may lie outside of this image
    ]
    dashed = tuple(change.id for change in comparison.changes if change.kind == absent)
    style = _STYLE.model_copy(update={"doubtful": dashed})
    return annotate(picture.rgb(_DRAWN_SIDE), objects, original_size=(picture.width, picture.height), style=style)
