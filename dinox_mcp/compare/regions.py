"""Finds where two registered images differ, however the light, the compression and small misalignments differ.

All is in pixels of the second image at the size at which the images are compared.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from dinox_mcp.compare.registration import Floats, Pixels, Registration, warp
from dinox_mcp.types.boxes import Box, clip

Mask = npt.NDArray[np.bool_]

_DARK = 40.0  # grey levels added before logarithms are taken, so that the noise of dark pixels counts little
_LEAST_DIFFERENCE = 0.12  # of logarithms, in which light acts as a sum: about an eighth brighter or darker
_NOISE = 5.0  # differences count if they are this many times the noise
_MOST_NOISE = 0.1  # where more than half of the scene differs, the median of the differences is not noise
_AROUND = 9  # pixels of the windows in which contrast is measured
_OF_CONTRAST = 0.35  # differences count if they are this share of the contrast that both images have there
_ROUNDS, _OUTLIER = 6, 2.5
_MIDDLE = float(np.log(128 + _DARK))
_STIFFNESS = 1e-3
_LEAST_KEPT = 0.1  # share of the contrast of a scene that other light leaves at least
_GRID = 96  # pixels of the long side of the images to which the light is fitted
_SPECK = 3
_CLOSING = 0.012  # gaps in a region are closed up to this share of the long side
_LEAST_SIDE = 0.016  # a region has at least the area of a square of this share of the long side
_LEAST_SOLID = 0.2
_EXPLAINED = 0.25  # share of a region from which on a changed object explains it, as a text the sign around it
_SAME_PATCH = 0.8  # correlation from which on two patches show the same text
_WORSE = 0.08  # correlation by which a part of a text that changed is worse than the other parts
_PATCH_SIDE = 8
_PLAIN = 2.0  # standard deviation of the grey levels of a patch below which there is nothing to correlate


@dataclass(frozen=True, eq=False)
class Differences:
    """The two images in one frame, and where they differ.

    Attributes:
        before: the first image, mapped to the frame of the second.
        after: the second image.
        shown: pixels that both images show.
        mask: pixels that differ.
        tolerance: pixels by which the images may be misaligned.
    """

    before: Pixels
    after: Pixels
    shown: Mask
    mask: Mask
    tolerance: int

    def share(self, box: Sequence[float]) -> float:
        """Give the share of a box that differs; 0 for a box outside of the images."""
        part = self.mask[_slices(box, self.mask.shape)]
        return float(part.mean()) if part.size else 0.0

    def visible(self, box: Sequence[float]) -> float:
        """Give the share of a box that both images show."""
        area = max(1.0, (box[2] - box[0]) * (box[3] - box[1]))
        return min(1.0, float(self.shown[_slices(box, self.shown.shape)].sum()) / area)

    def similarity(self, here: Sequence[float], there: Sequence[float]) -> float:
        """Correlate what `here` in the second image shows with what `there` in the first shows, from -1 to 1."""
        patch = self._grey[1][_slices(here, self.mask.shape)]
        other = self._grey[0][_slices(there, self.mask.shape)]
        if min(*patch.shape, *other.shape) < 2:  # noqa: PLR2004 - nothing to correlate
            return 0.0
        resized = np.asarray(cv2.resize(other, patch.shape[::-1], interpolation=cv2.INTER_AREA), np.uint8)
        return _best_match(patch, resized, max(2, round(0.08 * min(patch.shape))))

    def reads_differently(self, box: Sequence[float]) -> bool:
        """Return whether the pixels of a text differ in any part of it that is as long as the text is high.

        A part differs if it correlates badly, or clearly worse than most parts do: blur and small letters lower the
        correlation of all parts alike.
        """
        rows, columns = _slices(box, self.mask.shape)
        patch, other = self._grey[1][rows, columns], self._grey[0][rows, columns]
        if not patch.size:
            return False
        side = max(_PATCH_SIDE, min(patch.shape))
        along = 1 if patch.shape[1] >= patch.shape[0] else 0
        starts = range(0, max(1, patch.shape[along] - side // 2), max(1, side // 2))
        parts = [(slice(None), slice(at, at + side)) if along else (slice(at, at + side), slice(None)) for at in starts]
        matches = [_best_match(patch[part], other[part], self.tolerance + 1) for part in parts]
        return min(matches) < max(_SAME_PATCH, float(np.median(matches)) - _WORSE)

    def regions(self, explained: Iterable[Sequence[float]]) -> list[Box]:
        """List the boxes of connected parts that differ, without those that `explained` boxes account for.

        The part of the largest area is the first.
        """
        long = max(self.mask.shape)
        differs = self.mask.astype(np.uint8)
        known = np.zeros(differs.shape, np.bool_)
        for box in explained:
            known[_slices(box, known.shape)] = True
        side = 2 * max(2, round(_CLOSING * long)) + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        closed = cv2.morphologyEx(differs, cv2.MORPH_CLOSE, disc)
        _, numbers, facts, _ = cv2.connectedComponentsWithStats(closed)
        found: list[tuple[int, Box]] = []
        for number, (x, y, width, height, area) in enumerate(facts.tolist()):
            if number == 0 or area < (_LEAST_SIDE * long) ** 2:  # 0 is what does not differ
                continue
            part = slice(y, y + height), slice(x, x + width)
            inside = numbers[part] == number
            if differs[part][inside].mean() >= _LEAST_SOLID and known[part][inside].mean() < _EXPLAINED:
                found.append((area, (x, y, x + width, y + height)))
        return [box for _, box in sorted(found, key=lambda one: -one[0])]

    @cached_property
    def _grey(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        first, second = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (self.before, self.after))
        return np.asarray(first, np.uint8), np.asarray(second, np.uint8)


def find_differences(before: Pixels, after: Pixels, registration: Registration) -> Differences:
    """Find the pixels in which two registered images differ.

    The light of the first image is fitted to that of the second. A pixel differs if it is brighter or darker than all
    pixels of the other image within the tolerance of the registration.

    Args:
        before: the first image (height, width, 3), RGB.
        after: the second image.
        registration: how they fit.
    """
    size = after.shape[1::-1]
    zoom = registration.scale
    mapped = warp(_smooth(before, 1 / zoom), registration.matrix, size)
    white = np.full(before.shape[:2], 255, np.uint8)
    edge = 2 * registration.tolerance + 1
    shown = warp(white, registration.matrix, size) == 255  # noqa: PLR2004 - white
    shown &= cv2.erode(shown.astype(np.uint8), np.ones((edge, edge), np.uint8)) > 0
    source, target = (np.log(image.astype(np.float32) + _DARK) for image in (mapped, _smooth(after, zoom)))
    expected = np.clip(_relit(source, target, shown), np.log(_DARK), np.log(255 + _DARK))
    noise = min(_MOST_NOISE, float(np.median(np.abs(target - expected)[shown])) * 1.48) if shown.any() else 0.0
    difference = _beyond(expected, target, registration.tolerance)
    least = np.maximum(max(_LEAST_DIFFERENCE, _NOISE * noise), _OF_CONTRAST * _contrast(expected, target))
    mask = (difference > least) & shown
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((_SPECK, _SPECK), np.uint8))
    return Differences(mapped, after, shown, opened > 0, registration.tolerance)


def _smooth(image: Pixels, zoom: float) -> Pixels:
    """Blur an image that is shown `zoom` times as large in the other one, so that both are equally sharp."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), max(1.0, 0.6 * zoom)), np.uint8)


