"""What is found on this machine by models in the wheels: 80 kinds of things, people's poses, text, codes, markers."""

from dinox_mcp.backends.base import Backend
from dinox_mcp.settings import Settings

PREFERENCE = 10
"""With `auto`, the largest preference that can answer does."""


def create(settings: Settings) -> Backend:
    """Create the backend; nothing slow is imported and no model is loaded before its first call."""
    from dinox_mcp.backends.embedded.backend import EmbeddedBackend

    return EmbeddedBackend(settings)
