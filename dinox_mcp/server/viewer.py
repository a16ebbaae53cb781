"""The page that hosts with MCP Apps show beside a reply with data; other hosts ignore it."""

from functools import partial
from typing import Any

from mcp.server import MCPServer
from mcp.server.apps import APP_MIME_TYPE, Apps
from mcp.server.mcpserver.resources import FileResource
from mcp.types import Annotations

from dinox_mcp.detector import Detector
from dinox_mcp.drawing import views
from dinox_mcp.server.requests import RequestContext, caller_of, resource_errors
from dinox_mcp.store import uris
from dinox_mcp.viewer import page
from dinox_mcp.viewer.page import FILE

URI = "ui://dinox/viewer.html"
PREVIEW = uris.RESULT + "/preview.jpg"
REGION = uris.RESULT + "/regions/{region}.jpg"
_FOR_USERS = Annotations(audience=["user"])


def viewer_meta() -> dict[str, Any]:
    """Give the `_meta` of a tool whose answers the page shows; the second key is what hosts read before 2026."""
    return {"ui": {"resourceUri": URI}, "ui/resourceUri": URI}


def extension() -> Apps:
    """Make the extension that announces MCP Apps and serves the page."""
    apps = Apps()
    apps.add_resource(
        FileResource(
            uri=URI,
            name="viewer",
            title="Detection viewer",
            description="The page in which hosts show a detection to the user.",
            mime_type=APP_MIME_TYPE,
            path=FILE.resolve(),
            encoding="utf-8",
            # No domains: the page loads nothing from elsewhere, and hosts enforce that.
            meta={"ui": {"prefersBorder": True}},
        )
    )
    return apps


def register_pictures(mcp: MCPServer, detector: Detector) -> None:
    """Add the images that the page loads: small enough for every host's limit on a message."""
    limits = detector.settings

    @mcp.resource(PREVIEW, title="The image, for viewing", mime_type=views.JPEG, annotations=_FOR_USERS)
    async def preview(result_id: str, ctx: RequestContext) -> bytes:
        """Give the image that was searched, upright, at the size of a screen."""
        with resource_errors():
            stored = detector.result(result_id, caller_of(ctx))
            work = partial(page.preview, stored.picture, limits.preview_max_side, limits.preview_max_bytes)
            return await detector.draw(work)

    @mcp.resource(REGION, title="A part of the image", mime_type=views.JPEG, annotations=_FOR_USERS)
    async def region(result_id: str, region: str, ctx: RequestContext) -> bytes:
        """Give a part of the image at full resolution; `region` is x_min_y_min_x_max_y_max in its pixels."""
        with resource_errors():
            stored = detector.result(result_id, caller_of(ctx))
            box = page.parse_region(region)
            work = partial(page.region, stored.picture, box, limits.preview_max_side, limits.preview_max_bytes)
            return await detector.draw(work)
