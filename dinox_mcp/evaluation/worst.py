"""The images with most mistakes, small, with what is right, wrong and missed drawn over them as SVG."""

import base64
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any, Literal

import numpy as np

from dinox_mcp.detector import Detector
from dinox_mcp.drawing.views import fit_bytes
from dinox_mcp.errors import DinoxError
from dinox_mcp.evaluation.labelled import Dataset
from dinox_mcp.evaluation.mistakes import ImageMistakes, Mistakes
from dinox_mcp.export.outlines import polygons
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.boxes import Box, intersection
from dinox_mcp.types.detection import Mask
from dinox_mcp.types.keypoints import BODY, BODY_BONES

_MAX_IMAGES = 12
_MAX_BYTES = 60_000  # bytes of each image as JPEG
_MAX_SIDE = 640
_MAX_SHAPES = 60
_MAX_CORNERS = 400
_LETTERS = 40  # letters that fit beside each other on the long side
_LETTER_WIDTH = 0.6
_BONES = [(BODY.index(one), BODY.index(other)) for one, other in BODY_BONES]
Way = Literal["right", "wrong", "missed"]


@dataclass(frozen=True, slots=True)
class WorstImage:
    """An image: its file's name, what is wrong with it, and its drawing as SVG."""

    name: str
    summary: str
    svg: str


async def worst_images(detector: Detector, dataset: Dataset, mistakes: Mistakes) -> list[WorstImage]:
    """Draw the images with most mistakes; those that cannot be read any more are left out."""
    drawn = []
    for one in mistakes.worst(_MAX_IMAGES):
        path = dataset.images[one.image].path
        with suppress(DinoxError):
            picture = await detector.load(str(path))
            svg = await detector.draw(partial(_draw, picture, dataset, mistakes, one))
            summary = f"{len(one.missed)} missed, {len(one.wrong)} wrong, {len(one.right)} right"
            drawn.append(WorstImage(path.name, summary, svg))
    return drawn


def _draw(picture: Picture, dataset: Dataset, mistakes: Mistakes, one: ImageMistakes) -> str:
    truth, found = mistakes.truth, mistakes.found
    data, mime_type, _ = fit_bytes(picture.rgb(_MAX_SIDE), _MAX_BYTES, _MAX_SIDE)
    width, height = picture.width, picture.height
    names = [category.name for category in dataset.categories]
    shapes: list[str] = []
    texts = _Texts(max(width, height) / _LETTERS, width, height)
    for place in _first(one.right):
        shapes += _shape("right", found.bbox[place], _of(found.shapes, place))
    for place in _first(one.missed):
        shapes += _shape("missed", truth.bbox[place], _of(truth.shapes, place) if truth.iou == "segm" else None)
        texts.add(truth.bbox[place], names[truth.category[place]])
    scores = found.threshold_score
    for place in _first(one.wrong[np.argsort(-scores[one.wrong], kind="stable")]):
        shapes += _shape("wrong", found.bbox[place], _of(found.shapes, place))
        texts.add(found.bbox[place], f"{names[found.category[place]]} {scores[place]:.2f}")
    shapes += texts.drawn
    image = base64.b64encode(data).decode("ascii")
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(dataset.images[one.image].path.name)}">'
        f'<image href="data:{mime_type};base64,{image}" width="{width}" height="{height}" preserveAspectRatio="none"/>'
        f"{''.join(shapes)}</svg>"
    )


def _first(positions: Iterable[int]) -> list[int]:
    return [int(position) for position in positions][:_MAX_SHAPES]


def _of(shapes: Any, place: int) -> Any:  # noqa: ANN401 - a mask or keypoints
    return None if shapes is None else shapes[place]


def _shape(way: Way, bbox: Sequence[float], shape: Any) -> list[str]:  # noqa: ANN401 - likewise
    """Draw an object twice, so that its line is visible on light and dark: a mask, a pose, or else a box."""
    if isinstance(shape, dict):
        drawn = f'<path class="{{}}" d="{_outline(shape)}"/>'
    elif isinstance(shape, np.ndarray):
        bones = (f"M{shape[a][0]:.0f},{shape[a][1]:.0f}L{shape[b][0]:.0f},{shape[b][1]:.0f}" for a, b in _BONES)
        drawn = f'<path class="{{}}" d="{"".join(bones)}"/>'
    else:
        x, y, width, height = bbox
        drawn = f'<rect class="{{}}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
    return [drawn.format("under"), drawn.format(way)]


def _outline(shape: dict[str, Any]) -> str:
    height, width = shape["size"]
    outlines = polygons(Mask(size=(height, width), counts=shape["counts"].decode()))
    corners = [[f"{x:.0f},{y:.0f}" for x, y in outline[:_MAX_CORNERS]] for outline in outlines[:_MAX_SHAPES]]
    return "".join(f"M{'L'.join(outline)}Z" for outline in corners)


class _Texts:
    """The names of objects in an image of width and height; one that would cover others is left out."""

    def __init__(self, size: float, width: int, height: int) -> None:
        self._size, self._width, self._height = size, width, height
        self._taken: list[Box] = []
        self.drawn: list[str] = []

    def add(self, bbox: Sequence[float], text: str) -> None:
        """Write above a box, or else in it at its top, or at its bottom."""
        size, (x, y, _, height) = self._size, bbox
        length = _LETTER_WIDTH * size * len(text)
        x = max(0.0, min(float(x), self._width - length))
        for base in (y - 0.25 * size, y + size, y + height - 0.25 * size):
            around = x, base - size, x + length, base
            if base < size or base > self._height or any(intersection(around, other) for other in self._taken):
                continue
            self._taken.append(around)
            self.drawn.append(f'<text x="{x:.1f}" y="{base:.1f}" font-size="{size:.1f}">{escape(text)}</text>')
            return
