"""Detection on this machine by models in the wheels: 80 kinds of things, poses, text, codes and markers."""

from dinox_mcp.backends.base import Backend
from dinox_mcp.settings import Settings

PREFERENCE = 10
"""With `auto`, the backend with the largest preference answers, of those that can."""


def create(settings: Settings) -> Backend:
    """Create the backend. Nothing slow is imported and no model is loaded before its first call."""
    from dinox_mcp.backends.embedded.backend import EmbeddedBackend

    return EmbeddedBackend(settings)
