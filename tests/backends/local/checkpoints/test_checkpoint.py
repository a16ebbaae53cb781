"""Models by name, from a hub on loopback, through the backend."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import anyio
import pytest

from dinox_mcp.backends.base import Call
from dinox_mcp.backends.local.backend import LocalBackend
from dinox_mcp.backends.local.checkpoints.checkpoint import Checkpoint
from dinox_mcp.backends.local.checkpoints.hub import Hub
from dinox_mcp.backends.local.checkpoints.presets import PRESETS
from dinox_mcp.errors import BackendError, ServiceError, SettingsError
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import DetectionRequest
from tests.backends.local.fakehub import FakeHub, serve
from tests.backends.local.tiny_graphs import GRAPHS
from tests.fakes import picture

pytestmark = pytest.mark.anyio
DOG = DetectionRequest(prompts=("dog",), min_score=0)
RED = picture(color="red")


@pytest.fixture
def fake(checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A slow hub with one model."""
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    with serve(FakeHub(seconds_a_chunk=0.15)) as fake:
        fake.add("org/model", checkpoint("owlv2"))
        yield fake


@pytest.fixture
def backend(fake: FakeHub, tmp_path: Path) -> LocalBackend:
    settings = Settings.load(model="org/model")
    hub = Hub(endpoint=fake.url, cache=tmp_path / "hub")
    return LocalBackend(settings, partial(Checkpoint, settings=settings, hub=hub), tmp_path / "labels")


def test_several_names_of_one_model_are_seen_as_such() -> None:
    settings = Settings.load(device="cpu")
    repository = f"google/owlv2-base-patch16-ensemble@{PRESETS['balanced'].revision}"
    names = (None, "balanced", repository, "fast", "accurate")
    default, preset, repository_itself, *others = (Checkpoint(name, settings).identify() for name in names)
    assert default == preset == repository_itself
    assert len({default, *others}) == 3


def test_the_newest_commit_is_that_of_the_main_branch(tmp_path: Path) -> None:
    settings, hub = Settings.load(device="cpu"), Hub(cache=tmp_path)
    newest, main, other = (
        Checkpoint(name, settings, hub).identify() for name in ("org/model", "org/model@main", "org/model@v1")
    )
    assert newest == main != other


def test_a_name_that_is_no_model_cannot_be_identified() -> None:
    with pytest.raises(SettingsError, match=r"'blanced' is not a model; did you mean balanced"):
        Checkpoint("blanced", Settings.load(device="cpu")).identify()


def test_a_torch_that_does_not_work_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("libcudart.so: cannot open shared object file")

    monkeypatch.setattr("dinox_mcp.backends.local.checkpoints.device.choose", broken)
    with pytest.raises(ServiceError, match=r"the model fast failed \(OSError: libcudart"):
        Checkpoint("fast", Settings.load(runtime="torch")).identify()


async def test_the_first_request_fetches_the_model_and_reports_how_far_it_is(backend: LocalBackend) -> None:
    heard: list[tuple[float, str]] = []

    async def hear(fraction: float, message: str) -> None:
        heard.append((fraction, message))

    found = await backend.detect(RED, DOG, Call(hear))
    assert found.objects
    assert found.model == "org/model@c0ffee0"
    assert any(message.startswith("downloading org/model: ") for _, message in heard)
    assert all(fraction <= 0.2 for fraction, message in heard if message.startswith("downloading"))
    await backend.aclose()


async def test_names_of_one_commit_share_its_weights(backend: LocalBackend) -> None:
    names = ("org/model", "org/model@main", "org/model@c0ffee0000000000000000000000000000000000")
    requests = (DOG.model_copy(update={"model": name}) for name in names[:2])
    loaded = [(await backend.detect(RED, request, Call())).model for request in requests]
    workers = {await backend._workers.get(name) for name in names}
    assert (set(loaded), len(workers)) == ({"org/model@c0ffee0"}, 1)
    await backend.aclose()


async def test_a_download_goes_on_when_its_request_is_cancelled(backend: LocalBackend, fake: FakeHub) -> None:
    with anyio.move_on_after(0.4):
        await backend.detect(RED, DOG, Call())
    assert (await backend.detect(RED, DOG, Call())).objects
    assert len(fake.downloads(".safetensors")) == 1
    await backend.aclose()


