"""`dinox-mcp doctor`: what it prints, and that no key is ever printed."""

import json
from pathlib import Path

import pytest

from dinox_mcp.backends import local
from dinox_mcp.cli import doctor
from dinox_mcp.cli.main import main
from dinox_mcp.doctor import backends
from dinox_mcp.doctor.report import Check
from dinox_mcp.settings import Settings
from tests.doctor.conftest import SECRET, cursor, put
from tests.emulator import Emulator


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    status = 0
    try:
        main(["doctor", *words])
    except SystemExit as stop:
        status = int(stop.code or 0)
    return status, capsys.readouterr().out


class TestTheWhole:
    @pytest.fixture(autouse=True)
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
        for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "CODEX_HOME", "CLAUDE_CONFIG_DIR"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv("DINOX_MCP_BACKEND", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(local, "has_torch", lambda: False)
        return tmp_path

    @pytest.fixture
    def probe_here(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Examine local models in this process, which takes less than starting another."""
        monkeypatch.setattr(backends, "run_probe", lambda: backends.examine(Settings()))

    @pytest.mark.slow
    def test_a_machine_where_all_is_well(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, out = run(capsys)
        assert status == 0
        assert out.splitlines()[-1] == "no problems"
        assert "embedded (auto: the best of them for each prompt)" in out
        assert "its files load" in out

    @pytest.mark.slow
    @pytest.mark.usefixtures("probe_here")
    def test_problems_have_a_remedy_and_end_with_1(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        put(home, ".cursor/mcp.json", "{")
        status, out = run(capsys)
        assert status == 1
        assert "PROBLEM cursor" in out
        assert "-> repair the file: Cursor cannot read it either" in out
        assert out.splitlines()[-1] == "1 problem"

    @pytest.mark.slow
    @pytest.mark.usefixtures("probe_here")
    def test_programs_read_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, out = run(capsys, "--json")
        document = json.loads(out)
        assert (status, document["ok"]) == (0, True)
        assert {check["area"] for check in document["checks"]} == {
            "Python", "Settings", "Backends", "Cloud (dinox)", "Local models", "Embedded", "Folders", "Hosts",
            "What can be detected",
        }  # fmt: skip
        assert all(check["status"] in {"ok", "note", "problem"} for check in document["checks"])

    @pytest.mark.slow
    def test_wrong_settings_are_a_problem_and_the_rest_is_looked_at(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DINOX_MCP_PORT", "x")
        monkeypatch.setenv("DINOX_MCP_TIMEOUT", "3")
        status, out = run(capsys)
        assert status == 1
        assert "input should be a valid integer" in out
        assert "; did you mean DINOX_MCP_TIMEOUT_S?" in out
        assert "Folders" in out

    @pytest.mark.slow
    @pytest.mark.usefixtures("probe_here")
    def test_a_backend_that_is_not_there(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DINOX_MCP_BACKEND", "magic")
        status, out = run(capsys, "--offline")
        assert status == 1
        assert "there is no backend 'magic'" in out

    @pytest.mark.slow
    @pytest.mark.usefixtures("probe_here")
    def test_no_key_is_ever_printed(
        self, home: Path, emulator: Emulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        emulator.keys = {SECRET}
        monkeypatch.setenv("DINOX_API_KEY", SECRET)
        monkeypatch.setenv("DINOX_API_BASE_URL", emulator.url)
        cursor(home, env={"DINOX_API_KEY": "sk-of-cursor"})
        for words in ((), ("--json",), ("--offline",)):
            _, out = run(capsys, *words)
            assert SECRET not in out
            assert "sk-of-cursor" not in out

    @pytest.mark.slow
    def test_wrong_settings_send_no_key_anywhere(
        self, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(backends, "_look_up", lambda *_: pytest.fail("a key was sent"))
        monkeypatch.setenv("DINOX_MCP_PORT", "x")
        monkeypatch.setenv("DINOX_API_BASE_URL", "https://gateway.example")
        cursor(home, env={"DINOX_API_KEY": "sk-of-the-gateway"})
        status, out = run(capsys)
        assert status == 1
        assert "not checked: the settings are wrong" in out

    def test_options_of_serving_are_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as stop:
            main(["--port", "1", "doctor"])
        assert stop.value.code == 2
        assert "--port is not an option of doctor" in capsys.readouterr().err


def test_a_table_of_several_problems() -> None:
    checks = [Check("A", "x", "problem", "bad", "mend it"), Check("A", "y", "problem", "worse")]
    lines = doctor._lines(checks)
    assert lines[-1] == "2 problems"
    assert "  PROBLEM x  bad" in lines
