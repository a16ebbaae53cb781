"""Overlapping tiles of an image, in which small objects are large enough to be found.

The idea is that of SAHI (Akyon et al. 2022, https://arxiv.org/abs/2202.06934). Each tile is searched, and the full
image too. `merge` makes one list of what all these searches found:

1. An object that no seam between tiles cuts is kept once, however many searches found it.
2. An object that a seam cuts is dropped if it is a part of one that is kept.
3. Other cut objects are joined if they agree in the region that both of their tiles show.

Detectors end the box of a cut object some pixels before the seam. So a box that ends near a seam counts as cut there.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from dinox_mcp.images.picture import Picture
from dinox_mcp.types import boxes
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Detection, certainty

OVERLAP = 0.2
"""Part of a tile's side that it shares with its neighbour: no seam cuts a smaller object in both of them."""
Frame = tuple[int, int, int, int]

_SAME, _MOST = 0.5, 0.7
_TOUCHING = 0.1  # of the smaller box: those of neighbouring codes overlap by less
_NOISE, _THIN = 3.0, 20.0
"""Pixels by which boxes of one object differ, and the thickness below which the IoU says little for that reason."""
_NEAR_PIXELS, _NEAR_OF_BOX, _NEAR_OF_TILE = 10.0, 0.04, 0.02
"""A box this near to a seam counts as cut: in pixels, in parts of the box's long side, of the tile's; the largest."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of an image: an image itself, and the box `frame` of the original that it shows, in pixels."""

    picture: Picture
    frame: Frame


@dataclass(frozen=True, slots=True)
class _Piece:
    """A detection in pixels of the original.

    Attributes:
        found: the detection.
        search: the number of the search that found it: 0 for the full image, 1 to n for the tiles.
        frame: the box that was searched.
        seams: which sides (left, top, right, bottom) a seam cuts.
        full: the box of the detection with these sides moved onto their seams.
    """

    found: Detection
    search: int
    frame: Frame
    seams: tuple[bool, bool, bool, bool]
    full: Box

    @property
    def cut(self) -> bool:
        return any(self.seams)


class _Kept:
    """Pieces that are kept, with their boxes in an array, which finds neighbours fast."""

    def __init__(self, most: int) -> None:
        import numpy as np

        self.pieces: list[_Piece] = []
        self._boxes = np.zeros((4, most))

    def add(self, piece: _Piece) -> None:
        """Add a piece."""
        self._boxes[:, len(self.pieces)] = piece.full
        self.pieces.append(piece)

    def near(self, piece: _Piece) -> Iterator[int]:
        """Give the indices of pieces of other searches that have the same label as a piece and share pixels with it."""
        x1, y1, x2, y2 = self._boxes[:, : len(self.pieces)]
        left, top, right, bottom = piece.full
        for index in ((x1 < right) & (y1 < bottom) & (x2 > left) & (y2 > top)).nonzero()[0].tolist():
            other = self.pieces[index]
            if other.search != piece.search and other.found.label == piece.found.label:
                yield index


def frames(width: int, height: int, tiles: int) -> list[Frame]:
    """Give the boxes of `tiles` tiles along the long side; along the short one, as many as make them about square."""
    long = max(width, height)
    columns, rows = (max(1, round(tiles * side / long)) for side in (width, height))
    return [
        (left, top, right, bottom) for top, bottom in _spans(height, rows) for left, right in _spans(width, columns)
    ]


def cut(picture: Picture, tiles: int) -> list[Tile]:
    """Cut an image into overlapping tiles. Slow: call it in a thread.

    Raises:
        ImageError: the image is damaged.
    """
    image = picture.rgb()
    cuts = []
    for frame in frames(picture.width, picture.height, tiles):
        buffer = io.BytesIO()
        image.crop(frame).save(buffer, "BMP")  # at once and without loss: the backend may compress it again
        pixels = picture.width * picture.height
        cuts.append(Tile(Picture.from_bytes(buffer.getvalue(), picture.source, max_pixels=pixels), frame))
    return cuts


