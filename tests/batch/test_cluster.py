"""Ray starts without its reports and its dashboard, on this machine or where RAY_ADDRESS says."""

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from dinox_mcp.batch.cluster import import_ray, join
from dinox_mcp.errors import SettingsError


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A double of Ray, which keeps how it was started, and whether its reports were off by then."""
    double = SimpleNamespace(started=False, options={}, reports="")

    def init(**options: Any) -> None:  # noqa: ANN401 - those of Ray
        double.started, double.options = True, options
        double.reports = os.environ["RAY_USAGE_STATS_ENABLED"]

    double.init, double.is_initialized = init, lambda: double.started
    monkeypatch.setitem(sys.modules, "ray", double)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return double


def test_ray_is_started_here_without_reports_and_dashboard(ray: SimpleNamespace) -> None:
    assert join() is ray
    assert ray.reports == "0"
    assert (ray.options["address"], ray.options["include_dashboard"]) == (None, False)


def test_the_cluster_of_the_environment_is_joined(ray: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", " head:6379 ")
    join(namespace="serve")
    assert (ray.options["address"], ray.options["namespace"]) == ("head:6379", "serve")
    assert "include_dashboard" not in ray.options, "Ray refuses it for a cluster that runs already"


def test_a_cluster_that_was_joined_before_is_used(ray: SimpleNamespace) -> None:
    ray.started = True
    assert join() is ray
    assert ray.options == {}


@pytest.mark.parametrize("error", [ConnectionError("nobody there\nmore"), ValueError("nobody there"), RuntimeError()])
def test_a_cluster_that_does_not_answer_is_one_clear_error(
    ray: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(**_: Any) -> None:  # noqa: ANN401 - those of Ray
        raise error

    ray.init = fail
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    with pytest.raises(SettingsError, match=r"no Ray answers at RAY_ADDRESS=head:6379 \(.+\); correct it") as raised:
        join()
    assert "\n" not in str(raised.value)


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SettingsError, match=r"Ray is not installed; pip install 'dinox-mcp\[ray\]'"):
        import_ray()
