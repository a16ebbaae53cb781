"""The official conformance suite; conformance.yml says which scenarios cannot pass, and why."""

import subprocess
from pathlib import Path

from tests.hosts.environments import HERE, NODE_MODULES, node, plain_environment
from tests.hosts.report import Target


def test_the_suite_finds_nothing_but_what_is_expected(over_http: Target, tmp_path: Path) -> None:
    program = [node(), str(NODE_MODULES / ".bin" / "conformance"), "server"]
    done = subprocess.run(  # noqa: S603 - the client under test
        [*program, "--url", over_http["url"], "--expected-failures", str(HERE / "conformance.yml")],
        cwd=tmp_path,
        env=plain_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "dns-rebinding-protection: 2 passed, 0 failed" in done.stdout
