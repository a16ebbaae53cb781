"""The tools that find, count and describe: structured content with a schema, and the same as text."""

from typing import Annotated

from mcp.types import CallToolResult

from dinox_mcp.detect.options import Options
from dinox_mcp.detector import Detector
from dinox_mcp.server import parameters as p
from dinox_mcp.server.arguments import PlainSpokenServer
from dinox_mcp.server.parameters import offered
from dinox_mcp.server.replies import CountReply, DetectionReply, count_reply, description_reply, detection_reply
from dinox_mcp.server.requests import RequestContext, caller_of, progress_of, tool_errors
from dinox_mcp.server.tools.register import LARGE, tool


def register(mcp: PlainSpokenServer, detector: Detector) -> None:
    """Add the tools that find and count."""
    _register_by_words(mcp, detector)
    _register_by_example(mcp, detector)
    _register_by_sentence(mcp, detector)
    _register_counting(mcp, detector)


def _register_by_words(mcp: PlainSpokenServer, detector: Detector) -> None:
    @tool(mcp, "Detect objects", meta=LARGE)
    async def detect_objects(
        image: p.Image,
        prompts: p.Prompts,
        ctx: RequestContext,
        min_score: p.MinScore = None,
        iou_threshold: p.IouThreshold = None,
        max_objects: p.MaxObjects = 100,
        include: p.Include = (),
        tiles: p.Tiles = 1,
        model: p.Model = None,
    ) -> Annotated[CallToolResult, DetectionReply]:
        """Find, locate and count named things in a picture: exact boxes, scores, counts per label.

        Use it for "how many", "where is", "is there a". Each object gets a number for visualize and zoom.
        """
        with tool_errors():
            options = _options(ctx, detector, min_score, iou_threshold, max_objects, include, model, tiles)
            return detection_reply(await detector.detect(image, prompts, **options))

    @tool(mcp, "Detect everything", meta=LARGE)
    async def detect_prompt_free(
        image: p.SameImage,
        ctx: RequestContext,
        min_score: p.MinScore = None,
        iou_threshold: p.IouThreshold = None,
        max_objects: p.MaxObjects = 100,
        include: p.Include = (),
        tiles: p.Tiles = 1,
        model: p.Model = None,
    ) -> Annotated[CallToolResult, DetectionReply]:
        """Find everything that the backend knows in a picture, without saying what: an inventory with boxes and counts.

        Use it for "what is in this picture", or to read all text and codes in it. When you know what to look for,
        detect_objects is better.
        """
        with tool_errors():
            options = _options(ctx, detector, min_score, iou_threshold, max_objects, include, model, tiles)
            return detection_reply(await detector.detect(image, **options))


def _register_by_example(mcp: PlainSpokenServer, detector: Detector) -> None:
    @tool(mcp, "Find more like this", meta=LARGE, needs="examples")
    async def detect_by_example(
        image: p.SameImage,
        examples: p.Examples,
        ctx: RequestContext,
        min_score: p.MinScore = None,
        iou_threshold: p.IouThreshold = None,
        max_objects: p.MaxObjects = 100,
        include: p.Include = (),
        tiles: p.Tiles = 1,
        model: p.Model = None,
    ) -> Annotated[CallToolResult, DetectionReply]:
        """Find what looks like examples: boxes or points in this or another picture, objects of results, saved prompts.

        Use it for "find more like this one" and for things that words do not name.
        """
        with tool_errors():
            options = _options(ctx, detector, min_score, iou_threshold, max_objects, include, model, tiles)
            return detection_reply(await detector.detect_by_example(image, examples, **options))


def _register_by_sentence(mcp: PlainSpokenServer, detector: Detector) -> None:
    @tool(mcp, "Find the one described", meta=LARGE, needs="descriptions")
    async def find_by_description(
        image: p.SameImage,
        description: p.Description,
        ctx: RequestContext,
        min_score: p.MinScore = None,
        max_objects: p.MaxObjects = 100,
        include: p.Include = (),
        model: p.Model = None,
    ) -> Annotated[CallToolResult, DetectionReply]:
        """Find what one sentence tells from others like it: "the man in red left of the car"."""
        with tool_errors():
            options = _options(ctx, detector, min_score, None, max_objects, include, model, 1)
            return detection_reply(await detector.find_by_description(image, description, **options))

    @tool(mcp, "Ground a caption's phrases", meta=LARGE)
    async def ground_phrases(
        image: p.SameImage,
        caption: p.Caption,
        ctx: RequestContext,
        phrases: p.Phrases = (),
        min_score: p.MinScore = None,
        iou_threshold: p.IouThreshold = None,
        max_objects: p.MaxObjects = 100,
        include: p.Include = (),
        model: p.Model = None,
    ) -> Annotated[CallToolResult, DetectionReply]:
        """Find what each noun phrase of a caption means in the picture: checks a description against it."""
        with tool_errors():
            options = _options(ctx, detector, min_score, iou_threshold, max_objects, include, model, 1)
            return detection_reply(await detector.ground_phrases(image, caption, phrases, **options))


def _register_counting(mcp: PlainSpokenServer, detector: Detector) -> None:
    @tool(mcp, "Count objects", meta=LARGE)
    async def count_objects(
        image: p.SameImage,
        ctx: RequestContext,
        prompts: p.OptionalPrompts = None,
        examples: p.OptionalExamples = (),
        min_score: p.MinScore = None,
        iou_threshold: p.IouThreshold = None,
        max_objects: p.MaxObjects = 100,
        tiles: p.CountTiles = None,
        model: p.Model = None,
    ) -> Annotated[CallToolResult, CountReply]:
        """Count things with evidence: counts per label, how they change with min_score, each object numbered.

        Use it when the number matters, and for small or crowded things, which it looks for in parts of a large
        picture. Then check with visualize(show=["numbers"]).
        """
        with tool_errors():
            options = _options(ctx, detector, min_score, iou_threshold, max_objects, (), model, tiles)
            return count_reply(await detector.count_objects(image, prompts, examples, **options))


def _options(
    ctx: RequestContext,
    detector: Detector,
    min_score: float | None,
    iou_threshold: float | None,
    max_objects: int,
    include: p.Include,
    model: str | None,
    tiles: int | None,
) -> Options:
    """Gather what the tools have in common.

    Raises:
        InputError: the model is none that a caller may choose, or the key is none.
    """
    options = Options(
        max_objects=max_objects,
        include=include,
        model=offered(model, detector, caller_of(ctx)),
        caller=caller_of(ctx),
        progress=progress_of(ctx),
    )
    if min_score is not None:
        options["min_score"] = min_score
    if iou_threshold is not None:
        options["iou_threshold"] = iou_threshold
    if tiles is not None:
        options["tiles"] = tiles
    return options


def register_regions(mcp: PlainSpokenServer, detector: Detector) -> None:
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
