import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from dinox_mcp.backends.local.checkpoints import files
from dinox_mcp.backends.local.checkpoints.files import Stopped
from dinox_mcp.backends.local.checkpoints.hub import Hub, title
from dinox_mcp.backends.local.checkpoints.presets import ModelSource, resolve
from dinox_mcp.errors import BackendError, KeyRejectedError, UnreachableError, UnsupportedError
from tests.backends.local.fakehub import COMMIT, FakeHub, serve

MODEL = ModelSource(repo="org/model")
WEIGHTS = bytes(range(256)) * 4000
FILES = {
    "config.json": json.dumps({"model_type": "owlv2"}).encode(),
    "preprocessor_config.json": b"{}",
    "vocab.txt": b"a\nb\n",
    "README.md": b"# Model",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"pickle",
}
READABLE = {"config.json": b"{}", "preprocessor_config.json": b"{}", "vocab.txt": b""}
FOLDERS = ("config.json", "model.safetensors", "preprocessor_config.json", "vocab.txt")


@pytest.fixture
def fake() -> Iterator[FakeHub]:
    """A hub with one model."""
    with serve(FakeHub(repositories={"org/model": FILES})) as fake:
        yield fake


@pytest.fixture
def hub(fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A client of it with an empty cache, nobody's token, and no patience."""
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(files, "PATIENCE_S", 0.01)
    return Hub(endpoint=fake.url, cache=tmp_path / "cache")


def test_a_model_is_fetched_without_pickles_and_papers(hub: Hub) -> None:
    folder = hub.fetch(MODEL)
    assert tuple(sorted(path.name for path in folder.iterdir())) == FOLDERS
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert title(MODEL, folder) == "org/model@c0ffee0"


def test_a_model_that_is_here_uses_no_network(hub: Hub, fake: FakeHub) -> None:
    folder = hub.fetch(MODEL)
    fake.requests.clear()
    assert hub.find(MODEL) == folder
    assert hub.fetch(MODEL) == folder
    assert fake.requests == []


def test_a_model_that_is_not_here_is_not_found(hub: Hub) -> None:
    assert hub.find(MODEL) is None


@pytest.mark.parametrize("name", ["vocab.txt", "preprocessor_config.json", "config.json", "model.safetensors"])
def test_what_is_missing_beside_the_rest_is_fetched(hub: Hub, fake: FakeHub, name: str) -> None:
    folder = hub.fetch(MODEL)
    (folder / name).unlink()
    fake.requests.clear()
    assert hub.find(MODEL) is None
    assert (hub.fetch(MODEL) / name).read_bytes() == FILES[name]
    assert fake.downloads(".safetensors") == []  # its bytes are in the cache still


def test_offline_an_incomplete_model_is_not_called_missing(hub: Hub, fake: FakeHub) -> None:
    (hub.fetch(MODEL) / "vocab.txt").unlink()
    with pytest.raises(UnreachableError, match=r"is incomplete on this machine .*'dinox-mcp pull org/model'"):
        Hub(endpoint=fake.url, cache=hub.cache, offline=True).fetch(MODEL)


def test_an_update_contacts_the_hub_and_fetches_only_what_is_new(hub: Hub, fake: FakeHub) -> None:
    folder = hub.fetch(MODEL)
    fake.requests.clear()
    assert hub.fetch(MODEL, update=True) == folder
    assert fake.requests
    assert fake.downloads(".safetensors") == []


def test_an_update_is_content_with_what_is_here_when_the_hub_is_away(hub: Hub, fake: FakeHub) -> None:
    folder = hub.fetch(MODEL)
    fake.status = 503
    assert hub.fetch(MODEL, update=True) == folder


def test_a_pinned_commit_is_what_is_fetched(hub: Hub, fake: FakeHub) -> None:
    pinned = ModelSource(repo="org/model", revision=COMMIT)
    assert hub.fetch(pinned).name == COMMIT
    assert all(COMMIT in request.path for request in fake.requests if "resolve" in request.path)


def test_a_folder_is_taken_as_it_is(hub: Hub, tmp_path: Path) -> None:
    source = ModelSource(folder=tmp_path)
    assert hub.fetch(source, update=True) == tmp_path
    assert title(source, tmp_path) == tmp_path.name


def test_shards_are_fetched_by_their_index(hub: Hub, fake: FakeHub) -> None:
    index = {"weight_map": {"one": "model-1-of-2.safetensors", "two": "model-2-of-2.safetensors"}}
    fake.add(
        "org/sharded",
        {
            "config.json": FILES["config.json"],
            "preprocessor_config.json": b"{}",
            "tokenizer.json": b"{}",
            "model.safetensors.index.json": json.dumps(index).encode(),
            "model-1-of-2.safetensors": b"1" * 1000,
            "model-2-of-2.safetensors": b"2" * 1000,
            "other.safetensors": b"3" * 1000,
        },
    )
    names = {path.name for path in hub.fetch(ModelSource(repo="org/sharded")).iterdir()}
    assert {"model-1-of-2.safetensors", "model-2-of-2.safetensors"} < names
    assert "other.safetensors" not in names


def test_progress_counts_to_the_end(hub: Hub) -> None:
    reports: list[tuple[float, str]] = []
    hub.fetch(MODEL, lambda *report: reports.append(report))
    fraction, message = reports[-1]
    assert fraction == 1
    assert message.startswith("downloading org/model: 1 of 1 MB")
    assert [report[0] for report in reports] == sorted(report[0] for report in reports)


def test_progress_is_reported_five_times_a_second_at_most(hub: Hub, fake: FakeHub) -> None:
    fake.seconds_a_chunk = 0.04
    reports: list[tuple[float, str]] = []
    start = time.monotonic()
    hub.fetch(MODEL, lambda *report: reports.append(report))
    assert 3 < len(reports) <= 4 + (time.monotonic() - start) / 0.2


def test_a_download_that_breaks_off_goes_on_by_itself(hub: Hub, fake: FakeHub) -> None:
    fake.cuts = [300_000, 300_000]
    folder = hub.fetch(MODEL)
    ranges = [request.range for request in fake.downloads(".safetensors")]
    assert ranges == ["bytes=0-", "bytes=300000-", "bytes=600000-"]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


def test_a_download_that_failed_goes_on_at_the_next_call(hub: Hub, fake: FakeHub) -> None:
    fake.cuts = [300_000, 0, 0, 0, 0]
    with pytest.raises(UnreachableError, match="what has arrived is kept"):
        hub.fetch(MODEL)
    assert hub.find(MODEL) is None
    fake.requests.clear()
    folder = hub.fetch(MODEL)
    assert [request.range for request in fake.downloads(".safetensors")] == ["bytes=300000-"]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


def test_a_server_that_cannot_go_on_sends_all_again(hub: Hub, fake: FakeHub) -> None:
    fake.cuts = [300_000]
    fake.ignores_ranges = True
    reports: list[tuple[float, str]] = []
    folder = hub.fetch(MODEL, lambda *report: reports.append(report))
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert reports[-1][0] == 1


@pytest.mark.parametrize("stumbles", [[500, 503], [416]], ids=["the server fails", "the range is refused"])
def test_a_server_that_stumbles_gets_another_request(hub: Hub, fake: FakeHub, stumbles: list[int]) -> None:
    fake.cuts = [300_000, 0, 0, 0, 0]
    with pytest.raises(UnreachableError):
        hub.fetch(MODEL)
    fake.stumbles = stumbles
    assert (hub.fetch(MODEL) / "model.safetensors").read_bytes() == WEIGHTS
    assert fake.stumbles == []


def test_a_longer_file_of_that_name_is_no_part_of_ours(hub: Hub, fake: FakeHub) -> None:
    fake.cuts = [300_000, 0, 0, 0, 0]
    with pytest.raises(UnreachableError):
        hub.fetch(MODEL)
    (part,) = (hub.cache or Path()).rglob("*.incomplete")
    part.write_bytes(b"x" * (len(WEIGHTS) + 1))
    assert (hub.fetch(MODEL) / "model.safetensors").read_bytes() == WEIGHTS
    assert fake.downloads(".safetensors")[-1].range == "bytes=0-"


def test_a_stalled_download_can_be_cancelled_from_its_progress(hub: Hub, fake: FakeHub) -> None:
    fake.stumbles = [500] * 4
    stop = Event()

    def report(_fraction: float, message: str) -> None:
        if message.startswith("downloading"):
            stop.set()

    with pytest.raises(Stopped):
        hub.fetch(MODEL, report, stop)


def test_damaged_weights_are_thrown_away(hub: Hub, fake: FakeHub) -> None:
    fake.damages = True
    with pytest.raises(BackendError, match=r"arrived damaged .* try again"):
        hub.fetch(MODEL)
    fake.damages = False
    assert hub.fetch(MODEL)


def test_cancelling_stops_soon_and_keeps_what_has_arrived(hub: Hub, fake: FakeHub) -> None:
    fake.seconds_a_chunk = 0.05
    stop = Event()

    def report(fraction: float, _message: str) -> None:
        if fraction > 0:
            stop.set()

    with pytest.raises(Stopped):
        hub.fetch(MODEL, report, stop)
    fake.seconds_a_chunk = 0
    fake.requests.clear()
    hub.fetch(MODEL)
    (request,) = fake.downloads(".safetensors")
    assert request.range != "bytes=0-"


def test_a_cancelled_download_does_not_start(hub: Hub, fake: FakeHub) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(Stopped):
        hub.fetch(MODEL, stop=stop)
    assert fake.downloads(".safetensors") == []


def test_two_at_once_download_once(hub: Hub, fake: FakeHub) -> None:
    fake.seconds_a_chunk = 0.02
    folders: list[Path] = []
    threads = [Thread(target=lambda: folders.append(hub.fetch(MODEL))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert folders == [hub.find(MODEL)] * 2
    assert len(fake.downloads(".safetensors")) == 1


def test_the_token_goes_to_the_hub_and_not_to_where_it_redirects(fake: FakeHub, tmp_path: Path) -> None:
    fake.gated.add("org/model")
    Hub(endpoint=fake.url, cache=tmp_path, token="hf_secret").fetch(MODEL)
    (download,) = fake.downloads(".safetensors")
    assert download.token is None
    assert {one.token for one in fake.requests if "resolve" in one.path} == {"Bearer hf_secret"}


def test_a_model_of_no_family_is_refused_before_its_weights_are_fetched(hub: Hub, fake: FakeHub) -> None:
    fake.add("org/bert", {**FILES, "config.json": b'{"model_type": "bert"}'})
    with pytest.raises(UnsupportedError, match=r"'bert'; choose one of d_fine, grounding-dino, .*owlv2"):
        hub.fetch(ModelSource(repo="org/bert"))
    assert fake.downloads(".safetensors") == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model.safetensors": b""}, "org/odd has no config.json, so it is not a transformers model"),
        (
            {"config.json": b"{}", "vocab.json": b"", "preprocessor_config.json": b"{}", "model.safetensors": b""},
            "org/odd has no vocabulary",
        ),
        ({"config.json": b"{}", "vocab.txt": b""}, "org/odd has no preprocessor_config.json"),
        (READABLE, r"org/odd has no weights \(model.safetensors\)"),
        ({**READABLE, "pytorch_model.bin": b""}, "weights only as pytorch_model.bin; such"),
        ({**READABLE, "model.safetensors": b""}, "cannot run models of type 'None'"),
        ({**READABLE, "config.json": b"{", "model.safetensors": b""}, "config.json cannot be read"),
    ],
)
def test_repositories_that_are_no_models(hub: Hub, fake: FakeHub, content: dict[str, bytes], message: str) -> None:
    fake.add("org/odd", content)
    with pytest.raises(BackendError, match=message):
        hub.fetch(ModelSource(repo="org/odd"))


def test_a_gated_model_says_what_to_accept_and_to_set(hub: Hub, fake: FakeHub) -> None:
    fake.gated.add("org/model")
    with pytest.raises(KeyRejectedError, match=r"accept the licence on the page of org/model.*HF_TOKEN") as caught:
        hub.fetch(MODEL)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (ModelSource(repo="org/none"), "no repository org/none, or it is private; .*HF_TOKEN"),
        (ModelSource(repo="org/model", revision="v9"), "org/model has no revision 'v9'"),
        (ModelSource(repo="a/b/c"), "a/b/c cannot be the name of a repository"),
    ],
)
def test_models_that_the_hub_does_not_have(hub: Hub, source: ModelSource, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        hub.fetch(source)


def test_a_mirror_without_the_commit_of_a_preset_says_how_to_use_what_it_has(hub: Hub, fake: FakeHub) -> None:
    pinned = resolve("balanced", "cpu")
    fake.repositories[str(pinned.repo)] = fake.repositories["org/model"]
    with pytest.raises(UnsupportedError, match=rf"no commit cfd3195, which .*; set DINOX_MCP_MODEL={pinned.repo} to"):
        hub.fetch(pinned)


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (403, KeyRejectedError, r"refuses org/model \(403\); check HF_TOKEN"),
        (429, UnreachableError, "too many downloads; wait some minutes"),
        (503, UnreachableError, "the hub answered 503 for org/model; try again later"),
    ],
)
def test_a_hub_that_refuses(hub: Hub, fake: FakeHub, status: int, kind: type[BackendError], message: str) -> None:
    fake.status = status
    with pytest.raises(kind, match=message):
        hub.fetch(MODEL)