def merge(
    full: Sequence[Detection],
    parts: Iterable[tuple[Tile, Sequence[Detection]]],
    size: tuple[int, int],
    iou_threshold: float,
) -> list[Detection]:
    """Make one list of what was found in the full image and in its tiles, best first, each object once.

    Objects of one search are never merged with each other: the backend has found that they differ. What was found in
    each of the `parts` is in pixels of the tile; `size` is the (width, height) of the image.
    """
    pieces = [_Piece(found, 0, (0, 0, *size), (False,) * 4, found.bbox) for found in full]
    for search, (tile, objects) in enumerate(parts, 1):
        pieces += [_piece(found, search, tile.frame, size) for found in objects]
    pieces.sort(key=_worth)
    kept = _Kept(len(pieces))
    _keep_once(kept, [piece for piece in pieces if not piece.cut], min(iou_threshold, _SAME))
    others = _drop_parts(kept, [piece for piece in pieces if piece.cut])
    objects = [piece.found for piece in kept.pieces] + _joined(others)
    return sorted(objects, key=lambda found: -certainty(found))


def _spans(length: int, count: int) -> list[tuple[int, int]]:
    side = min(length, max(1, round(length / (count - (count - 1) * OVERLAP))))
    starts = [round(index * (length - side) / max(1, count - 1)) for index in range(count)]
    return [(start, start + side) for start in starts]


def _piece(found: Detection, search: int, frame: Frame, size: tuple[int, int]) -> _Piece:
    """Move a detection in a tile to pixels of the original, and find the sides that a seam cuts."""
    left, top, right, bottom = frame
    x1, y1, x2, y2 = found.bbox
    bbox = x1 + left, y1 + top, x2 + left, y2 + top
    inner = left > 0, top > 0, right < size[0], bottom < size[1]
    near = max(_NEAR_PIXELS, _NEAR_OF_BOX * max(x2 - x1, y2 - y1), _NEAR_OF_TILE * max(right - left, bottom - top))
    seams = tuple(seam and abs(edge - end) <= near for seam, edge, end in zip(inner, bbox, frame, strict=True))
    full = tuple(end if seam else edge for seam, edge, end in zip(seams, bbox, frame, strict=True))
    update: dict[str, object] = {"bbox": bbox}
    if found.owner:
        update["owner"] = tuple(edge + offset for edge, offset in zip(found.owner, (left, top) * 2, strict=True))
    if found.keypoints:
        moved = [point.model_copy(update={"x": point.x + left, "y": point.y + top}) for point in found.keypoints]
        update["keypoints"] = tuple(moved)
    if found.mask:
        from dinox_mcp.types import masks

        update["mask"] = masks.place(found.mask, left, top, *size)
    return _Piece(found.model_copy(update=update), search, frame, seams, full)  # type: ignore[arg-type] # four of each


def _worth(piece: _Piece) -> tuple[float, bool, bool]:
    """Rank by score, then by whether it has a text; of equals a tile, which is sharper, before the full image."""
    return -certainty(piece.found), piece.found.text is None, piece.search == 0


def _keep_once(kept: _Kept, pieces: Iterable[_Piece], least: float) -> None:
    """Keep the first piece of each object."""
    for piece in pieces:
        box = piece.found.bbox
        others = [kept.pieces[index].found for index in kept.near(piece)]
        if not any(boxes.iou(box, other.bbox) > least or _are_one_code(piece.found, other) for other in others):
            kept.add(piece)


def _are_one_code(found: Detection, other: Detection) -> bool:
    """Return whether two detections are one by their text: it is equal, or only one search could read the code."""
    shared = boxes.intersection(found.bbox, other.bbox)
    share = shared / max(min(boxes.area(found.bbox), boxes.area(other.bbox)), 1e-9)
    decoded = found.score is None and other.score is None
    if found.text is None or other.text is None:
        return decoded and found.text != other.text and share > _SAME
    # Decoded contents are exact. Transcripts have scores, and the wide boxes of equal lines of text overlap.
    return found.text == other.text and share > (_TOUCHING if decoded else _SAME)


