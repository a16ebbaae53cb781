"""Models for a machine without a network."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from dinox_mcp.backends.local.checkpoints import copying, presets
from dinox_mcp.backends.local.checkpoints.copying import adopt, listing
from dinox_mcp.backends.local.checkpoints.hub import Hub, title
from dinox_mcp.backends.local.checkpoints.presets import PRESETS, ModelSource, resolve
from dinox_mcp.errors import BackendError, UnreachableError, UnsupportedError
from tests.backends.local.fakehub import COMMIT, FakeHub, serve

MODEL = ModelSource(repo="org/model")
WEIGHTS = save({"weight": np.ones(4, np.float32)})
DESCRIPTIONS = {
    "config.json": json.dumps({"model_type": "owlv2"}).encode(),
    "preprocessor_config.json": b"{}",
    "vocab.txt": b"a\nb\n",
}
FILES = {**DESCRIPTIONS, "model.safetensors": WEIGHTS, "README.md": b"# Model", "pytorch_model.bin": b"pickle"}
SHARDED = {
    **DESCRIPTIONS,
    "model.safetensors.index.json": json.dumps(
        {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    ).encode(),
    "model-00001-of-00002.safetensors": WEIGHTS,
    "model-00002-of-00002.safetensors": WEIGHTS,
}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    with serve(FakeHub(repositories={"org/model": FILES, "org/large": SHARDED})) as fake:
        yield fake


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    """A machine without a network."""
    return Hub(cache=tmp_path / "cache", offline=True)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(("repo", "files"), [("org/model", FILES), ("org/large", SHARDED)])
def test_what_is_listed_is_what_a_download_fetches(
    fake: FakeHub, tmp_path: Path, repo: str, files: dict[str, bytes]
) -> None:
    hub = Hub(endpoint=fake.url, cache=tmp_path)
    commit, listed = listing(hub, ModelSource(repo=repo))
    assert commit == COMMIT
    assert {one.name for one in listed} == names(hub.fetch(ModelSource(repo=repo)))
    assert {one.name: one.size for one in listed} == {one.name: len(files[one.name]) for one in listed}
    checksums = {one.name: one.sha256 for one in listed if one.name.endswith(".safetensors")}
    assert checksums == {name: hashlib.sha256(files[name]).hexdigest() for name in checksums}


def test_a_list_needs_the_hub(hub: Hub) -> None:
    with pytest.raises(UnreachableError, match="HF_HUB_OFFLINE forbids"):
        listing(hub, MODEL)


def test_a_mirror_is_named_in_the_list(fake: FakeHub, tmp_path: Path) -> None:
    code = (
        "from dinox_mcp.backends.local.checkpoints.copying import listing; "
        "from dinox_mcp.backends.local.checkpoints.hub import Hub; "
        "from dinox_mcp.backends.local.checkpoints.presets import ModelSource; "
        "print(listing(Hub(), ModelSource(repo='org/model'))[1][0].url)"
    )
    environment = {**os.environ, "HF_ENDPOINT": fake.url, "HF_HOME": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)  # noqa: S603 - our own
    assert run.stdout == f"{fake.url}/org/model/resolve/{COMMIT}/config.json\n"


@pytest.mark.parametrize("files", [FILES, SHARDED], ids=["one file", "shards"])
def test_a_copied_folder_is_found_as_if_it_had_been_downloaded(
    hub: Hub, tmp_path: Path, files: dict[str, bytes]
) -> None:
    copied = adopt(hub, MODEL, write(tmp_path / "stick", files))
    assert names(copied) == set(files) - {"README.md", "pytorch_model.bin"}
    assert hub.find(MODEL) == hub.fetch(MODEL) == copied
    assert title(MODEL, copied).startswith("org/model@copied-")


def test_shards_are_copied_by_the_names_in_their_index(hub: Hub, tmp_path: Path) -> None:
    index = json.dumps({"weight_map": {"weight": "part.safetensors"}}).encode()
    files = {**DESCRIPTIONS, "model.safetensors.index.json": index, "part.safetensors": WEIGHTS}
    copied = adopt(hub, MODEL, write(tmp_path / "stick", files))
    assert names(copied) == set(files)
    assert hub.find(MODEL) == copied


def test_links_in_a_folder_are_copied_as_files(hub: Hub, tmp_path: Path) -> None:
    """As in a snapshot of another machine's cache."""
    blobs, stick = write(tmp_path / "blobs", FILES), tmp_path / "stick"
    stick.mkdir()
    for name in FILES:
        (stick / name).symlink_to(blobs / name)
    copied = adopt(hub, MODEL, stick)
    assert not any(path.is_symlink() for path in copied.iterdir())
    assert (copied / "model.safetensors").read_bytes() == WEIGHTS


