import os
from pathlib import Path

import pytest

from dinox_mcp.errors import InputError, NotFoundError, SettingsError
from dinox_mcp.store.prompts import MAX_BYTES, SavedPrompts
from dinox_mcp.types.detection import Embedding

EMBEDDING = Embedding(backend="local", model="owlv2", data="AAAA")


@pytest.fixture
def saved(tmp_path: Path) -> SavedPrompts:
    return SavedPrompts(tmp_path)


def test_a_saved_prompt_outlives_the_program(saved: SavedPrompts, tmp_path: Path) -> None:
    saved.put("bolt", "M8 bolt", 3, EMBEDDING)
    prompt = SavedPrompts(tmp_path).get("bolt")
    assert (prompt.label, prompt.examples, prompt.embedding) == ("M8 bolt", 3, EMBEDDING)


def test_a_prompt_of_the_same_name_is_replaced(saved: SavedPrompts) -> None:
    saved.put("bolt", "old", 1, EMBEDDING)
    saved.put("Bolt", "new", 1, EMBEDDING)
    assert saved.list() == ["bolt"]
    assert saved.get("bolt").label == "new"


def test_tenants_do_not_see_each_others_prompts(saved: SavedPrompts) -> None:
    saved.put("bolt", "bolt", 1, EMBEDDING, "one")
    assert (saved.list("one"), saved.list("two"), saved.list()) == (["bolt"], [], [])
    with pytest.raises(NotFoundError):
        saved.get("bolt", "two")


def test_a_deleted_prompt_is_gone(saved: SavedPrompts) -> None:
    saved.put("bolt", "bolt", 1, EMBEDDING)
    saved.delete("bolt")
    with pytest.raises(NotFoundError, match="'bolt'; there are: none yet"):
        saved.get("bolt")
    with pytest.raises(NotFoundError):
        saved.delete("bolt")


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "-", "x" * 65, "a\0b", "naïve"])
def test_a_name_is_never_a_path(saved: SavedPrompts, name: str) -> None:
    with pytest.raises(InputError, match="1 to 64 letters"):
        saved.put(name, "x", 1, EMBEDDING)
    with pytest.raises(InputError, match="1 to 64 letters"):
        saved.check(name)


def test_words_are_joined(saved: SavedPrompts) -> None:
    assert saved.put("My bolt", "bolt", 1, EMBEDDING).name == "my-bolt"


def test_a_damaged_file_says_so(saved: SavedPrompts, tmp_path: Path) -> None:
    saved.put("bolt", "bolt", 1, EMBEDDING)
    next(tmp_path.rglob("bolt.json")).write_text("{")
    with pytest.raises(InputError, match="damaged; save it again"):
        saved.get("bolt")


def test_there_is_an_end_to_prompts(saved: SavedPrompts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dinox_mcp.store.prompts.MAX_PROMPTS", 1)
    saved.put("one", "x", 1, EMBEDDING)
    with pytest.raises(InputError, match="1 saved prompts already"):
        saved.put("two", "x", 1, EMBEDDING)


def test_a_folder_that_cannot_be_written_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="DINOX_MCP_PROMPTS_FOLDER"):
        SavedPrompts(tmp_path / "file").put("bolt", "x", 1, EMBEDDING)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_among_the_prompts_is_not_waited_for(saved: SavedPrompts, tmp_path: Path) -> None:
    saved.put("bolt", "bolt", 1, EMBEDDING)
    os.mkfifo(tmp_path / "own" / "pipe.json")
    with pytest.raises(NotFoundError, match="'pipe'"):
        saved.get("pipe")


def test_a_link_among_the_prompts_is_not_followed(saved: SavedPrompts, tmp_path: Path) -> None:
    saved.put("bolt", "bolt", 1, EMBEDDING)
    (tmp_path / "own" / "link.json").symlink_to(tmp_path / "own" / "bolt.json")
    with pytest.raises(NotFoundError, match="'link'"):
        saved.get("link")


def test_a_caller_may_save_few_and_all_callers_together_not_too_many(
    saved: SavedPrompts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dinox_mcp.store.prompts.MAX_PROMPTS_OF_CALLER", 2)
    monkeypatch.setattr("dinox_mcp.store.prompts.MAX_PROMPTS_OF_CALLERS", 5)
    for tenant in ("alice", "bob"):
        for name in ("one", "two"):
            saved.put(name, "x", 1, EMBEDDING, tenant)
        with pytest.raises(InputError, match="2 saved prompts already"):
            saved.put("three", "x", 1, EMBEDDING, tenant)
    saved.put("one", "x", 1, EMBEDDING, "carol")
    with pytest.raises(InputError, match="5 saved prompts of its callers"):
        saved.put("two", "x", 1, EMBEDDING, "carol")
    saved.put("one", "again", 1, EMBEDDING, "carol")
    saved.put("mine", "x", 1, EMBEDDING)


def test_a_prompt_that_is_too_large_is_refused(saved: SavedPrompts) -> None:
    large = EMBEDDING.model_copy(update={"data": "A" * MAX_BYTES})
    with pytest.raises(InputError, match="bytes, more than"):
        saved.put("bolt", "bolt", 1, large)
