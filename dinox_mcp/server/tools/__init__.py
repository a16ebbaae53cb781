"""The tools, by what they do; each module registers its own."""

from dinox_mcp.detector import Detector
from dinox_mcp.server.protocol import DetectionServer
from dinox_mcp.server.tools import compare, detection, export, pictures, search, video


def register(mcp: DetectionServer, detector: Detector) -> None:
    """Add all tools to a server."""
    detection.register(mcp, detector)
    pictures.register(mcp, detector)
    compare.register(mcp, detector)
    export.register(mcp, detector)
    video.register(mcp, detector)
    search.register(mcp, detector)
