"""Errors of counts are those that are counted by hand."""

import pytest

from dinox_mcp.evaluation.counting import count_errors


def test_errors_of_counts() -> None:
    errors = count_errors({(0, 0): 3, (0, 1): 0, (1, 0): 10}, {(0, 0): 3, (1, 0): 6, (2, 0): 99})
    assert errors is not None
    assert errors.counts == 3
    assert errors.mae == pytest.approx(4 / 3)
    assert errors.rmse == pytest.approx((16 / 3) ** 0.5)
    assert errors.bias == pytest.approx(-4 / 3)
    assert errors.exact == pytest.approx(2 / 3)


def test_without_labels_there_are_no_errors() -> None:
    assert count_errors({}, {(0, 0): 3}) is None
