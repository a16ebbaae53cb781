"""Charts are well-formed SVG whose lines go where the values are."""

import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from dinox_mcp.evaluation.charts import bar, line_chart, scatter_chart, small_chart

X = np.array([0, 0.5, 1])


def drawing(chart: str) -> ET.Element:
    (svg,) = re.findall(r"<svg(?! class).*?</svg>", chart)
    return ET.fromstring(svg)  # noqa: S314 - it is the test's own


def ticks(chart: ET.Element) -> list[str]:
    return [one.text or "" for one in chart.iter("text") if one.get("class") == "tick end"]


def test_a_line_leaves_out_what_is_missing_or_too_high() -> None:
    chart = drawing(line_chart("T", X, {"a": np.array([1, np.nan, 0]), "b": np.array([9, 1, 1])}, ("x", "y")))
    first, second = (one.get("d") or "" for one in chart.iter("path"))
    assert (first.count("M"), first.count("L")) == (2, 0), "two points with a gap between them"
    assert (second.count("M"), second.count("L")) == (1, 1)


@pytest.mark.parametrize(
    ("highest", "last"), [(1, "1"), (1.2, "2"), (14.6, "20"), (450, "500"), (0, "1"), (0.04, "0.05"), (5, "5")]
)
def test_an_axis_ends_at_a_round_number(highest: float, last: str) -> None:
    chart = line_chart("T", X, {"a": X}, ("x", "y"), highest=highest)
    assert ticks(drawing(chart))[-1] == last


def test_names_are_escaped_and_in_the_legend() -> None:
    chart = line_chart("<T>", X, {"a & b": X}, ("<x>", "y"), {"own": 0.5})
    assert "a &amp; b</li>" in chart
    assert "own</li>" in chart
    assert [one.text for one in drawing(chart).iter("text")][-2] == "<x>"
    assert "<b>" not in small_chart("<b>", "1.0", X, X).replace("<b>1.0</b>", "")


def test_a_scatter_chart_draws_equal_points_once() -> None:
    chart = drawing(scatter_chart("T", [(1, 2), (1, 2), (3, 3)], ("x", "y")))
    assert len(list(chart.iter("circle"))) == 2
    assert not list(drawing(scatter_chart("T", [], ("x", "y"))).iter("circle"))


@pytest.mark.parametrize(("share", "width"), [(0, "0.0"), (0.5, "30.0"), (2, "60.0")])
def test_a_bar_is_as_long_as_its_share(share: float, width: str) -> None:
    assert f'width="{width}"' in bar(share)
