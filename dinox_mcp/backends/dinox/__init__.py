"""The DINO-X cloud API: detection by text, example and description, and descriptions of regions."""

from dinox_mcp.backends.base import Backend, Unready
from dinox_mcp.settings import Settings

PREFERENCE = 30
"""With `auto`, the backend with the largest preference answers, of those that can."""


def unready(settings: Settings, *, caller_has_key: bool) -> Unready | None:
    """Return what is missing before the cloud can answer: a key."""
    if caller_has_key or settings.api_key:
        return None
    return Unready(
        "set DINOX_API_KEY (from https://deepdataspace.com; over HTTP, send it in the header X-DINOX-API-Key) to use "
        "the DINO-X cloud"
    )


def create(settings: Settings) -> Backend:
    """Create the backend. Before its first call nothing slow is imported and nothing is connected."""
    from dinox_mcp.backends.dinox.backend import DinoxBackend

    return DinoxBackend(settings)
