"""A picture in overlapping parts, so that small things are large enough to be found, and their findings made one.

The idea is that of SAHI (Akyon et al. 2022, https://arxiv.org/abs/2202.06934), with care at the seams: what a part
cuts off gives way to the whole thing, seen in the next part or in the picture as a whole, and pieces that only
neighbouring parts saw are joined.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dinox_mcp import geometry
from dinox_mcp.geometry import Box
from dinox_mcp.images.picture import Picture
from dinox_mcp.schema import Detection, certainty

OVERLAP = 0.2
"""Part of a tile's side that it shares with its neighbour: a thing up to that size is whole in one of them."""
_SAME = 0.5
_EDGE = 2.0
"""Pixels from the seam within which a box counts as cut off."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of a picture: a picture itself, and the box in the original's pixels that it shows."""

    picture: Picture
    frame: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A detection in the original's pixels; `frame` is what its tile showed, None for the picture as a whole."""

    found: Detection
    frame: tuple[int, int, int, int] | None
    cut: bool = False


class _Places:
    """Boxes by number, as an array: which of many thousands meet one is known in no time."""

    def __init__(self, room: int) -> None:
        import numpy as np

        self._boxes = np.zeros((4, room))
        self._count = 0

    def put(self, bbox: Sequence[float]) -> None:
        """Add the next box."""
        self._boxes[:, self._count] = bbox
        self._count += 1

    def meeting(self, bbox: Sequence[float]) -> list[int]:
        """Number the boxes that share pixels with one."""
        x1, y1, x2, y2 = self._boxes[:, : self._count]
        meet = (x1 < bbox[2]) & (y1 < bbox[3]) & (x2 > bbox[0]) & (y2 > bbox[1])
        return list(map(int, meet.nonzero()[0]))


def frames(width: int, height: int, tiles: int) -> list[tuple[int, int, int, int]]:
    """Lay `tiles` tiles along the long side, and as many along the short one as keep them about square."""
    long = max(width, height)
    columns, rows = (max(1, round(tiles * side / long)) for side in (width, height))
    return [
        (left, top, right, bottom) for top, bottom in _spans(height, rows) for left, right in _spans(width, columns)
    ]


def cut(picture: Picture, tiles: int) -> list[Tile]:
    """Cut a picture into overlapping tiles. Slow: call it off the event loop.

    Raises:
        ImageError: the picture is damaged.
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
    whole: Sequence[Detection],
    parts: Iterable[tuple[Tile, Sequence[Detection]]],
    size: tuple[int, int],
    iou_threshold: float,
) -> list[Detection]:
    """Make one list of what was found in the picture and in its tiles, best first, each thing once.

    `size` is the picture's (width, height). Findings of one tile are never merged with each other: its backend has
    told them apart.
    """
    pieces = [_Piece(found, None) for found in whole]
    for tile, objects in parts:
        pieces += [_piece(found, tile.frame, size) for found in objects]
    kept = _joined(_once(sorted(pieces, key=_worth), iou_threshold))
    return sorted((piece.found for piece in kept), key=lambda found: -certainty(found))


def _spans(length: int, count: int) -> list[tuple[int, int]]:
    side = min(length, max(1, round(length / (count - (count - 1) * OVERLAP))))
    starts = [round(place * (length - side) / max(1, count - 1)) for place in range(count)]
    return [(start, start + side) for start in starts]


def _piece(found: Detection, frame: tuple[int, int, int, int], size: tuple[int, int]) -> _Piece:
    left, top, right, bottom = frame
    x1, y1, x2, y2 = found.bbox
    bbox = x1 + left, y1 + top, x2 + left, y2 + top
    cut_off = (
        (left > 0 and x1 <= _EDGE)
        or (top > 0 and y1 <= _EDGE)
        or (right < size[0] and bbox[2] >= right - _EDGE)
        or (bottom < size[1] and bbox[3] >= bottom - _EDGE)
    )
    update: dict[str, object] = {"bbox": bbox}
    if found.owner:
        update["owner"] = tuple(edge + offset for edge, offset in zip(found.owner, (left, top) * 2, strict=True))
    if found.keypoints:
        moved = [point.model_copy(update={"x": point.x + left, "y": point.y + top}) for point in found.keypoints]
        update["keypoints"] = tuple(moved)
    if found.mask:
        from dinox_mcp import masks

        update["mask"] = masks.place(found.mask, left, top, *size)
    return _Piece(found.model_copy(update=update), frame, cut_off)


def _worth(piece: _Piece) -> tuple[bool, float, bool]:
    """Rank whole things before cut ones, then by score; of equals a tile, which is sharper, before the picture."""
    return piece.cut, -certainty(piece.found), piece.frame is None


def _once(pieces: Sequence[_Piece], iou_threshold: float) -> list[_Piece]:
    """Keep of each thing that several looks saw the first piece.

    Two looks saw one thing if its boxes overlap by more than the threshold, or if most of what a tile cut off lies in
    the other box.
    """
    least = min(iou_threshold, _SAME)
    kept: list[_Piece] = []
    places = _Places(len(pieces))
    for piece in pieces:
        if not any(_are_one(piece, kept[place], least) for place in places.meeting(piece.found.bbox)):
            places.put(piece.found.bbox)
            kept.append(piece)
    return kept


def _are_one(piece: _Piece, better: _Piece, least: float) -> bool:
    if piece.found.label != better.found.label or piece.frame == better.frame:
        return False
    most = piece.cut and geometry.intersection(piece.found.bbox, better.found.bbox) > _SAME * geometry.area(
        piece.found.bbox
    )
    return most or geometry.iou(piece.found.bbox, better.found.bbox) > least


def _joined(pieces: Sequence[_Piece]) -> list[_Piece]:
    """Join pieces that neighbouring tiles cut off and that agree where both tiles look."""
    done: list[_Piece | None] = []
    places = _Places(len(pieces))
    for piece in pieces:
        grown = piece
        while (place := _partner(grown, done, places)) is not None:
            if partner := done[place]:
                grown = _join(grown, partner)
            done[place] = None
        places.put(grown.found.bbox)
        done.append(grown)
    return [piece for piece in done if piece]


def _partner(piece: _Piece, done: Sequence[_Piece | None], places: "_Places") -> int | None:
    if not piece.cut:
        return None
    for place in places.meeting(piece.found.bbox):
        other = done[place]
        if other and _are_halves(piece, other):
            return place
    return None


def _are_halves(a: _Piece, b: _Piece) -> bool:
    if not (a.cut and b.cut and a.frame and b.frame) or a.found.label != b.found.label or a.frame == b.frame:
        return False
    shared = _overlap(a.frame, b.frame)
    return geometry.iou(_overlap(a.found.bbox, shared), _overlap(b.found.bbox, shared)) > _SAME


def _join(a: _Piece, b: _Piece) -> _Piece:
    """Make one of two halves; it stays open to a third, which a thing across a corner has."""
    better, other = sorted((a.found, b.found), key=lambda found: -certainty(found))
    update: dict[str, object] = {"bbox": _around(a.found.bbox, b.found.bbox)}
    if better.mask and other.mask:
        from dinox_mcp import masks

        update["mask"] = masks.union(better.mask, other.mask)
    frame = _around(a.frame or (), b.frame or ())
    return _Piece(better.model_copy(update=update), tuple(map(int, frame)), cut=True)  # type: ignore[arg-type] # four


def _overlap(a: Sequence[float], b: Sequence[float]) -> Box:
    return max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])


def _around(a: Sequence[float], b: Sequence[float]) -> Box:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])
