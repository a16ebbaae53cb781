"""The tools: two that answer data, two that answer pictures."""

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from mcp.server import MCPServer
from mcp.types import CallToolResult, ToolAnnotations

from dinox_mcp.detector import Detector
from dinox_mcp.drawing.style import Style
from dinox_mcp.errors import InputError
from dinox_mcp.server import parameters as p
from dinox_mcp.server.caller import RequestContext, caller_of, progress_of, tool_errors
from dinox_mcp.server.pictures import Audience, Region, Selection, show_objects, show_region
from dinox_mcp.server.replies import DetectionReply, detection_reply

T = TypeVar("T", bound=Callable[..., Any])
_LARGE = {"anthropic/maxResultSizeChars": 200_000}


def register_detection(mcp: MCPServer, detector: Detector) -> None:
    """Add the tools that answer data: structured content with a schema, and the same as text."""

    @_tool(mcp, "Detect objects", meta=_LARGE)
    async def detect_objects(
        image: p.Image,
        prompts: p.Prompts,
        ctx: RequestContext,
        min_score: p.MinScore = 0.25,
        iou_threshold: p.IouThreshold = 0.8,
        max_objects: p.MaxObjects = 100,
        include: p.Include = (),
    ) -> Annotated[CallToolResult, DetectionReply]:
        """Find, locate and count named things in a picture: exact boxes, scores, counts per label.

        Use it for "how many", "where is", "is there a". Each object gets a number for visualize and zoom.
        """
        with tool_errors():
            result = await detector.detect(
                image,
                prompts,
                min_score=min_score,
                iou_threshold=iou_threshold,
                max_objects=max_objects,
                include=include,
                caller=caller_of(ctx),
                progress=progress_of(ctx),
            )
            return detection_reply(result)

    @_tool(mcp, "Detect everything", meta=_LARGE)
    async def detect_prompt_free(
        image: p.Image,
        ctx: RequestContext,
        min_score: p.MinScore = 0.25,
        iou_threshold: p.IouThreshold = 0.8,
        max_objects: p.MaxObjects = 100,
        include: p.Include = (),
    ) -> Annotated[CallToolResult, DetectionReply]:
        """Find everything that the backend knows in a picture, without saying what: an inventory with boxes and counts.

        Use it for "what is in this picture", or to read all text and codes in it. When you know what to look for,
        detect_objects is better.
        """
        with tool_errors():
            result = await detector.detect(
                image,
                min_score=min_score,
                iou_threshold=iou_threshold,
                max_objects=max_objects,
                include=include,
                caller=caller_of(ctx),
                progress=progress_of(ctx),
            )
            return detection_reply(result)


def register_pictures(mcp: MCPServer, detector: Detector) -> None:
    """Add the tools that answer pictures: without a schema, as hosts then show the picture to the model."""
    saves = detector.settings.output_folder is not None and detector.settings.transport == "stdio"

    @_tool(mcp, "Show objects on the picture", structured_output=False, read_only=not saves)
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

    @_tool(mcp, "Look closer", structured_output=False)
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


def _tool(
    mcp: MCPServer,
    title: str,
    *,
    meta: dict[str, Any] | None = None,
    structured_output: bool | None = None,
    read_only: bool = True,
) -> Callable[[T], T]:
    """Add a tool that harms nothing, described by its docstring without the indentation of its source."""

    def add(function: T) -> T:
        return mcp.tool(
            title=title,
            description=inspect.getdoc(function),
            annotations=ToolAnnotations(
                read_only_hint=read_only, destructive_hint=False, idempotent_hint=True, open_world_hint=True
            ),
            meta=meta,
            structured_output=structured_output,
        )(function)

    return add
