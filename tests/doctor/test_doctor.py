"""`dinox-mcp doctor`: what is well, what is not, and that no key is ever printed."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from dinox_mcp.backends.embedded import codes
from dinox_mcp.backends.local import extra
from dinox_mcp.backends.local.checkpoints import device
from dinox_mcp.backends.local.checkpoints.hub import Hub
from dinox_mcp.cli.main import main
from dinox_mcp.doctor import backends, hosts, probe, report, system
from dinox_mcp.doctor.report import Check, summarize
from dinox_mcp.doctor.system import check_folders
from dinox_mcp.install import jsonc
from dinox_mcp.install.files import Machine
from dinox_mcp.settings import Settings
from tests.emulator import Emulator

SECRET = "sk-very-secret"


def machine(home: Path, programs: Mapping[str, str] | None = None) -> Machine:
    return Machine("linux", home, {}, home / "project", (programs or {}).get, Path(sys.executable))


def settings_of(emulator: Emulator, key: str = "", **more: Any) -> Settings:  # noqa: ANN401 - any option
    return Settings.load(api_key=key or emulator.key, api_base_url=emulator.url, **more)


def put(home: Path, file: str, text: str, mode: int = 0o600) -> Path:
    path = home / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def cursor(home: Path, mode: int = 0o600, **entry: Any) -> Path:  # noqa: ANN401 - what a host holds
    text = jsonc.put("", ("mcpServers", "dinox"), {"command": "uvx", "args": ["dinox-mcp"], **entry})
    return put(home, ".cursor/mcp.json", text, mode)


def only(checks: list[Check], name: str) -> Check:
    (check,) = (check for check in checks if check.name.startswith(name))
    return check


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
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(extra, "installed", lambda: False)
        return tmp_path

    def test_a_machine_where_all_is_well(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, out = run(capsys)
        assert status == 0
        assert out.splitlines()[-1] == "all is well"
        assert "embedded (auto: the best of them for each question)" in out
        assert "its files load" in out

    def test_problems_have_a_remedy_and_end_with_1(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        put(home, ".cursor/mcp.json", "{")
        status, out = run(capsys)
        assert status == 1
        assert "PROBLEM cursor" in out
        assert "-> mend the file: Cursor cannot read it either" in out
        assert out.splitlines()[-1] == "1 problem"

    def test_programs_read_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, out = run(capsys, "--json")
        document = json.loads(out)
        assert (status, document["ok"]) == (0, True)
        assert {check["area"] for check in document["checks"]} == {
            "Python", "Settings", "Backends", "Cloud (dinox)", "Local models", "Embedded", "Folders", "Hosts",
            "What can be found",
        }  # fmt: skip
        assert all(check["status"] in {"ok", "note", "problem"} for check in document["checks"])

    def test_wrong_settings_are_a_problem_and_the_rest_is_looked_at(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DINOX_MCP_PORT", "x")
        monkeypatch.setenv("DINOX_MCP_TIMEOUT", "3")
        status, out = run(capsys)
        assert status == 1
        assert "DINOX_MCP_PORT: Input should be a valid integer" in out
        assert "DINOX_MCP_TIMEOUT is no option; did you mean DINOX_MCP_TIMEOUT_S?" in out
        assert "Folders" in out

    def test_a_backend_that_is_not_there(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DINOX_MCP_BACKEND", "magic")
        status, out = run(capsys, "--offline")
        assert status == 1
        assert "there is no backend 'magic'" in out

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

    def test_wrong_settings_send_no_key_anywhere(
        self, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(backends, "_look_up", lambda *_: pytest.fail("a key was sent"))
        monkeypatch.setenv("DINOX_MCP_PORT", "x")
        monkeypatch.setenv("DINOX_API_BASE_URL", "https://gateway.example")
        cursor(home, env={"DINOX_API_KEY": "sk-of-the-gateway"})
        status, out = run(capsys)
        assert status == 1
        assert "not asked: the settings are wrong" in out

    def test_options_of_serving_are_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as stop:
            main(["--port", "1", "doctor"])
        assert stop.value.code == 2
        assert "--port is no option of doctor" in capsys.readouterr().err


class TestTheCloud:
    def look(self, settings: Settings, **options: Any) -> list[Check]:  # noqa: ANN401
        return list(backends.check_cloud(settings, options.pop("keys", {}), **options))

    def test_a_key_is_accepted_where_a_made_up_one_is_refused_and_nothing_is_paid(self, emulator: Emulator) -> None:
        checks = self.look(settings_of(emulator))
        assert [check.status for check in checks] == ["ok", "ok"]
        assert "accepted" in only(checks, "key (environment)").said
        assert emulator.stats().paid == 0

    def test_a_key_is_rejected(self, emulator: Emulator) -> None:
        check = only(self.look(settings_of(emulator, SECRET)), "key")
        assert check.status == "problem"
        assert "rejects the API key" in check.said
        assert SECRET not in check.said

    def test_a_service_that_refuses_no_key_proves_nothing(self, emulator: Emulator) -> None:
        emulator.faults.poll.append("lost")
        emulator.keys = type("Any", (), {"__contains__": lambda *_: True})()  # type: ignore[assignment]
        check = only(self.look(settings_of(emulator)), "key")
        assert check.status == "note"
        assert "neither is a made-up one" in check.said

    @pytest.mark.parametrize(
        ("fault", "status", "says"),
        [("quota", "problem", "no quota left"), ("rate", "note", "busy"), ("html", "problem", "no JSON object")],
    )
    def test_other_answers(self, fault: str, status: str, says: str, emulator: Emulator) -> None:
        emulator.faults.poll.extend(["ok", fault])
        check = only(self.look(settings_of(emulator)), "key")
        assert (check.status, says in check.said) == (status, True)

    def test_nobody_answers(self) -> None:
        settings = Settings.load(api_key=SECRET, api_base_url="http://127.0.0.1:9")
        (check,) = self.look(settings)
        assert (check.name, check.status) == ("service", "problem")
        assert check.remedy is not None
        assert "HTTPS_PROXY" in check.remedy

    def test_keys_of_hosts_are_tried_each_once(self, emulator: Emulator) -> None:
        keys = {"cursor": SecretStr(emulator.key), "zed": SecretStr(SECRET)}
        checks = self.look(settings_of(emulator), keys=keys)
        assert [(check.name, check.status) for check in checks[1:]] == [
            ("key (environment, cursor)", "ok"),
            ("key (zed)", "problem"),
        ]

    def test_offline_nothing_is_asked(self, emulator: Emulator) -> None:
        (check,) = self.look(settings_of(emulator), offline=True)
        assert check.status == "note"
        assert emulator.stats().requests == 0

    @pytest.mark.parametrize(("backend", "status"), [("auto", "note"), ("dinox", "problem")])
    def test_no_key_is_a_problem_only_where_it_is_needed(self, backend: str, status: str) -> None:
        (check,) = self.look(Settings.load(backend=backend))
        assert check.status == status


class TestLocalModels:
    FOUND = {  # noqa: RUF012 - as the other process tells it
        "device": "cpu", "precision": "float32", "torch": "2.13", "transformers": "5.23", "free": 4e9, "total": 8e9,
        "models": [
            {"role": "objects", "name": "balanced", "here": False},
            {"role": "masks", "name": "sam2.1-tiny", "here": True},
            {"role": "pose", "name": "nothing", "error": "is no model"},
        ],
    }  # fmt: skip

    def look(self, found: dict[str, Any], monkeypatch: pytest.MonkeyPatch, chosen: str = "local") -> list[Check]:
        monkeypatch.setattr(extra, "installed", lambda: True)
        return list(backends.check_local(Settings.load(), chosen, lambda: found))

    @pytest.mark.parametrize(("backend", "status"), [("auto", "note"), ("local", "problem")])
    def test_the_extra_is_missing(self, backend: str, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(extra, "installed", lambda: False)
        (check,) = backends.check_local(Settings.load(backend=backend), backend)
        assert check.status == status
        assert check.remedy is not None
        assert "pip install 'dinox-mcp[local]'" in check.remedy

    def test_the_device_and_the_models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        checks = self.look(self.FOUND, monkeypatch)
        assert only(checks, "device").said == "cpu, float32, torch 2.13, transformers 5.23, 4.0 of 8.0 GB free"
        assert only(checks, "objects").remedy == "dinox-mcp pull balanced"
        assert [check.status for check in checks] == ["ok", "note", "ok", "problem"]

    def test_offline_a_model_that_is_not_here_is_a_problem(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert only(self.look(self.FOUND, monkeypatch), "objects").status == "problem"
        assert only(self.look(self.FOUND, monkeypatch, "embedded"), "objects").status == "note"

    def test_torch_that_does_not_load(self, monkeypatch: pytest.MonkeyPatch) -> None:
        (check,) = self.look({"error": "torch is installed but does not load"}, monkeypatch)
        assert check.status == "problem"

    def test_another_process_looks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answer = backends.ask()
        assert "torch" not in sys.modules or extra.installed()
        assert extra.installed() == ("models" in answer)
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        assert "looking at torch failed" in backends.ask()["error"]

    def test_a_process_that_dies_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DINOX_MCP_PORT", "x")
        assert "ended with status 1" in backends.ask()["error"]

    def test_what_the_other_process_sees(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(device, "choose", lambda *_: device.Device("cpu", "cpu", "float32"))
        monkeypatch.setattr(Hub, "find", lambda *_: None)
        monkeypatch.setattr(probe, "version", lambda _: "1.0")
        found = probe.look(Settings.load(pose_model="nothing"))
        assert found["device"] == "cpu"
        assert found["total"] >= found["free"]
        here = {model["role"]: model.get("here") for model in found["models"]}
        assert here == {"objects": False, "masks": False, "pose": None, "caption": False}

    def test_a_device_that_is_not_here_is_an_answer_too(self) -> None:
        assert probe.look(Settings.load(device="abacus"))["error"]


class TestFolders:
    def look(self, **options: Any) -> list[Check]:  # noqa: ANN401
        return list(check_folders(Settings.load(**options)))

    def test_folders_that_can_be_written(self, tmp_path: Path) -> None:
        checks = self.look(output_folder=tmp_path, prompts_folder=tmp_path / "new" / "prompts")
        assert only(checks, "pictures").said.startswith(str(tmp_path))
        assert only(checks, "saved prompts").status == "ok"
        assert list(tmp_path.iterdir()) == []

    def test_a_file_is_no_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        check = only(self.look(output_folder=tmp_path / "file" / "x"), "pictures")
        assert check.status == "problem"
        assert check.remedy == "set IMAGE_STORAGE_DIRECTORY to another folder"

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.access", lambda *_: False)
        check = only(self.look(output_folder=tmp_path / "new"), "pictures")
        assert "is not writable" in check.said

    def test_a_folder_that_refuses_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(**_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("tempfile.TemporaryFile", refuse)
        check = only(self.look(output_folder=tmp_path), "pictures")
        assert check.said == f"{tmp_path} cannot be written (Permission denied)"

    @pytest.mark.parametrize(("free", "status"), [(5e9, "ok"), (5e8, "note"), (1e6, "problem")])
    def test_room(self, free: float, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free})())
        assert only(self.look(output_folder=tmp_path), "pictures").status == status


class TestHosts:
    def look(self, home: Path) -> list[Check]:
        return list(hosts.check(machine(home, {"uvx": "/usr/bin/uvx"})))

    def test_none(self, tmp_path: Path) -> None:
        (check,) = self.look(tmp_path)
        assert check.said == "none is found here"

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
            ({"env": {"DINOX_MCP_BACKED": "x"}}, "problem", "sets DINOX_MCP_BACKED, which is no option"),
            ({"disabled": True}, "note", "is switched off"),
        ],
    )
    def test_what_an_entry_starts(self, entry: dict[str, Any], status: str, says: str, tmp_path: Path) -> None:
        cursor(tmp_path, **entry)
        (check,) = self.look(tmp_path)
        assert check.status == status
        assert says in check.said

    def test_a_program_that_may_not_be_run(self, tmp_path: Path) -> None:
        program = put(tmp_path, "bin/dinox-mcp", "", 0o600)
        cursor(tmp_path, command=str(program))
        assert "which is not there" in self.look(tmp_path)[0].said
        program.chmod(0o700)
        assert self.look(tmp_path)[0].status == "ok"

    def test_a_key_that_others_can_read(self, tmp_path: Path) -> None:
        path = cursor(tmp_path, 0o644, env={"DINOX_API_KEY": SECRET})
        (check,) = self.look(tmp_path)
        assert (check.status, check.remedy) == ("problem", f"chmod 600 {path}")
        assert SECRET not in check.said

    def test_the_project_in_this_folder(self, tmp_path: Path) -> None:
        text = jsonc.put("", ("mcpServers", "eyes"), {"command": "/gone/dinox-mcp"})
        put(tmp_path, "project/.mcp.json", text)
        (check,) = self.look(tmp_path)
        assert check.name == "claude-code (project)"
        assert check.remedy == "dinox-mcp install claude-code --project --name eyes"

    def test_keys_are_taken_from_files_that_can_be_read(self, tmp_path: Path) -> None:
        cursor(tmp_path, env={"DINOX_API_KEY": SECRET})
        put(tmp_path, ".gemini/settings.json", "{")
        assert hosts.keys(machine(tmp_path), "https://api.example") == {"cursor": SecretStr(SECRET)}

    @pytest.mark.parametrize(
        ("base_url", "names"), [("https://gateway.example/", {"cursor"}), ("https://api.example", set())]
    )
    def test_a_key_is_for_the_service_that_its_entry_names(
        self, base_url: str, names: set[str], tmp_path: Path
    ) -> None:
        cursor(tmp_path, env={"DINOX_API_KEY": SECRET, "DINOX_API_BASE_URL": "https://gateway.example"})
        assert set(hosts.keys(machine(tmp_path), base_url)) == names


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
    problem, *_ = hosts.check(machine(tmp_path))
    assert problem.status == "problem"
    assert says in problem.said


class TestWhatCanBeFound:
    @pytest.fixture(autouse=True)
    def without_local(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(extra, "installed", lambda: False)

    def look(self, *checks: Check, keys: Mapping[str, SecretStr] | None = None, **options: Any) -> list[Check]:  # noqa: ANN401
        return list(summarize(Settings.load(**options), checks, keys or {}))

    def test_without_a_key_the_embedded_kinds_and_the_one_command_for_more(self) -> None:
        here, rest = self.look()
        assert here.said.startswith("80 kinds of everyday things, body poses")
        assert here.said.endswith("text, codes and markers")
        assert rest.remedy == "pip install 'dinox-mcp[local]' && dinox-mcp pull balanced"

    def test_with_the_extra_the_command_is_shorter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(extra, "installed", lambda: True)
        _, rest = self.look(model="fast")
        assert rest.remedy == "dinox-mcp pull fast"

    def test_with_a_key_anything_is_found(self) -> None:
        (here,) = self.look(api_key=SECRET)
        assert here.said.startswith("anything that is named (dinox), 80 kinds")

    def test_a_key_in_the_file_of_a_host_counts_there(self) -> None:
        _, there = self.look(keys={"cursor": SecretStr(SECRET)})
        assert there.said == "anything that is named, in cursor, whose file has a key"

    def test_a_backend_that_is_set_is_the_reason(self) -> None:
        _, rest = self.look(backend="embedded", api_key=SECRET)
        assert rest.remedy == "set DINOX_MCP_BACKEND=auto, and run the doctor again"

    def test_what_is_damaged_is_not_found(self) -> None:
        here, _ = self.look(Check("Embedded", "text", "problem", "damaged"))
        assert ", text" not in here.said
        none, _ = self.look(Check("Embedded", "packages", "problem", "cv2 does not load"))
        assert (none.status, none.said) == ("problem", "nothing")


def test_the_reader_of_codes_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "a test code is read" in only(list(backends.check_embedded()), "codes").said
    monkeypatch.setattr(codes, "read_symbols", lambda *_: [])
    assert only(list(backends.check_embedded()), "codes").status == "problem"


def test_a_package_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "_version", lambda name: None if name in {"numpy", "av"} else "1")
    checks = list(system.check(machine(tmp_path)))
    assert only(checks, "packages").said == "missing: numpy"
    assert only(checks, "video").status == "note"


def test_plug_ins_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    from dinox_mcp.backends import registry

    entries = {name: EntryPoint(name, value, registry.GROUP) for name, value in
               (("good", "dinox_mcp.backends.embedded:create"), ("bad", "nowhere:create"))}  # fmt: skip
    monkeypatch.setattr(registry, "installed", lambda: entries)
    checks = list(system.backends(Settings.load()))
    assert [(check.name, check.status) for check in checks[1:]] == [("bad", "problem"), ("good", "ok")]


def test_embedded_models_that_are_damaged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from dinox_mcp.backends.embedded import text_lines

    monkeypatch.setattr(text_lines, "_folder", lambda: tmp_path)
    (check,) = [each for each in backends.check_embedded() if each.status == "problem"]
    assert check.name == "text"
    assert "is missing" in check.said
    assert check.remedy is not None
    assert "reinstall" in check.remedy


def test_a_table_of_several_problems() -> None:
    checks = [Check("A", "x", "problem", "bad", "mend it"), Check("A", "y", "problem", "worse")]
    lines = report.table(checks)
    assert lines[-1] == "2 problems"
    assert "  PROBLEM x  bad" in lines
