"""What the tests of the local backend share."""

import io
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import pytest

from dinox_mcp.backends.local.backend import LocalBackend
from dinox_mcp.backends.local.checkpoints import precision
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from tests.backends.local.pictures import picture as draw
from tests.backends.local.tiny_graphs import GRAPHS

if find_spec("torch") is None or find_spec("transformers") is None:  # the extra is not installed
    _WITHOUT_TORCH = {"test_graph.py", "test_precision.py", "test_texts.py", "test_without_torch.py"}
    collect_ignore = [str(path) for path in Path(__file__).parent.rglob("test_*.py") if path.name not in _WITHOUT_TORCH]

Local = Callable[[str], LocalBackend]


@pytest.fixture(autouse=True)
def exact_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a cache of its own, small images for trials, and a processor that gains nothing from bfloat16."""
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path / "cache"))
    monkeypatch.setattr(precision, "_images", lambda: [draw(160, 120), draw(160, 120, seed=1)])
    monkeypatch.setattr(precision, "_seconds", lambda _dtype: 1.0)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the folder of a tiny random checkpoint by its family, as in `checkpoint("owlv2")`."""
    import torch

    from tests.backends.local.tiny_checkpoints import build

    torch.set_num_threads(1)  # tiny layers gain nothing from threads, and lose much where other tests run too
    return cache(lambda family: build(family, tmp_path_factory.mktemp(family)))


@pytest.fixture(scope="session")
def stock(checkpoint: Callable[[str], Path]) -> Callable[[str], Any]:
    """Load a tiny checkpoint as transformers documents it, to compare with; tests do not change it."""
    from tests.backends.local.parity import load_model

    return cache(lambda family: load_model(checkpoint(family)))


@pytest.fixture(scope="session")
def adapter_of(checkpoint: Callable[[str], Path]) -> Callable[[str], Any]:
    """Load a tiny checkpoint of a detector in torch, onto the device that `parity` names."""
    from tests.backends.local.parity import load_adapter

    return cache(lambda family: load_adapter(checkpoint(family)))


@pytest.fixture(scope="session")
def graphs_of(checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the folder with the graphs of a family: exported now, so that each script runs, or those of this folder."""
    from tests.backends.local.exported import export
    from tests.backends.local.parity import load_model

    @cache
    def get(family: str) -> Path:
        if family not in {"owlvit", "owlv2", "grounding-dino", "sam2_video", "d_fine"}:
            return GRAPHS
        folder = tmp_path_factory.mktemp("graphs")
        export(load_model(checkpoint(family)), folder, "tiny")
        return folder

    return get


@pytest.fixture(scope="session")
def graph_of(checkpoint: Callable[[str], Path], graphs_of: Callable[[str], Path]) -> Callable[[str], Any]:
    """Load a tiny checkpoint into its graphs."""
    from tests.backends.local.exported import load_graph

    return cache(lambda family: load_graph(checkpoint(family), graphs_of(family)))


@pytest.fixture(scope="session")
def describer(checkpoint: Callable[[str], Path]) -> Callable[[str], Any]:
    """Load a tiny checkpoint as the backend does, as in `describer("sam2")`."""
    from dinox_mcp.backends.local import families
    from dinox_mcp.backends.local.checkpoints import device, torch_loading

    @cache
    def get(kind: str) -> Any:  # noqa: ANN401 - each has its own class
        role = families.FAMILIES[kind.partition("-")[0]].role
        return torch_loading.load(checkpoint(kind), device.choose("cpu"), role)

    return get


@pytest.fixture(scope="module")
def local(checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """Give a backend over a family's tiny checkpoint, as in `local("owlv2")`; the tests of a module share it."""
    made: dict[str, LocalBackend] = {}

    def get(family: str) -> LocalBackend:
        if family not in made:
            settings = Settings.load(model=str(checkpoint(family)), device="cpu")
            made[family] = LocalBackend(settings, cache=tmp_path_factory.mktemp("labels"))
        return made[family]

    yield get
    for backend in made.values():
        anyio.run(backend.aclose)


def photo(width: int = 160, height: int = 120, seed: int = 0) -> Picture:
    """Make a picture with things in it."""
    buffer = io.BytesIO()
    draw(width, height, seed=seed).save(buffer, "PNG")
    return Picture.from_bytes(buffer.getvalue(), f"photo {seed}")
