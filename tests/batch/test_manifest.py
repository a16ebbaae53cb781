"""The plan of a run has each image in one shard, and grows at its end only."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from dinox_mcp.batch.manifest import Change, Manifest, compare, extend, open_manifest, read_entries
from dinox_mcp.batch.sources import Entry
from dinox_mcp.errors import SettingsError

HEADER = {"request": {"prompts": ["dog"]}}


def entries(*names: str, stamp: str = "1") -> tuple[Entry, ...]:
    return tuple(Entry(f"/photos/{name}", stamp) for name in names)


def plan(run: Path, *groups: Sequence[Entry], size: int = 2) -> Manifest:
    manifest = open_manifest(run, HEADER)
    return extend(run, manifest, compare(run, manifest, groups, ()).new, size)


def planned(run: Path) -> list[list[str]]:
    """Read the names of the images of each shard."""
    shards = open_manifest(run, HEADER).shards
    return [[Path(entry.source).name for entry in read_entries(run, shard)] for shard in shards]


def test_a_shard_has_images_of_one_group_only(tmp_path: Path) -> None:
    manifest = plan(tmp_path, entries("a", "b", "c"), entries("d", "e"))
    assert planned(tmp_path) == [["a", "b"], ["c"], ["d", "e"]]
    assert (manifest.images, [shard.first for shard in manifest.shards][1:]) == (5, ["/photos/c", "/photos/d"])


def test_new_images_come_last_and_shards_stay(tmp_path: Path) -> None:
    before = plan(tmp_path, entries("b", "d"))
    after = plan(tmp_path, entries("a", "b", "c", "d", "e"), size=5)
    assert after.shards[: len(before.shards)] == before.shards
    assert planned(tmp_path) == [["b", "d"], ["a", "c", "e"]]
    assert after.fingerprint == before.fingerprint


def test_an_image_that_is_listed_twice_is_planned_once(tmp_path: Path) -> None:
    plan(tmp_path, entries("a", "b", "a"), entries("b", "c"))
    assert planned(tmp_path) == [["a", "b"], ["c"]]


def test_only_images_of_finished_shards_count_as_gone_or_changed(tmp_path: Path) -> None:
    manifest = plan(tmp_path, entries("a", "b", "c", "d"))
    now = [entries("a", stamp="2") + entries("c", stamp="2") + entries("e")]
    assert compare(tmp_path, manifest, now, {0}) == Change((entries("e"),), gone=1, changed=1)
    assert compare(tmp_path, manifest, now, ()) == Change((entries("e"),))


def test_what_a_killed_process_wrote_without_planning_it_is_overwritten(tmp_path: Path) -> None:
    plan(tmp_path, entries("a", "b"))
    with (tmp_path / "images.jsonl").open("a") as file:
        file.write('["/photos/x", "1"]\n["/pho')
    plan(tmp_path, entries("a", "b", "c"))
    assert planned(tmp_path) == [["a", "b"], ["c"]]
    assert len((tmp_path / "images.jsonl").read_text().splitlines()) == 3


def test_a_name_that_is_not_utf_8_comes_back_as_it_was(tmp_path: Path) -> None:
    odd = entries("caf\udce9.png")
    manifest = plan(tmp_path, odd)
    assert tuple(read_entries(tmp_path, manifest.shards[0])) == odd


@pytest.mark.parametrize("content", ["", '["/photos/a"]\n', "7\n", '["/photos/a", "1"'])
def test_a_damaged_list_of_images_is_one_line(tmp_path: Path, content: str) -> None:
    manifest = plan(tmp_path, entries("a", "b"))
    (tmp_path / "images.jsonl").write_text(content)
    with pytest.raises(SettingsError, match=r"images.jsonl is damaged; choose another --out to begin anew"):
        list(read_entries(tmp_path, manifest.shards[0]))


def test_the_plan_is_json_that_a_person_can_read(tmp_path: Path) -> None:
    manifest = plan(tmp_path, entries("a", "b", "c"))
    data = json.loads((tmp_path / "manifest.json").read_text())
    assert (data["header"], data["images"], data["fingerprint"]) == (HEADER, 3, manifest.fingerprint)
    assert data["shards"][0] == {"images": 2, "at": 0, "first": "/photos/a"}