def _relit(source: Floats, target: Floats, shown: Mask) -> Floats:
    """Fit the logarithms of one image to another's by a curve and a surface of second degree, channel by channel.

    Where the images differ for another reason than light, they are outliers, which the fit leaves out. An image that
    lacks all contrast of the other one is not the same scene in other light: nothing is fitted then.
    """
    height, width = shown.shape
    step = max(1, max(height, width) // _GRID)
    known = shown[::step, ::step]
    if not known.any():
        return source
    v, u = np.ogrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    fitted = np.empty_like(source)
    blank = []
    for channel in range(source.shape[2]):
        values = source[..., channel] - _MIDDLE
        samples = [np.broadcast_to(term, shown.shape)[::step, ::step][known] for term in _terms(values, u, v)]
        wanted = target[::step, ::step, channel][known] - _MIDDLE
        terms = np.stack(samples, axis=-1).astype(float)
        solution = _robust_fit(terms, wanted)
        contrasts = [np.ptp(np.percentile(one, (10, 90))) for one in (samples[0], wanted, terms @ solution)]
        blank.append(contrasts[0] < _LEAST_KEPT * contrasts[1] or contrasts[2] < _LEAST_KEPT * contrasts[0])
        light = sum(factor * term for factor, term in zip(solution, _terms(values, u, v), strict=True))
        fitted[..., channel] = _MIDDLE + light
    return source if all(blank) else fitted


def _terms(values: Floats, u: Floats, v: Floats) -> Iterator[Floats]:
    """List what the light of a pixel follows from: its own value, its position, and products of these."""
    yield values
    yield np.ones((1, 1))
    yield values * values
    yield values * u
    yield values * v
    yield from (u, v, u * u, u * v, v * v)


def _robust_fit(terms: Floats, wanted: Floats) -> Floats:
    """Solve least squares again and again without the samples that miss by more than a few typical misses.

    The factors are kept near those of unchanged light, so that an image without contrast does not make up any.
    """
    start = np.zeros(terms.shape[1])
    start[0] = 1.0
    start[1] = float(np.median(wanted - terms[:, 0]))
    prior = _STIFFNESS * len(terms) * np.eye(len(start))
    solution = start
    for _ in range(_ROUNDS):
        misses = np.abs(terms @ solution - wanted)
        inside = misses <= max(_LEAST_DIFFERENCE / 2, _OUTLIER * 1.48 * float(np.median(misses)))
        chosen = terms[inside]
        normal = chosen.T @ chosen + prior
        solution = start + np.linalg.solve(normal, chosen.T @ (wanted[inside] - chosen @ start))
    return np.asarray(solution)


def _beyond(first: Floats, second: Floats, tolerance: int) -> npt.NDArray[np.float32]:
    """Compute by how much each pixel is outside of what the other image shows nearby, the most of all channels."""
    around = np.ones((2 * tolerance + 1, 2 * tolerance + 1), np.uint8)
    most = np.zeros(first.shape[:2], np.float32)
    for a, b in ((first, second), (second, first)):
        excess = np.maximum(a - cv2.dilate(b, around), cv2.erode(b, around) - a)
        most = np.maximum(most, excess.max(axis=2))
    return most


def _contrast(first: Floats, second: Floats) -> Floats:
    """Compute the lower contrast of two images around each pixel: at sharp edges, small errors are large."""
    around = np.ones((_AROUND, _AROUND), np.uint8)
    ranges = [cv2.dilate(one, around) - cv2.erode(one, around) for one in (first, second)]
    return np.asarray(np.minimum(*ranges).max(axis=2))


def _best_match(patch: Pixels, other: Pixels, reach: int) -> float:
    """Correlate two patches of one size at the shift, within `reach` pixels, at which they agree best."""
    if min(patch.shape) <= 2 * reach + 2:
        reach = max(0, (min(patch.shape) - 3) // 2)
    inner = patch[reach : patch.shape[0] - reach, reach : patch.shape[1] - reach]
    if float(inner.std()) < _PLAIN:
        core = other[2 * reach : other.shape[0] - 2 * reach, 2 * reach : other.shape[1] - 2 * reach]
        return 0.0 if core.size and float(core.std()) > 4 * _PLAIN else 1.0
    best = float(cv2.matchTemplate(other, inner, cv2.TM_CCOEFF_NORMED).max())
    return best if np.isfinite(best) else 0.0


def _slices(box: Sequence[float], shape: Sequence[int]) -> tuple[slice, slice]:
    x1, y1, x2, y2 = clip(box, shape[1], shape[0])
    return slice(round(y1), max(round(y2), round(y1))), slice(round(x1), max(round(x2), round(x1)))
