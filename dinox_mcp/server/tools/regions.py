"""The tool that tells more of what is there already."""

from typing import Annotated

from mcp.types import CallToolResult

from dinox_mcp.detector import Detector
from dinox_mcp.server import parameters as p
from dinox_mcp.server.arguments import PlainSpokenServer
from dinox_mcp.server.caller import RequestContext, caller_of, progress_of, tool_errors
from dinox_mcp.server.replies import DetectionReply, description_reply
from dinox_mcp.server.tools.register import LARGE, tool


def register(mcp: PlainSpokenServer, detector: Detector) -> None:
    """Add the tool."""

    @tool(mcp, "Describe objects or regions", meta=LARGE)
    async def describe_regions(
        ctx: RequestContext,
        result: p.Result = None,
        object: p.Numbers = (),  # noqa: A002 - the name is part of the contract
        image: p.OptionalImage = None,
        boxes: p.Boxes = (),
        include: p.DescribeInclude = (),
    ) -> Annotated[CallToolResult, DetectionReply]:
        """Tell more of objects of a result, or of boxes in a picture: caption, category, text, shape, pose.

        Numbers stay those of the result.
        """
        with tool_errors():
            described = await detector.describe_regions(
                image,
                boxes,
                result=result,
                objects=object,
                include=include,
                caller=caller_of(ctx),
                progress=progress_of(ctx),
            )
            return description_reply(described)
