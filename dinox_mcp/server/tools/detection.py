"""The tools that find, count and describe objects, and keep examples: each replies with data and with text."""

from typing import Unpack, cast

from mcp.types import CallToolResult

from dinox_mcp.detect.options import Caller, Options
from dinox_mcp.detector import Detector
from dinox_mcp.errors import InputError
from dinox_mcp.server import parameters as p
from dinox_mcp.server.protocol import DetectionServer, tool
from dinox_mcp.server.replies import (
    CountData,
    DetectionData,
    PromptData,
    count_reply,
    deleted_prompt_reply,
    description_reply,
    detection_reply,
    saved_prompt_reply,
)
from dinox_mcp.server.requests import RequestContext, caller_of, progress_of
from dinox_mcp.viewer.page import URI

LARGE = {"anthropic/maxResultSizeChars": 200_000, "ui": {"resourceUri": URI}, "ui/resourceUri": URI}
"""Metadata of tools whose replies may be long and are shown on the page; the last key is for hosts before 2026."""


def register(mcp: DetectionServer, detector: Detector) -> None:
    """Add the tools."""
    _register_detecting(mcp, detector)
    _register_counting(mcp, detector)
    _register_describing(mcp, detector)
    _register_saving(mcp, detector)


def _register_detecting(mcp: DetectionServer, detector: Detector) -> None:
    @tool(mcp, "Detect objects", reply=DetectionData, meta=LARGE)
    async def detect_objects(
        image: p.Image,
        ctx: RequestContext,
        prompts: p.Prompts = None,
        description: p.Description = None,
        caption: p.Caption = None,
        **options: Unpack[p.DetectOptions],
    ) -> CallToolResult:
        """Find named things in an image: box, score and number of each, counts per label.

        For "where is", "is there a", or to check a caption.
        """
        given = options_of(ctx, detector, options)
        if description is not None and prompts is None and caption is None:
            return detection_reply(await detector.find_by_description(image, description, **given))
        if caption is not None and description is None:
            return detection_reply(await detector.ground_phrases(image, caption, prompts or (), **given))
        if prompts is not None and description is None:
            return detection_reply(await detector.detect(image, prompts, **given))
        raise InputError(
            'detect_objects needs one thing to find; pass prompts, as in ["person", "red car"], or a description, or a '
            "caption; detect_prompt_free finds everything"
        )

    @tool(mcp, "Detect everything", reply=DetectionData, meta=LARGE)
    async def detect_prompt_free(
        image: p.Image, ctx: RequestContext, **options: Unpack[p.DetectOptions]
    ) -> CallToolResult:
        """Find everything that is known, without naming it: an inventory of an image, with all text and codes."""
        return detection_reply(await detector.detect(image, **options_of(ctx, detector, options)))

    @tool(mcp, "Find more like this", reply=DetectionData, meta=LARGE, needs="examples")
    async def detect_by_example(
        image: p.Image, examples: p.Examples, ctx: RequestContext, **options: Unpack[p.DetectOptions]
    ) -> CallToolResult:
        """Find more like the examples: for "like this one", and for things that words do not name."""
        given = options_of(ctx, detector, options)
        return detection_reply(await detector.detect_by_example(image, examples, **given))


def _register_counting(mcp: DetectionServer, detector: Detector) -> None:
    @tool(mcp, "Count objects", reply=CountData, meta=LARGE)
    async def count_objects(
        image: p.Image,
        ctx: RequestContext,
        prompts: p.CountPrompts = None,
        examples: p.Examples = (),
        tiles: p.CountTiles = None,
        **options: Unpack[p.SharedOptions],
    ) -> CallToolResult:
        """Answer "how many": counts per label and at other min_scores, each object numbered.

        Small or crowded things are searched in parts of the image. Check with visualize(show=["numbers"]).
        """
        given = options_of(ctx, detector, options)
        if tiles is not None:
            given["tiles"] = tiles
        return count_reply(await detector.count_objects(image, prompts, examples, **given))


def _register_describing(mcp: DetectionServer, detector: Detector) -> None:
    @tool(mcp, "Describe objects or regions", reply=DetectionData, meta=LARGE)
    async def describe_regions(
        ctx: RequestContext,
        result: p.Result = None,
        object: p.Numbers = (),  # noqa: A002 - the name is part of the contract
        image: p.OptionalImage = None,
        boxes: p.Boxes = (),
        include: p.DescribeInclude = (),
    ) -> CallToolResult:
        """Describe objects of a result, which keep their numbers, or boxes in an image: in words, text, shape, pose."""
        caller = caller_of(ctx)
        described = await detector.describe_regions(
            image, boxes, result=result, objects=object, include=include, caller=caller, progress=progress_of(ctx)
        )
        return description_reply(described)


def _register_saving(mcp: DetectionServer, detector: Detector) -> None:
    @tool(mcp, "Save or delete a visual prompt", reply=PromptData, deletes=True, needs="saved prompts")
    async def save_prompt(
        name: p.PromptName,
        ctx: RequestContext,
        image: p.Image = "",
        examples: p.Examples = (),
        label: p.PromptLabel = None,
        model: p.Model = None,
        delete: p.Delete = False,
    ) -> CallToolResult:
        """Keep examples under a name, for detect_by_example in any image ({"saved": name}); replaces that name."""
        caller = caller_of(ctx)
        if delete:
            if image or examples:
                raise InputError("delete is true, so nothing is saved; pass the name alone, or leave delete out")
            detector.saved.delete(name, caller.tenant)
            return deleted_prompt_reply(name, detector.saved.list(caller.tenant))
        if not image:
            raise InputError("the argument 'image' is missing; pass image and examples, or delete=true")
        chosen = offered(model, detector, caller)
        prompt = await detector.save_prompt(
            name, image, examples, label=label, model=chosen, caller=caller, progress=progress_of(ctx)
        )
        return saved_prompt_reply(prompt)


def options_of(
    ctx: RequestContext, detector: Detector, given: p.DetectOptions | p.SharedOptions | p.CompareOptions
) -> Options:
    """Make the detector's options of a tool's.

    Raises:
        InputError: the caller may not choose the model, or the header with the key is wrong.
    """
    caller = caller_of(ctx)
    # What is not given is None, which leaves the default to the detector.
    options = cast("Options", {name: value for name, value in given.items() if value is not None})
    options["model"] = offered(given.get("model"), detector, caller)
    options["caller"] = caller
    options["progress"] = progress_of(ctx)
    return options


def offered(model: str | None, detector: Detector, caller: Caller) -> str | None:
    """Return a model's name, as its backend writes it, if a caller may choose it.

    Of a backend that downloads models, callers over HTTP choose among those that are loaded: otherwise a stranger
    could fill this machine's disk or memory.

    Raises:
        InputError: such a backend does not list it; the message says which it does.
    """
    model = (model or "").strip()
    if not model:
        return None
    name = detector.backends.choose(caller_has_key=caller.api_key is not None, model=model)
    backend = detector.backends.get(name)
    fetches = backend.capabilities().fetches
    offers = list(backend.models())
    if fetches and detector.settings.transport != "stdio":
        offers = [offer for place, offer in enumerate(offers) if offer.loaded or place == 0]
    listed = {offer.name.casefold(): offer.name for offer in offers}
    if fetches and model.casefold() not in listed:
        raise InputError(
            f"model {model[:80]!r} may not be chosen here; there are {', '.join(listed.values())} "
            "(whoever runs this server can set DINOX_MCP_MODEL to any other)"
        )
    return listed.get(model.casefold(), model)
