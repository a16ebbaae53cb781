"""Items are kept within limits of number and bytes, each for its tenant."""

import pytest

from dinox_mcp.store import kept
from dinox_mcp.store.kept import PerTenant


def test_all_callers_together_are_bounded_in_number_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "KEPT_OF_ALL", 3)
    shelf: PerTenant[str] = PerTenant(max_bytes=100)
    assert shelf.put("a", "1", "a1", 10) == []
    assert shelf.put("b", "1", "b1", 20) == []
    assert shelf.put("b", "2", "b2", 20) == []
    assert shelf.put("c", "1", "c1", 10) == ["b1"], "too many: the oldest of the caller with most bytes"
    assert shelf.put("c", "2", "c2", 90) == ["c1", "b2"], "too many bytes: of the callers with most, not the newest"
    assert (shelf.get("a", "1"), shelf.get("b", "2"), shelf.get("c", "2")) == ("a1", None, "c2")
