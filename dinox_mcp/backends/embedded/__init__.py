"""Text, QR codes, barcodes and markers, found on this machine by models that are in the wheels already."""

from dinox_mcp.backends.base import Backend
from dinox_mcp.settings import Settings


def create(settings: Settings) -> Backend:
    """Create the backend; nothing slow is imported and no model is loaded before its first call."""
    from dinox_mcp.backends.embedded.backend import EmbeddedBackend

    return EmbeddedBackend(settings)
