"""What the tests of describing share."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

if find_spec("torch") is None or find_spec("transformers") is None:  # the extra is not installed
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def describer(checkpoint: Callable[[str], Path]) -> Callable[[str], Any]:
    """Load a tiny checkpoint as the backend does, as in `describer("sam2")`."""
    from dinox_mcp.backends.local import checkpoint as checkpoints
    from dinox_mcp.backends.local import describing, device

    loaded: dict[str, Any] = {}

    def get(kind: str) -> Any:  # noqa: ANN401 - each has its own class
        if kind not in loaded:
            role, _ = describing.FAMILIES[kind.partition("-")[0]]
            loaded[kind] = checkpoints.load(checkpoint(kind), device.choose("cpu"), role)
        return loaded[kind]

    return get
