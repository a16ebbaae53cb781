"""The tools, by what they do; each module registers its own."""

from dinox_mcp.detector import Detector
from dinox_mcp.server.arguments import PlainSpokenServer
from dinox_mcp.server.tools import detection, pictures, saved_prompts, video
from dinox_mcp.server.tools.detection import register_regions


def register(mcp: PlainSpokenServer, detector: Detector) -> None:
    """Add all tools to a server."""
    detection.register(mcp, detector)
    register_regions(mcp, detector)
    saved_prompts.register(mcp, detector)
    pictures.register(mcp, detector)
    video.register(mcp, detector)
