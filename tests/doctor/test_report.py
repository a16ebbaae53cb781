"""What can be detected, and the one step that gives more."""

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import SecretStr

from dinox_mcp.backends import local
from dinox_mcp.doctor.report import Check, summarize
from dinox_mcp.settings import Settings
from tests.doctor.conftest import SECRET


class TestWhatCanBeFound:
    @pytest.fixture(autouse=True)
    def without_local(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(local, "has_torch", lambda: False)

    def look(self, *checks: Check, keys: Mapping[str, SecretStr] | None = None, **options: Any) -> list[Check]:  # noqa: ANN401
        return list(summarize(Settings.load(**options), checks, keys or {}))

    def test_without_a_key_the_embedded_kinds_and_the_one_command_for_more(self) -> None:
        here, rest = self.look()
        assert here.finding.startswith("80 kinds of everyday things, body poses")
        assert here.finding.endswith("text, codes and markers")
        assert rest.remedy == "dinox-mcp pull balanced"

    def test_a_model_that_needs_torch_takes_two_commands(self, monkeypatch: pytest.MonkeyPatch) -> None:
        _, rest = self.look(model="accurate-base")
        assert rest.remedy == "pip install 'dinox-mcp[local]' && dinox-mcp pull accurate-base"
        monkeypatch.setattr(local, "has_torch", lambda: True)
        _, rest = self.look(model="accurate-base")
        assert rest.remedy == "dinox-mcp pull accurate-base"

    def test_with_a_key_anything_is_found(self) -> None:
        (here,) = self.look(api_key=SECRET)
        assert here.finding.startswith("anything that is named (dinox), 80 kinds")

    def test_a_key_in_the_file_of_a_host_counts_there(self) -> None:
        _, there = self.look(keys={"cursor": SecretStr(SECRET)})
        assert there.finding == "anything that is named, in cursor, whose file has a key"

    def test_a_backend_that_is_set_is_the_reason(self) -> None:
        _, rest = self.look(backend="embedded", api_key=SECRET)
        assert rest.remedy == "set DINOX_MCP_BACKEND=auto"

    def test_what_is_damaged_is_not_found(self) -> None:
        here, _ = self.look(Check("Embedded", "text", "problem", "damaged"))
        assert ", text" not in here.finding
        none, _ = self.look(Check("Embedded", "packages", "problem", "cv2 does not load"))
        assert (none.status, none.finding) == ("problem", "nothing")
