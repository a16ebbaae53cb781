"""`dinox-mcp serve`, and `dinox-mcp` without a command."""

import io
import sys

import pytest

from dinox_mcp.cli.main import main, parser
from tests.cli.conftest import run


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Serve nobody, and note the settings."""
    settings: list[object] = []
    monkeypatch.setattr("dinox_mcp.server.serve.serve", settings.append)
    return settings


def test_in_a_terminal_it_says_what_it_is_waiting_for(
    served: list[object], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal())
    main([])
    printed = capsys.readouterr()
    assert printed.out == "", "stdout belongs to the protocol"
    assert "waiting for an MCP host on stdin" in printed.err
    assert "dinox-mcp detect photo.jpg" in printed.err
    assert len(served) == 1


@pytest.mark.parametrize("arguments", [[], ["--http"]])
def test_to_a_host_and_over_http_it_says_nothing(
    arguments: list[str], served: list[object], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal() if arguments else io.StringIO())
    main(arguments)
    assert capsys.readouterr().err == ""
    assert len(served) == 1


def test_origins_without_hosts_would_let_nobody_in(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DINOX_MCP_ALLOWED_ORIGINS", "https://example.com")
    status, _, err = run(capsys, "serve", "--transport", "http", "--host", "0.0.0.0", "--no-auth")
    assert status == 2
    assert "DINOX_MCP_ALLOWED_HOSTS" in err


@pytest.mark.parametrize(
    ("arguments", "transport"),
    [
        (["--http"], "http"),
        (["--http", "--port=8080"], "http"),
        (["serve", "--http"], "http"),
        (["--stdio"], "stdio"),
        (["--transport", "HTTP"], "http"),
    ],
)
def test_the_transport_may_be_named_as_for_the_vendors_server(arguments: list[str], transport: str) -> None:
    assert parser().parse_args(arguments).transport == transport


@pytest.mark.parametrize("arguments", [["--http"], ["serve"]])
@pytest.mark.parametrize(
    ("flag", "remedy"),
    [
        ("--dinox-api-key=sesame", "set DINOX_API_KEY instead"),
        ("--enable-client-key", "X-DINOX-API-Key"),
        ("--enable-client-key=true", "leave it out"),
    ],
)
def test_flags_of_the_vendors_server_are_refused_by_name(
    capsys: pytest.CaptureFixture[str], arguments: list[str], flag: str, remedy: str
) -> None:
    status, _, err = run(capsys, *arguments, flag)
    assert status == 2
    assert err.startswith(f"dinox-mcp: {flag.partition('=')[0]}: ")
    assert remedy in err
    assert "sesame" not in err
    assert err.count("\n") == 1
