"""The checks of the backends."""

import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from dinox_mcp.backends import local
from dinox_mcp.backends.embedded import codes
from dinox_mcp.backends.local.checkpoints.hub import Hub
from dinox_mcp.doctor import backends
from dinox_mcp.doctor.report import Check
from dinox_mcp.settings import Settings
from tests.doctor.conftest import SECRET, only, settings_of
from tests.emulator import Emulator


class TestTheCloud:
    def look(self, settings: Settings, **options: Any) -> list[Check]:  # noqa: ANN401
        return list(backends.check_cloud(settings, options.pop("keys", {}), **options))

    def test_a_key_is_accepted_where_a_made_up_one_is_refused_and_nothing_is_paid(self, emulator: Emulator) -> None:
        checks = self.look(settings_of(emulator))
        assert [check.status for check in checks] == ["ok", "ok"]
        assert "accepted" in only(checks, "key (environment)").finding
        assert emulator.stats().paid == 0

    def test_a_key_is_rejected(self, emulator: Emulator) -> None:
        check = only(self.look(settings_of(emulator, SECRET)), "key")
        assert check.status == "problem"
        assert "rejects the API key" in check.finding
        assert SECRET not in check.finding

    def test_a_service_that_refuses_no_key_proves_nothing(self, emulator: Emulator) -> None:
        emulator.faults.poll.append("lost")
        emulator.keys = type("Any", (), {"__contains__": lambda *_: True})()  # type: ignore[assignment]
        check = only(self.look(settings_of(emulator)), "key")
        assert check.status == "note"
        assert "neither is a made-up one" in check.finding

    @pytest.mark.parametrize(
        ("fault", "status", "says"),
        [("quota", "problem", "no quota left"), ("rate", "note", "busy"), ("html", "problem", "not a JSON object")],
    )
    def test_other_answers(self, fault: str, status: str, says: str, emulator: Emulator) -> None:
        emulator.faults.poll.extend(["ok", fault])
        check = only(self.look(settings_of(emulator)), "key")
        assert (check.status, says in check.finding) == (status, True)

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
        "device": "cpu", "precision": "float32", "runtime": "torch 2.13", "free": 4e9, "total": 8e9,
        "models": [
            {"role": "objects", "name": "balanced", "here": False},
            {"role": "masks", "name": "sam2.1-tiny", "here": True},
            {"role": "pose", "name": "nothing", "error": "is no model"},
        ],
    }  # fmt: skip

    def look(self, found: dict[str, Any], monkeypatch: pytest.MonkeyPatch, chosen: str = "local") -> list[Check]:
        monkeypatch.setattr(local, "has_torch", lambda: True)
        return list(backends.check_local(Settings.load(backend=chosen), lambda: found))

    @pytest.mark.parametrize(("model", "status"), [("balanced", "note"), ("accurate-base", "problem")])
    def test_the_extra_is_missing(self, model: str, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(local, "has_torch", lambda: False)
        check, *_ = backends.check_local(Settings.load(backend="local", model=model), lambda: self.FOUND)
        assert check.status == status
        assert "these models need neither: balanced, fast, accurate, dfine-small" in check.finding
        assert check.remedy is not None
        assert "pip install 'dinox-mcp[local]'" in check.remedy

    def test_the_device_and_the_models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        checks = self.look(self.FOUND, monkeypatch)
        assert only(checks, "device").finding == "cpu, float32, torch 2.13, 4.0 of 8.0 GB free"
        assert only(checks, "objects").remedy == "dinox-mcp pull balanced"
        assert [check.status for check in checks] == ["ok", "note", "ok", "problem"]

    def test_the_kinds_of_a_closed_vocabulary(self) -> None:
        settings = Settings.load(backend="local", model="dfine-small-o365")
        kinds = only(list(backends.check_local(settings, lambda: self.FOUND)), "kinds")
        assert kinds.finding.startswith("365 kinds of things and no others: person, sneakers, chair")

    def test_offline_a_model_that_is_not_here_is_a_problem(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert only(self.look(self.FOUND, monkeypatch), "objects").status == "problem"
        assert only(self.look(self.FOUND, monkeypatch, "embedded"), "objects").status == "note"

    def test_torch_that_does_not_load(self, monkeypatch: pytest.MonkeyPatch) -> None:
        (check,) = self.look({"error": "torch is installed but does not load"}, monkeypatch)
        assert check.status == "problem"

    @pytest.mark.slow
    def test_another_process_looks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answer = backends.run_probe()
        assert "models" in answer
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        assert "checking torch failed" in backends.run_probe()["error"]

    @pytest.mark.slow
    def test_a_process_that_dies_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DINOX_MCP_PORT", "x")
        assert "ended with status 1" in backends.run_probe()["error"]

    def test_what_the_other_process_sees(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(local, "has_torch", lambda: True)
        monkeypatch.setattr(Hub, "find", lambda *_: None)
        monkeypatch.setattr(backends, "version", lambda _: "1.0")
        found = backends.examine(Settings.load(pose_model="nothing"))
        assert found["device"] == "cpu"
        assert found["total"] >= found["free"]
        here = {model["role"]: model.get("here") for model in found["models"]}
        assert here == {"objects": False, "masks": False, "pose": None, "caption": False}

    @pytest.mark.slow
    def test_a_device_that_is_not_here_is_an_answer_too(self) -> None:
        assert backends.examine(Settings.load(device="abacus"))["error"]


@pytest.mark.slow
def test_the_reader_of_codes_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "a test code is read" in only(list(backends.check_embedded()), "codes").finding
    monkeypatch.setattr(codes, "read_symbols", lambda *_: [])
    assert only(list(backends.check_embedded()), "codes").status == "problem"


def test_plug_ins_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    from dinox_mcp.backends import registry

    entries = {name: EntryPoint(name, value, registry.GROUP) for name, value in
               (("good", "dinox_mcp.backends.embedded:create"), ("bad", "nowhere:create"))}  # fmt: skip
    monkeypatch.setattr(registry, "installed", lambda: entries)
    checks = list(backends.check_backends(Settings.load()))
    assert [(check.name, check.status) for check in checks[1:]] == [("bad", "problem"), ("good", "ok")]


def test_embedded_models_that_are_damaged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from dinox_mcp.backends.embedded import text_lines

    monkeypatch.setattr(text_lines, "_folder", lambda: tmp_path)
    (check,) = [each for each in backends.check_embedded() if each.status == "problem"]
    assert check.name == "text"
    assert "is missing" in check.finding
    assert check.remedy is not None
    assert "reinstall" in check.remedy
