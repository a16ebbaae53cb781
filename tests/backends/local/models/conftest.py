# ruff: noqa: ANN401 - adapters and graphs with what only their family can do
"""The tiny model that the tests of a file share: they say which by a fixture `family`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def folder(family: str, checkpoint: Callable[[str], Path]) -> Path:
    """Give the folder of the checkpoint."""
    return checkpoint(family)


@pytest.fixture(scope="module")
def adapter(family: str, adapter_of: Callable[[str], Any]) -> Any:
    """Load it into torch."""
    return adapter_of(family)


@pytest.fixture(scope="module")
def graph(family: str, graph_of: Callable[[str], Any]) -> Any:
    """Load it into its graphs."""
    return graph_of(family)