def _drop_parts(kept: _Kept, pieces: Iterable[_Piece]) -> list[_Piece]:
    """Give the pieces that are not part of a kept one.

    A kept piece takes a higher score from a part that fits, and its text if it has none itself.
    """
    left: list[_Piece] = []
    for piece in pieces:
        fits = {index: _fit(piece, kept.pieces[index]) for index in kept.near(piece)}
        best = max(fits, key=lambda index: fits[index], default=None)
        if best is None or fits[best] <= 0:
            left.append(piece)
        elif fits[best] > _SAME:
            kept.pieces[best] = replace(kept.pieces[best], found=_surer(kept.pieces[best].found, piece.found))
    return left


def _fit(piece: _Piece, other: _Piece) -> float:
    """Measure how well a piece fits as a part of another: the IoU within its tile, or 0 if it is not a part."""
    left, top, right, bottom = other.found.bbox
    around = left - _NOISE, top - _NOISE, right + _NOISE, bottom + _NOISE
    inside = boxes.intersection(piece.found.bbox, around) > _SAME * boxes.area(piece.found.bbox)
    if not inside and not _are_one_code(piece.found, other.found):
        return 0.0
    return max(boxes.iou(piece.full, _overlap(other.full, piece.frame)), 1e-9)


def _surer(found: Detection, part: Detection) -> Detection:
    update: dict[str, object] = {}
    if certainty(part) > certainty(found):
        update["score"] = part.score
    if found.text is None and part.text is not None and part.score is None:
        update |= {"text": part.text, "category": part.category}
    return found.model_copy(update=update)


def _joined(pieces: Sequence[_Piece]) -> list[Detection]:
    """Join pieces that agree in the region that both of their tiles show, best pairs first; never two of one search."""
    seen = _Kept(len(pieces))
    pairs: list[tuple[float, int, int]] = []
    for number, piece in enumerate(pieces):
        pairs += [(_agreement(piece, pieces[other]), number, other) for other in seen.near(piece)]
        seen.add(piece)
    groups = [{number} for number in range(len(pieces))]
    for agreement, one, other in sorted(pairs, key=lambda pair: -pair[0]):
        searches = ({pieces[member].search for member in groups[number]} for number in (one, other))
        if agreement > 0 and set.isdisjoint(*searches):
            groups[one] |= groups[other]
            for member in groups[other]:
                groups[member] = groups[one]
    each = {id(group): group for group in groups}.values()
    return [_join([pieces[member].found for member in sorted(group)]) for group in each]


def _agreement(a: _Piece, b: _Piece) -> float:
    """Compare two pieces in the region that both tiles show; 0 if they are parts of two objects."""
    shared = _overlap(a.frame, b.frame)
    of_a, of_b = _overlap(a.full, shared), _overlap(b.full, shared)
    iou = boxes.iou(of_a, of_b)
    small = min(of_a, of_b, key=boxes.area)
    thin = min(small[2] - small[0], small[3] - small[1]) < _THIN
    inside = thin and boxes.intersection(of_a, of_b) > _MOST * boxes.area(small)
    return iou if iou > _SAME or inside or _are_one_code(a.found, b.found) else 0.0


def _join(parts: Sequence[Detection]) -> Detection:
    """Make one detection of the pieces of an object, which come best first."""
    best, *others = parts
    if not others:
        return best
    corners = [(part.bbox[:2], part.bbox[2:]) for part in parts]
    update: dict[str, object] = {"bbox": boxes.around([corner for pair in corners for corner in pair])}
    if best.mask:
        from dinox_mcp.types import masks

        mask = best.mask
        for other in others:
            mask = masks.union(mask, other.mask) if other.mask else mask
        update["mask"] = mask
    return best.model_copy(update=update)


def _overlap(a: Sequence[float], b: Sequence[float]) -> Box:
    return max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
