"""The checks of Python, the settings and the folders."""

from pathlib import Path
from typing import Any

import pytest

from dinox_mcp.doctor import system
from dinox_mcp.doctor.report import Check
from dinox_mcp.doctor.system import check_folders
from dinox_mcp.settings import Settings
from tests.doctor.conftest import machine, only


class TestFolders:
    def look(self, **options: Any) -> list[Check]:  # noqa: ANN401
        return list(check_folders(Settings.load(**options)))

    def test_folders_that_can_be_written(self, tmp_path: Path) -> None:
        checks = self.look(output_folder=tmp_path, prompts_folder=tmp_path / "new" / "prompts")
        assert only(checks, "images").finding.startswith(str(tmp_path))
        assert only(checks, "saved prompts").status == "ok"
        assert list(tmp_path.iterdir()) == []

    def test_a_file_is_no_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        check = only(self.look(output_folder=tmp_path / "file" / "x"), "images")
        assert check.status == "problem"
        assert check.remedy == "set IMAGE_STORAGE_DIRECTORY to another folder"

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.access", lambda *_: False)
        check = only(self.look(output_folder=tmp_path / "new"), "images")
        assert "is not writable" in check.finding

    def test_a_folder_that_refuses_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(**_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("tempfile.TemporaryFile", refuse)
        check = only(self.look(output_folder=tmp_path), "images")
        assert check.finding == f"{tmp_path} cannot be written (Permission denied)"

    @pytest.mark.parametrize(("free", "status"), [(5e9, "ok"), (5e8, "note"), (1e6, "problem")])
    def test_room(self, free: float, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free})())
        assert only(self.look(output_folder=tmp_path), "images").status == status


def test_a_package_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "_version", lambda name: None if name in {"numpy", "av"} else "1")
    checks = list(system.check_python(machine(tmp_path)))
    assert only(checks, "packages").finding == "missing: numpy"
    assert only(checks, "video").status == "note"