def test_a_mirror_that_answers_nonsense(hub: Hub, fake: FakeHub) -> None:
    fake.status = 200
    with pytest.raises(BackendError, match=r"org/model could not be downloaded: .*; try again") as caught:
        hub.fetch(MODEL)
    assert "\n" not in str(caught.value)


def test_a_long_word_of_the_library_is_cut_short(hub: Hub) -> None:
    with pytest.raises(BackendError, match=r"could not be downloaded: x{200}; try again"), hub.explained(MODEL):
        raise ValueError("x" * 300)


def test_offline_without_the_model_says_how_to_get_it(fake: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match=r"HF_HUB_OFFLINE forbids .*'dinox-mcp pull org/model'"):
        Hub(endpoint=fake.url, cache=tmp_path, offline=True).fetch(MODEL)
    assert fake.requests == []


def test_offline_with_the_model_works(hub: Hub, fake: FakeHub) -> None:
    folder = hub.fetch(MODEL)
    assert Hub(endpoint=fake.url, cache=hub.cache, offline=True).fetch(MODEL, update=True) == folder


def test_a_hub_that_cannot_be_reached_is_noticed_at_once(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(UnreachableError, match=r"cannot be reached for org/model .*check the network"):
        Hub(endpoint="http://127.0.0.1:9", cache=tmp_path).fetch(MODEL)
    assert time.monotonic() - start < 5


def test_a_full_disk_is_noticed_before_the_download(hub: Hub, fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    with pytest.raises(BackendError, match=r"needs 1 MB more and .* has 1 MB; free some, or set HF_HOME"):
        hub.fetch(MODEL)
    assert fake.downloads(".safetensors") == []


@pytest.mark.parametrize(
    ("code", "message"),
    [(errno.ENOSPC, "the disk of .* is full; .* goes on where it stopped"), (errno.EACCES, "cannot be written")],
)
def test_a_disk_that_fails_in_the_middle(hub: Hub, monkeypatch: pytest.MonkeyPatch, code: int, message: str) -> None:
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files, "_receive", fail)
    with pytest.raises(BackendError, match=message):
        hub.fetch(MODEL)


def test_the_environment_is_honoured_and_standard_output_stays_clean(fake: FakeHub, tmp_path: Path) -> None:
    code = (
        "from dinox_mcp.backends.local.checkpoints.hub import Hub; "
        "from dinox_mcp.backends.local.checkpoints.presets import ModelSource;"
        "import sys; sys.stderr.write(str(Hub().fetch(ModelSource(repo='org/model'))))"
    )
    environment = {**os.environ, "HF_ENDPOINT": fake.url, "HF_HOME": str(tmp_path), "HF_TOKEN": "hf_mine"}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)  # noqa: S603 - our own
    assert run.stdout == ""
    assert run.stderr == str(tmp_path / "hub" / "models--org--model" / "snapshots" / COMMIT)
    assert "Bearer hf_mine" in {request.token for request in fake.requests}
    assert all("agent" not in request.path for request in fake.requests)
