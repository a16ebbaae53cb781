"""The official conformance suite: the released one, and what needs no test server of the next one."""

import subprocess
from pathlib import Path

import pytest

from tests.hosts.environments import HERE, NODE_MODULES, node, plain_environment
from tests.hosts.report import Target

COMMON = ["completion-complete", "tools-list", "resources-list", "prompts-list", "dns-rebinding-protection"]
SCENARIOS = [
    *[("2025-11-25", scenario) for scenario in [*COMMON, "server-initialize", "ping"]],
    *[
        ("2026-07-28", scenario)
        for scenario in [
            *COMMON,
            "caching",
            "http-header-validation",
            "sep-2164-resource-not-found",
            "server-sse-multiple-streams",
        ]
    ],
]


def test_the_suite_finds_nothing_but_what_is_expected(over_http: Target, tmp_path: Path) -> None:
    """conformance.yml says which scenarios cannot pass, and why."""
    expected = ["--expected-failures", str(HERE / "conformance.yml")]
    assert "dns-rebinding-protection: 2 passed, 0 failed" in run(
        "@modelcontextprotocol/conformance", over_http, tmp_path, *expected
    )


@pytest.mark.parametrize(("version", "scenario"), SCENARIOS)
def test_a_scenario_passes_and_every_message_fits_the_schema(
    over_http: Target, tmp_path: Path, version: str, scenario: str
) -> None:
    said = run("conformance-of-2026", over_http, tmp_path, "--spec-version", version, "--scenario", scenario)
    assert "0 failed" in said


def run(package: str, target: Target, home: Path, *options: str) -> str:
    """Run a suite; give what it says."""
    program = [node(), str(NODE_MODULES / package / "dist" / "index.js"), "server", "--url", target["url"]]
    done = subprocess.run(  # noqa: S603 - the client under test
        [*program, *options],
        cwd=home,
        env=plain_environment(home),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout
