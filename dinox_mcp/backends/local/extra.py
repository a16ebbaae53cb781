"""Whether the packages of the `local` extra are installed."""

from importlib.util import find_spec

from dinox_mcp.errors import UnsupportedError

_PACKAGES = ("torch", "transformers", "huggingface_hub", "safetensors")


def installed() -> bool:
    """Tell whether they are, without importing any."""
    return all(find_spec(package) is not None for package in _PACKAGES)


def require() -> None:
    """Raise UnsupportedError, which says what to install, if they are not."""
    if not installed():
        raise UnsupportedError(
            "the local backend needs torch and transformers, which are not installed; pip install 'dinox-mcp[local]'"
        )