def test_a_folder_that_cannot_be_read_is_refused(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_folder: Path) -> Iterator[Path]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", fail)
    with pytest.raises(BackendError, match=r"stick cannot be read \(.*Permission denied\); check its permissions"):
        adopt(hub, MODEL, write(tmp_path / "stick", FILES))


def test_a_copy_has_the_name_of_its_commit_where_that_is_given(hub: Hub, tmp_path: Path) -> None:
    copied = adopt(hub, replace(MODEL, revision=COMMIT), write(tmp_path / "stick", FILES))
    assert copied.name == COMMIT
    assert hub.find(MODEL) == hub.find(replace(MODEL, revision=COMMIT)) == copied


def test_a_copy_does_not_replace_what_was_downloaded(fake: FakeHub, tmp_path: Path) -> None:
    online = Hub(endpoint=fake.url, cache=tmp_path / "cache")
    downloaded = online.fetch(MODEL)
    adopt(online, replace(MODEL, revision="f" * 40), write(tmp_path / "stick", FILES))
    assert online.find(MODEL) == downloaded


def test_another_copy_takes_the_place_of_the_first(hub: Hub, tmp_path: Path) -> None:
    adopt(hub, MODEL, write(tmp_path / "old", FILES))
    newer = adopt(hub, MODEL, write(tmp_path / "new", {**FILES, "model.safetensors": save({"other": np.ones(2)})}))
    assert hub.find(MODEL) == newer


def test_a_preset_is_used_offline_from_a_copy_whose_checksum_is_right(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = replace(PRESETS["balanced"], sha256=hashlib.sha256(WEIGHTS).hexdigest())
    monkeypatch.setitem(presets.PRESETS, "balanced", known)
    copied = adopt(hub, resolve("balanced", "cpu"), write(tmp_path / "stick", FILES))
    assert copied.name == known.revision
    assert hub.find(resolve("balanced", "cpu")) == copied


def test_weights_of_another_model_are_not_taken_for_a_preset(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"are not those of google/owlv2.*: their SHA-256 is .* instead of e1e130b"):
        adopt(hub, resolve("balanced", "cpu"), write(tmp_path / "stick", FILES))
    assert hub.find(resolve("balanced", "cpu")) is None


@pytest.mark.parametrize(
    ("changed", "kind", "message"),
    [
        ({"model.safetensors": WEIGHTS[:-1]}, BackendError, "model.safetensors is broken"),
        ({"model.safetensors": None}, UnsupportedError, "has its weights only as pytorch_model.bin"),
        ({"vocab.txt": None}, UnsupportedError, "has no vocabulary"),
        ({"config.json": None}, UnsupportedError, "has no config.json"),
        ({"config.json": b'{"model_type": "bert"}'}, UnsupportedError, "cannot run models of type 'bert'"),
        ({"config.json": b'{"model_type": "sam2"}'}, UnsupportedError, "find no objects"),
    ],
)
def test_a_folder_that_is_no_such_model_is_refused(
    hub: Hub, tmp_path: Path, changed: dict[str, bytes | None], kind: type[BackendError], message: str
) -> None:
    files = {name: content for name, content in {**FILES, **changed}.items() if content is not None}
    with pytest.raises(kind, match=message):
        adopt(hub, MODEL, write(tmp_path / "stick", files))
    assert not hub.folder(MODEL).exists()


def test_what_is_no_folder_is_refused(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"gone is not a folder; name the one with"):
        adopt(hub, MODEL, tmp_path / "gone")
    with pytest.raises(UnsupportedError, match="is a folder already"):
        adopt(hub, ModelSource(folder=tmp_path), tmp_path)


def test_a_full_disk_is_noticed_before_anything_is_copied(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_wanted: object) -> None:
        raise BackendError("the disk is too full")

    monkeypatch.setattr(copying, "require_space", full)
    with pytest.raises(BackendError, match="too full"):
        adopt(hub, MODEL, write(tmp_path / "stick", FILES))
    assert not hub.folder(MODEL).exists()
