"""The checks of the hosts."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from dinox_mcp.doctor import system
from dinox_mcp.doctor.report import Check
from dinox_mcp.install.jsonc import JSONC
from tests.doctor.conftest import SECRET, cursor, machine, put


class TestHosts:
    def look(self, home: Path) -> list[Check]:
        return list(system.check_hosts(machine(home, {"uvx": "/usr/bin/uvx"})))

    def test_none(self, tmp_path: Path) -> None:
        (check,) = self.look(tmp_path)
        assert check.finding == "none found here"

    def test_one_that_is_not_set_up(self, tmp_path: Path) -> None:
        (tmp_path / ".cursor").mkdir()
        (check,) = self.look(tmp_path)
        assert (check.status, check.remedy) == ("note", "dinox-mcp install cursor")

    @pytest.mark.parametrize(
        ("entry", "status", "says"),
        [
            ({}, "ok", "dinox starts uvx dinox-mcp, with no key"),
            ({"env": {"DINOX_API_KEY": SECRET}}, "ok", "with a key in the file"),
            ({"env": {"DINOX_API_KEY": "${env:DINOX_API_KEY}"}}, "ok", "with a key from elsewhere"),
            (
                {"command": "/gone/bin/dinox-mcp", "args": []},
                "problem",
                "starts /gone/bin/dinox-mcp, which is not there",
            ),
            (
                {"args": ["--from", "/gone/a.whl[local]", "dinox-mcp"]},
                "problem",
                "starts /gone/a.whl[local], which is not",
            ),
            ({"args": ["--from", "git+https://example.com/x", "dinox-mcp"]}, "ok", "dinox starts uvx"),
            ({"command": "pipx"}, "problem", "starts pipx, which is not there"),
            ({"env": {"DINOX_MCP_BACKED": "x"}}, "problem", "sets DINOX_MCP_BACKED, which is not an option"),
            ({"disabled": True}, "note", "is switched off"),
        ],
    )
    def test_what_an_entry_starts(self, entry: dict[str, Any], status: str, says: str, tmp_path: Path) -> None:
        cursor(tmp_path, **entry)
        (check,) = self.look(tmp_path)
        assert check.status == status
        assert says in check.finding

    def test_a_program_that_may_not_be_run(self, tmp_path: Path) -> None:
        program = put(tmp_path, "bin/dinox-mcp", "", 0o600)
        cursor(tmp_path, command=str(program))
        assert "which is not there" in self.look(tmp_path)[0].finding
        program.chmod(0o700)
        assert self.look(tmp_path)[0].status == "ok"

    def test_a_key_that_others_can_read(self, tmp_path: Path) -> None:
        path = cursor(tmp_path, 0o644, env={"DINOX_API_KEY": SECRET})
        (check,) = self.look(tmp_path)
        assert (check.status, check.remedy) == ("problem", f"chmod 600 {path}")
        assert SECRET not in check.finding

    def test_the_project_in_this_folder(self, tmp_path: Path) -> None:
        text = JSONC.put("", ("mcpServers", "eyes"), {"command": "/gone/dinox-mcp"})
        put(tmp_path, "project/.mcp.json", text)
        (check,) = self.look(tmp_path)
        assert check.name == "claude-code (project)"
        assert check.remedy == "dinox-mcp install claude-code --project --name eyes"

    def test_keys_are_taken_from_files_that_can_be_read(self, tmp_path: Path) -> None:
        cursor(tmp_path, env={"DINOX_API_KEY": SECRET})
        put(tmp_path, ".gemini/settings.json", "{")
        assert system.host_keys(machine(tmp_path), "https://api.example") == {"cursor": SecretStr(SECRET)}

    @pytest.mark.parametrize(
        ("base_url", "names"), [("https://gateway.example/", {"cursor"}), ("https://api.example", set())]
    )
    def test_a_key_is_for_the_service_that_its_entry_names(
        self, base_url: str, names: set[str], tmp_path: Path
    ) -> None:
        cursor(tmp_path, env={"DINOX_API_KEY": SECRET, "DINOX_API_BASE_URL": "https://gateway.example"})
        assert set(system.host_keys(machine(tmp_path), base_url)) == names


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{\n  // mine\n  "mcpServers": {}\n}', "line 2, column 3 has a comment, which Cursor does not read"),
        ('{"mcpServers": {},}', "line 1, column 18 has a comma behind the last value"),
        ("\ufeff{}", "has a byte order mark at its beginning, which Cursor does not read"),
    ],
)
def test_a_file_that_its_host_cannot_read_is_a_problem(tmp_path: Path, text: str, says: str) -> None:
    put(tmp_path, ".cursor/mcp.json", text)
    problem, *_ = system.check_hosts(machine(tmp_path))
    assert problem.status == "problem"
    assert says in problem.finding
