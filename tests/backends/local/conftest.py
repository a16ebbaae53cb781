"""What the tests of the local backend share."""

import io
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import pytest

from dinox_mcp.backends.local.backend import LocalBackend
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from tests.backends.local.pictures import picture as draw

if find_spec("torch") is None or find_spec("transformers") is None:  # the extra is not installed
    _WITHOUT_TORCH = {"test_graph.py", "test_precision.py", "test_texts.py", "test_without_torch.py"}
    collect_ignore = [str(path) for path in Path(__file__).parent.rglob("test_*.py") if path.name not in _WITHOUT_TORCH]

Local = Callable[[str], LocalBackend]


@pytest.fixture(autouse=True)
def exact_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a cache of its own, and a processor that gains nothing from bfloat16."""
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path / "cache"))
    monkeypatch.setattr("dinox_mcp.backends.local.checkpoints.precision._seconds", lambda _dtype: 1.0)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the folder of a tiny random checkpoint by its family, as in `checkpoint("owlv2")`."""
    import torch

    from tests.backends.local.tiny_checkpoints import build

    torch.set_num_threads(1)  # tiny layers gain nothing from threads, and lose much where other tests run too
    built: dict[str, Path] = {}

    def get(family: str) -> Path:
        if family not in built:
            built[family] = build(family, tmp_path_factory.mktemp(family))
        return built[family]

    return get


@pytest.fixture(scope="session")
def describer(checkpoint: Callable[[str], Path]) -> Callable[[str], Any]:
    """Load a tiny checkpoint as the backend does, as in `describer("sam2")`."""
    from dinox_mcp.backends.local import families
    from dinox_mcp.backends.local.checkpoints import device
    from dinox_mcp.backends.local.checkpoints import torch_loading as checkpoints

    loaded: dict[str, Any] = {}

    def get(kind: str) -> Any:  # noqa: ANN401 - each has its own class
        if kind not in loaded:
            role = families.FAMILIES[kind.partition("-")[0]].role
            loaded[kind] = checkpoints.load(checkpoint(kind), device.choose("cpu"), role)
        return loaded[kind]

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
