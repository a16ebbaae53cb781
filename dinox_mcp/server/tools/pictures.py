"""The tools that answer pictures: without a schema, as hosts then show the picture to the model."""

from collections.abc import Sequence

from mcp.types import CallToolResult

from dinox_mcp.detector import Detector
from dinox_mcp.drawing.style import Style
from dinox_mcp.errors import InputError
from dinox_mcp.server import parameters as p
from dinox_mcp.server.arguments import PlainSpokenServer
from dinox_mcp.server.caller import RequestContext, caller_of, progress_of, tool_errors
from dinox_mcp.server.pictures import Audience, Region, Selection, show_objects, show_region
from dinox_mcp.server.tools.register import tool


def register(mcp: PlainSpokenServer, detector: Detector) -> None:
    """Add the tools."""
    saves = detector.settings.output_folder is not None and detector.settings.transport == "stdio"

    @tool(mcp, "Show objects on the picture", structured_output=False, read_only=not saves)
    async def visualize(
        ctx: RequestContext,
        result: p.Result = None,
        object: p.Numbers = (),  # noqa: A002 - the name is part of the contract
        image: p.OptionalImage = None,
        objects: p.DrawnObjects = (),
        labels: p.Labels = (),
        min_score: p.DrawnScore = 0.0,
        show: p.Show = ("boxes", "masks", "labels", "numbers", "keypoints", "captions"),
        opacity: p.Opacity = 0.4,
    ) -> CallToolResult:
        """Draw an earlier result on its picture and look at it: boxes, masks, numbered labels with scores.

        Use it to check a detection by eye and to show it to the user; it asks no backend and costs nothing. An image
        without objects is shown as it is.
        """
        with tool_errors():
            selection = Selection(result, object, image, objects, labels, min_score)
            audience = Audience(caller_of(ctx), progress_of(ctx))
            return await show_objects(detector, selection, _style(show, opacity), audience)

    @tool(mcp, "Look closer", structured_output=False)
    async def zoom(
        ctx: RequestContext,
        result: p.Result = None,
        object: p.Number = None,  # noqa: A002 - the name is part of the contract
        image: p.OptionalImage = None,
        bbox: p.Region = None,
        padding: p.Padding = 0.15,
    ) -> CallToolResult:
        """Cut one object or region out of the original picture at full resolution, enlarged when small.

        Use it to read small text, to tell similar things apart, or to check one detection.
        """
        with tool_errors():
            region = Region(result, object, image, bbox, padding)
            return await show_region(detector, region, Audience(caller_of(ctx), progress_of(ctx)))


def _style(show: Sequence[p.Part], opacity: float) -> Style:
    if not 0 <= opacity <= 1:
        raise InputError(f"opacity is {opacity:g}; choose 0 (invisible) to 1 (solid)")
    return Style(
        boxes="boxes" in show,
        masks="masks" in show,
        labels="labels" in show,
        numbers="numbers" in show,
        keypoints="keypoints" in show,
        captions="captions" in show,
        opacity=opacity,
    )
