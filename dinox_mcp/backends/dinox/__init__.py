"""The DINO-X cloud API: detection by text, example and description, and what can be told of regions."""

from dinox_mcp.backends.base import Backend
from dinox_mcp.settings import Settings


def create(settings: Settings) -> Backend:
    """Create the backend; nothing is imported that is slow, and nothing is connected, before its first call."""
    from dinox_mcp.backends.dinox.backend import DinoxBackend

    return DinoxBackend(settings)
