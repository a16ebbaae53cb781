"""Clients that we did not write drive the installed package: `make test-hosts`. Other runs of pytest leave them out."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.command_lines import HOSTS
from tests.hosts.environments import ROOT, installed_server
from tests.hosts.libraries import LIBRARIES
from tests.hosts.model.conversation import Call
from tests.hosts.report import Report, Target
from tests.hosts.tokens import count_tokens
from tests.hosts.video import write_video

SAMPLE = ROOT / "examples" / "sample.png"
MISSING = str(SAMPLE.with_name("missing.png"))
CLIENTS = {**LIBRARIES, **HOSTS}
FINDINGS = pytest.StashKey[list[list[str]]]()
"""Rows of the table that stands in docs/hosts.md."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Collect this folder only when it is named."""
    named = any(Path(word.partition("::")[0]).resolve().is_relative_to(Path(__file__).parent) for word in config.args)
    return None if named or collection_path == Path(__file__) else True


def pytest_configure(config: pytest.Config) -> None:
    """Begin the table of findings."""
    config.stash[FINDINGS] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table of findings."""
    if rows := config.stash[FINDINGS]:
        heads = ["client", "version", "transport", "reads", "sees", "tool list: characters", "tokens"]
        lines = [heads, ["---"] * len(heads), *rows]
        terminalreporter.write_line("\n".join(f"| {' | '.join(row)} |" for row in lines))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail where all was skipped: nothing was tested then."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.stats.get("skipped") and not reporter.stats.get("passed"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a clip of two seconds in which a QR code moves."""
    path = tmp_path_factory.mktemp("video") / "parcel.mp4"
    write_video(path, SAMPLE)
    return path


@pytest.fixture(scope="session")
def over_stdio(tmp_path_factory: pytest.TempPathFactory) -> Target:
    """Give the command of the installed server."""
    home = tmp_path_factory.mktemp("server")
    environment = {"DINOX_MCP_BACKEND": "embedded", "HOME": str(home), "PATH": os.environ["PATH"]}
    command, *arguments = installed_server()
    return {"command": command, "args": arguments, "env": environment}


@pytest.fixture(scope="session")
def over_http(over_stdio: Target, video: Path) -> Iterator[Target]:
    """Give the address of the installed server, which runs as long as the session."""
    folders = json_list(ROOT / "examples", video.parent)
    with subprocess.Popen(  # noqa: S603 - our own program
        [over_stdio["command"], "serve", "--transport", "http", "--port", "0"],
        env=over_stdio["env"] | {"DINOX_MCP_ALLOWED_FOLDERS": folders},
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stderr is not None
        address = re.search(r"http://\S+", server.stderr.readline())
        assert address
        yield {"url": address[0]}
        server.terminate()


def json_list(*folders: Path) -> str:
    """Write folders as the setting takes them."""
    return os.pathsep.join(map(str, folders))


@pytest.fixture(scope="session", params=["stdio", "http"])
def target(request: pytest.FixtureRequest) -> Target:
    """Give the server over both transports."""
    given: Target = request.getfixturevalue(f"over_{request.param}")
    return given


@pytest.fixture(scope="session", params=list(CLIENTS))
def client(request: pytest.FixtureRequest) -> str:
    """Give each client's name."""
    return str(request.param)


@pytest.fixture(scope="session")
def script(video: Path) -> dict[str, Call]:
    """Give the calls that every client makes, by what they show."""
    return {
        "detection": Call("detect_prompt_free", {"image": str(SAMPLE)}),
        "picture": Call("visualize", {"result": "{result}"}),
        "crop": Call("zoom", {"result": "{result}", "object": 2}),
        "video": Call("detect_video", {"video": str(video), "prompts": ["QR code"], "every_s": 1}),
        "missing file": Call("detect_objects", {"image": MISSING, "prompts": ["text"]}),
        "wrong type": Call("detect_objects", {"image": str(SAMPLE), "prompts": ["text"], "min_score": "high"}),
        "wrong range": Call("detect_objects", {"image": str(SAMPLE), "prompts": ["text"], "min_score": 7}),
    }


@pytest.fixture(scope="session")
def report(
    client: str,
    target: Target,
    script: dict[str, Call],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Report:
    """Let a client work through the script, once for all tests."""
    given = CLIENTS[client].ask(tmp_path_factory.mktemp("home"), target, list(script.values()))
    request.config.stash[FINDINGS].append(_row(client, "http" if "url" in target else "stdio", given))
    return given


def _row(client: str, transport: str, report: Report) -> list[str]:
    detection, picture = report.answers[:2]
    reads = [form for form, words in (("text", "Found 29 objects"), ("data", '"result_id"')) if words in detection.text]
    sees = "picture" if picture.pictures else "-"
    declared = "\n".join(tool.json for tool in report.tools)
    return [
        client,
        report.version,
        transport,
        " and ".join(reads),
        sees,
        str(len(declared)),
        str(count_tokens([declared])[0]) if shutil.which("npm") else "-",
    ]
