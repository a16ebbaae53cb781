"""The MCP server over a detector: everything registered, nothing running yet."""

from typing import Literal

from mcp.types import Icon

from dinox_mcp import __version__
from dinox_mcp.detector import Detector
from dinox_mcp.server import prompts, resources, tools, viewer
from dinox_mcp.server.arguments import PlainSpokenServer
from dinox_mcp.server.clean import clean_line, without_folders
from dinox_mcp.server.instructions import instructions

# An eye. The SDK repeats the icon in the metadata of every reply, so it is as short as an icon can be. No spaces: it is
# a URI, which hosts may check.
_ICON = (
    "data:image/svg+xml,%3Csvg%20xmlns='http://www.w3.org/2000/svg'%20viewBox='0%200%208%208'%3E%3Cpath%20fill='%2306c'"
    "%20d='M0%204q4-6%208%200q-4%206-8%200'/%3E%3Ccircle%20cx='4'%20cy='4'%20r='1.5'%20fill='%23fff'/%3E%3C/svg%3E"
)
_LOG_LEVELS: dict[str, Literal["DEBUG", "INFO", "WARNING", "ERROR"]] = {
    "debug": "DEBUG",
    "info": "INFO",
    "warning": "WARNING",
    "error": "ERROR",
}


def build_server(detector: Detector) -> PlainSpokenServer:
    """Make the server; the caller runs it and closes the detector."""
    settings = detector.settings
    remote = settings.transport != "stdio"  # over HTTP, callers may bring a key of their own
    remedies = detector.remedies(caller_has_key=remote)
    mcp = PlainSpokenServer(
        "dinox-mcp",
        title="DINO-X: eyes for exact questions",
        description="Finds, counts, reads and shows objects in pictures.",
        instructions=instructions(detector.capabilities(caller_has_key=remote), remedies, remote=remote),
        icons=[Icon(src=_ICON, mime_type="image/svg+xml", sizes=["any"])],
        version=__version__,
        log_level=_LOG_LEVELS[settings.log_level],
        extensions=[viewer.extension()],
    )
    if remote:
        folders = (settings.prompts_folder, settings.output_folder)
        mcp.clean = lambda text: without_folders(clean_line(text), folders)
    mcp.answers = lambda: detector.capabilities(caller_has_key=remote).answers
    tools.register(mcp, detector)
    resources.register_data(mcp, detector)
    resources.register_pictures(mcp, detector)
    resources.register_videos(mcp, detector)
    viewer.register_pictures(mcp, detector)
    prompts.register(mcp, detector)
    return mcp
