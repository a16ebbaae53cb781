"""Whether the packages of the `local` extra are installed."""

import os
from importlib.util import find_spec

from dinox_mcp.errors import UnsupportedError

_PACKAGES = ("torch", "transformers", "huggingface_hub", "safetensors")


def installed() -> bool:
    """Tell whether they are, without importing any."""
    return all(find_spec(package) is not None for package in _PACKAGES)


def require() -> None:
    """Raise UnsupportedError, which says what to install, if they are not; ask it before their first import."""
    if not installed():
        raise UnsupportedError(
            "the local backend needs torch and transformers, which are not installed; pip install 'dinox-mcp[local]'"
        )
    turn_telemetry_off()


def turn_telemetry_off() -> None:
    """Keep the hub's library from reporting what is used; it reads the variable when it is first imported."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
