"""Samples of more than 8 bits made 8: shown by the range that they use, whatever their type could hold."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.generic]

_FULL = 65535
_SEEN = 1_000_000  # about how many samples the range is measured on
_TAILS = (1000, 10_000, 100_000)  # one in so many samples at either end may be a hot pixel or a speck
# Numbers by which programs mark pixels without data where the file does not say.
_MARKS = (-9999.0, -99999.0, -32768.0, -32767.0, -(2.0**31), 2.0**31 - 1)
_ABSURD = 1e30
_GAP = 0.1


@dataclass(frozen=True, slots=True)
class Facts:
    """What a file says of its samples: the largest, the one that means no data, and whether 0 is white."""

    top: int | None = None
    nodata: float | None = None
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """How samples become 8 bits: `low` is black, `high` is white, and `empty` are no data."""

    low: float
    high: float
    empty: frozenset[float] = frozenset()
    notes: tuple[str, ...] = ()

    def grey(self, samples: "Samples") -> "NDArray[np.uint8]":
        """Bring samples of any shape to 8 bits."""
        import numpy as np

        if samples.dtype.kind == "u":
            return np.asarray(self._shades(np.arange(_FULL + 1))[samples], np.uint8)
        return self._shades(samples)

    def has_data(self, samples: "Samples") -> "NDArray[np.bool_]":
        """Return which samples are data."""
        import numpy as np

        known = np.isfinite(samples) & (np.abs(samples) < _ABSURD)
        for mark in self.empty:
            known &= samples != np.float32(mark) if samples.dtype.kind == "f" else samples != mark
        return np.asarray(known)

    def _shades(self, samples: Any) -> "NDArray[np.uint8]":  # noqa: ANN401 - numbers of any type
        import numpy as np

        with np.errstate(invalid="ignore", over="ignore"):
            shades = (samples.astype(np.float32) - np.float32(self.low)) * np.float32(255 / (self.high - self.low))
            return np.asarray(np.nan_to_num(shades.round().clip(0, 255)), np.uint8)


def measure(bands: Iterable["Samples"], size: int, facts: Facts) -> Scale:
    """Choose how to show samples, read band by band, about `size` of them in all.

    Those that fill most of what they may hold are shown as they are. Others are stretched, by percentiles that a
    few hot pixels do not move.
    """
    import numpy as np

    step = max(1, round((size / _SEEN) ** 0.5))
    parts = []
    for band in bands:
        parts += [band[::step, ::step].ravel(), np.array([band.min(), band.max()], band.dtype)]
    samples = np.concatenate(parts)
    deep = samples.dtype.kind == "u"
    top = (facts.top if facts.top and samples.max() <= facts.top else _FULL) if deep else None
    values, empty = _without_nodata(samples.astype(np.float64), facts)
    notes = ["pixels without data were left out"] if values.size < samples.size else []
    low, high = _range(values) if values.size else (0.0, 0.0)
    if top and (high - low >= top / 2 or low == high):
        low, high = 0, top
        if top < _FULL:
            notes.append(f"its samples have {top.bit_length()} bits and were stretched")
    elif low == high:
        return Scale(0, 255, empty, tuple(notes))
    else:
        of = f" of {top:,}" if top else ""
        notes.append(f"its samples lie between {low:g} and {high:g}{of} and were stretched from black to white")
    if facts.inverted:
        low, high = high, low
    return Scale(low, high, empty, tuple(notes))


def _range(values: "NDArray[np.float64]") -> tuple[float, float]:
    """Find the least and the greatest of values, without the few that lie far outside of all others."""
    import numpy as np

    ordered = np.sort(values)
    low, high = float(ordered[0]), float(ordered[-1])
    for part in _TAILS:
        tail = max(ordered.size // part, 1 if ordered.size >= 100 else 0)  # noqa: PLR2004 - an image of 10 by 10
        first, last = float(ordered[tail]), float(ordered[-1 - tail])
        if first < last:
            reach = last - first
            return (low if first - low <= reach else first), (high if high - last <= reach else last)
    return low, high


def _without_nodata(samples: "NDArray[np.float64]", facts: Facts) -> tuple["NDArray[np.float64]", frozenset[float]]:
    """Leave out samples that are not finite, that the file declares as nodata, or that are marks far from the rest."""
    import numpy as np

    values = samples[np.isfinite(samples) & (np.abs(samples) < _ABSURD)]
    empty = set()
    if facts.nodata is not None and np.isfinite(facts.nodata):
        empty.add(facts.nodata)
        values = values[values != np.float32(facts.nodata)]
    for mark in _MARKS:
        rest = values[values != mark]
        if 0 < rest.size < values.size:
            low, high = _range(rest)
            if mark < low - _GAP * (high - low) or mark > high + _GAP * (high - low):
                empty.add(mark)
                values = rest
    return values, frozenset(empty)