async def test_closing_stops_a_download_and_the_next_goes_on_from_there(
    backend: LocalBackend, fake: FakeHub, tmp_path: Path
) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(_refused, backend)
        while not fake.downloads(".safetensors"):  # noqa: ASYNC110 - a thread changes it, without telling
            await anyio.sleep(0.01)
        await anyio.sleep(0.2)
        with anyio.fail_after(2):
            await backend.aclose()
    assert _parts_of_files(tmp_path)


@pytest.mark.parametrize(
    ("options", "follows", "kind"),
    [
        ({}, False, "Sam2Graph"),
        ({"precision": "int8"}, False, "Sam2Graph"),  # of which there is none for masks
        ({}, True, "Sam2Video"),
        ({"runtime": "torch"}, False, "Sam2"),
    ],
)
def test_masks_come_from_a_graph_and_those_of_a_video_from_torch(
    options: dict[str, str],
    follows: bool,
    kind: str,
    checkpoint: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dinox_mcp.backends.local.checkpoints.graph.FOLDER", GRAPHS)
    folder = str(checkpoint("sam2_video" if follows else "sam2"))
    model = Checkpoint(folder, Settings.load(device="cpu", **options), role="masks", follows=follows)
    model.fetch(lambda *_: None)
    assert type(model.load().model).__name__ == kind


@pytest.mark.parametrize(
    ("runtime", "torch_here", "kind"),
    [
        ("auto", True, "GroundingDino"),
        ("onnx", True, "GroundingDinoGraph"),
        ("auto", False, "GroundingDinoGraph"),
    ],
)
def test_a_model_that_is_faster_in_torch_runs_there_if_it_can(
    runtime: str,
    torch_here: bool,
    kind: str,
    checkpoint: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dinox_mcp.backends.local.checkpoints.graph.FOLDER", GRAPHS)
    monkeypatch.setattr("dinox_mcp.backends.local.has_torch", lambda: torch_here)
    model = Checkpoint(str(checkpoint("mm-grounding-dino")), Settings.load(device="cpu", runtime=runtime))
    assert ("ONNX Runtime" in model.will_run()[2]) == kind.endswith("Graph")
    model.fetch(lambda *_: None)
    assert type(model.load().model).__name__ == kind


@pytest.mark.parametrize(("torch_here", "runtime"), [(True, "torch"), (False, "ONNX Runtime")])
def test_where_a_preset_will_run_is_known_before_it_is_fetched(
    torch_here: bool, runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dinox_mcp.backends.local.has_torch", lambda: torch_here)
    settings = Settings.load(device="cpu")
    assert Checkpoint("accurate", settings, Hub(cache=tmp_path)).will_run()[2].startswith(runtime)
    assert Checkpoint("fast", settings, Hub(cache=tmp_path)).will_run()[2].startswith("ONNX Runtime")


def test_running_out_of_memory_in_a_graph_is_explained() -> None:
    explained = Checkpoint("fast", Settings.load(device="cpu", precision="int8")).explain(MemoryError())
    assert str(explained).startswith("out of memory on cpu; choose a smaller model (DINOX_MCP_MODEL=fast)")


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (MemoryError(), BackendError, r"out of memory on cpu; .*DINOX_MCP_MODEL=fast"),
        (RuntimeError("shapes\ndiffer"), ServiceError, r"the model fast failed \(RuntimeError: shapes differ\)"),
    ],
)
def test_what_goes_wrong_in_a_model_is_one_line_with_a_remedy(
    error: Exception, kind: type[Exception], words: str
) -> None:
    explained = Checkpoint("fast", Settings.load(device="cpu")).explain(error)
    assert type(explained) is kind
    assert "\n" not in str(explained)
    with pytest.raises(kind, match=words):
        raise explained


def _parts_of_files(folder: Path) -> list[Path]:
    return list(folder.rglob("*.incomplete"))


async def _refused(backend: LocalBackend) -> None:
    with pytest.raises(BackendError, match="closed"):
        await backend.detect(RED, DOG, Call())
