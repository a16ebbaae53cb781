"""Charts as SVG for the page of an evaluation: no script, colors by classes of its style sheet."""

import math
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from types import MappingProxyType

import numpy as np

from dinox_mcp.evaluation.labelled import Floats

_WIDTH, _HEIGHT = 420, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 10, 40
_TICKS = 5
_SWATCH = (
    '<svg class="swatch" viewBox="0 0 22 8" aria-hidden="true"><line class="{}" x1="1" y1="4" x2="21" y2="4"/></svg>'
)


def line_chart(
    title: str,
    x: Floats,
    lines: Mapping[str, Floats],
    axes: tuple[str, str],
    marks: Mapping[str, float] = MappingProxyType({}),
    highest: float = 1.0,
) -> str:
    """Draw lines over x, which is from 0 to 1, with a legend below.

    Args:
        title: what the chart shows, for those who cannot see it too.
        x: the common places (n,) of the values.
        lines: the values (n,) of each by its name, at most six; NaN are left out.
        axes: the names of both axes.
        marks: the places of vertical lines by their names.
        highest: at least the upper end of the other axis, above which values are left out.
    """
    highest = _rounded(highest)
    body = [*_grid(highest, axes)]
    for place, at in enumerate(map(_x, marks.values())):
        body.append(f'<line class="mark m{place}" x1="{at:.1f}" y1="{_TOP}" x2="{at:.1f}" y2="{_HEIGHT - _BOTTOM}"/>')
    for place, values in enumerate(lines.values()):
        body.append(f'<path class="line c{place}" d="{_path(x, values / highest)}"/>')
    kinds = [f"line c{place}" for place in range(len(lines))] + [f"mark m{place}" for place in range(len(marks))]
    named = zip(kinds, (*lines, *marks), strict=True)
    legend = "".join(f"<li>{_SWATCH.format(kind)}{escape(name)}</li>" for kind, name in named)
    return _figure(title, body, f'<ul class="legend">{legend}</ul>')


def small_chart(name: str, value: str, x: Floats, values: Floats) -> str:
    """Draw one line without axes, both from 0 to 1, with a name and a figure."""
    points = " ".join(
        f"{100 * at:.1f},{60 - 58 * value:.1f}" for at, value in zip(x, values, strict=True) if not np.isnan(value)
    )
    return (
        f'<figure class="small"><svg viewBox="0 0 100 62" role="img" aria-label="{escape(name)}: {escape(value)}">'
        f'<path class="axis" d="M0,2V60H100"/><polyline class="line c0" points="{points}"/></svg>'
        f"<figcaption><span>{escape(name)}</span><b>{escape(value)}</b></figcaption></figure>"
    )


def scatter_chart(title: str, points: Iterable[tuple[float, float]], axes: tuple[str, str]) -> str:
    """Draw points, both axes from 0 to the largest value, with the line on which both are equal."""
    pairs = sorted({(float(x), float(y)) for x, y in points})
    highest = _rounded(max((max(pair) for pair in pairs), default=1.0))
    body = [*_grid(highest, axes, x_highest=highest)]
    body.append(f'<path class="mark m0" d="M{_x(0):.1f},{_y(0):.1f}L{_x(1):.1f},{_y(1):.1f}"/>')
    body += [f'<circle class="dot" cx="{_x(x / highest):.1f}" cy="{_y(y / highest):.1f}" r="3"/>' for x, y in pairs]
    return _figure(title, body)


def bar(share: float) -> str:
    """Draw a bar for a share from 0 to 1."""
    width = 60 * min(max(share, 0.0), 1.0)
    return (
        '<svg class="bar" viewBox="0 0 60 8" aria-hidden="true"><rect class="track" width="60" height="8" rx="2"/>'
        f'<rect class="part" width="{width:.1f}" height="8" rx="2"/></svg>'
    )


def _figure(title: str, body: Iterable[str], legend: str = "") -> str:
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(body)}</svg>'
        f"{legend}</figure>"
    )


def _grid(highest: float, axes: tuple[str, str], x_highest: float = 1.0) -> Iterator[str]:
    for step in range(_TICKS + 1):
        share = step / _TICKS
        across, up, below = _x(share), _y(share), _HEIGHT - _BOTTOM + 16
        yield f'<line class="grid" x1="{_LEFT}" y1="{up:.1f}" x2="{_WIDTH - _RIGHT}" y2="{up:.1f}"/>'
        yield f'<text class="tick end" x="{_LEFT - 6}" y="{up + 4:.1f}">{_number(share * highest)}</text>'
        yield f'<text class="tick middle" x="{across:.1f}" y="{below}">{_number(share * x_highest)}</text>'
    center = (_LEFT + _WIDTH - _RIGHT) / 2
    yield f'<text class="axis-name middle" x="{center}" y="{_HEIGHT - 6}">{escape(axes[0])}</text>'
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    yield (
        f'<text class="axis-name middle" transform="translate(11 {middle}) rotate(-90)" x="0" y="0">'
        f"{escape(axes[1])}</text>"
    )


def _path(x: Floats, shares: Floats) -> str:
    """Write a line; values that are missing or too high leave a gap."""
    parts = []
    pen_up = True
    for at, share in zip(x.tolist(), shares.tolist(), strict=True):
        if not share <= 1:
            pen_up = True
            continue
        parts.append(f"{'M' if pen_up else 'L'}{_x(at):.1f},{_y(share):.1f}")
        pen_up = False
    return "".join(parts)


def _rounded(highest: float) -> float:
    """Round up to 1, 2 or 5 times a power of ten."""
    if highest <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= highest * (1 - 1e-9))


def _x(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"  # noqa: PLR2004 - two digits are enough
