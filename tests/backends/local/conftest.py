"""What the tests of the local backend share."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

if find_spec("torch") is None or find_spec("transformers") is None:  # the extra is not installed
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the folder of a tiny random checkpoint by its family, as in `checkpoint("owlv2")`."""
    import torch

    from tests.backends.local.checkpoints import build

    torch.set_num_threads(1)  # tiny layers gain nothing from threads, and lose much where other tests run too
    built: dict[str, Path] = {}

    def get(family: str) -> Path:
        if family not in built:
            built[family] = build(family, tmp_path_factory.mktemp(family))
        return built[family]

    return get
