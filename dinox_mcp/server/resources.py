"""The resources: a result as JSON and COCO, its images, saved prompts, videos, and the backends."""

import json
from functools import partial
from typing import Any

from mcp.server import MCPServer
from mcp.types import Annotations

from dinox_mcp.detector import Detector
from dinox_mcp.drawing import views
from dinox_mcp.drawing.style import Style
from dinox_mcp.errors import DinoxError
from dinox_mcp.server.requests import RequestContext, caller_of, resource_errors
from dinox_mcp.store import uris
from dinox_mcp.store.prompts import SavedPrompt, SavedPrompts
from dinox_mcp.store.videos import Part

_JSON = "application/json"
_FOR_USERS = Annotations(audience=["user"])


def register_data(mcp: MCPServer, detector: Detector) -> None:
    """Add the resources that are JSON."""

    @mcp.resource(uris.RESULT, title="Detection result", mime_type=_JSON)
    async def result(result_id: str, ctx: RequestContext) -> str:
        """Give all objects of a result, masks as COCO RLE included."""
        with resource_errors():
            return detector.result(result_id, caller_of(ctx)).result.model_dump_json(exclude_none=True)

    @mcp.resource(uris.COCO, title="COCO annotations", mime_type=_JSON)
    async def coco(result_id: str, ctx: RequestContext) -> str:
        """Give a result in the COCO format, which annotation tools and pycocotools read."""
        from dinox_mcp.types.coco import to_coco

        with resource_errors():
            return json.dumps(to_coco(detector.result(result_id, caller_of(ctx)).result), ensure_ascii=False)

    @mcp.resource("dinox://backends", title="Backends", mime_type=_JSON)
    async def backends() -> str:
        """List the backends and what each can do."""
        with resource_errors():
            return json.dumps(detector.backends.describe(), ensure_ascii=False)

    @mcp.resource(uris.PROMPT, title="Saved visual prompt", mime_type=_JSON)
    async def saved_prompt(name: str, ctx: RequestContext) -> str:
        """Give a prompt that save_prompt has saved: its label, and the model that it works with."""
        with resource_errors():
            return json.dumps(_about(detector.saved.get(name, caller_of(ctx).tenant)), ensure_ascii=False)

    if detector.settings.transport != "stdio":
        return  # a list without a template knows no caller, and callers have prompts of their own

    @mcp.resource(uris.PROMPTS, title="Saved visual prompts", mime_type=_JSON)
    async def saved_prompts() -> str:
        """List the prompts that save_prompt has saved, with the model that each works with."""
        with resource_errors():
            return json.dumps([_listed(detector.saved, name) for name in detector.saved.list()], ensure_ascii=False)


def register_videos(mcp: MCPServer, detector: Detector) -> None:
    """Add the resources of answers about videos."""

    @mcp.resource(uris.VIDEO, title="Video result", mime_type=_JSON)
    async def video_result(result_id: str, ctx: RequestContext) -> str:
        """Give all tracks, counts and the timeline of a video."""
        with resource_errors():
            return detector.videos.get(result_id, caller_of(ctx).tenant).model_dump_json(exclude_none=True)

    async def read(result_id: str, part: Part, ctx: RequestContext) -> bytes:
        with resource_errors():
            return await detector.draw(partial(detector.videos.file, result_id, part, caller_of(ctx).tenant))

    @mcp.resource(f"{uris.VIDEO}/sheet.jpg", title="Key frames", mime_type=views.JPEG, annotations=_FOR_USERS)
    async def sheet(result_id: str, ctx: RequestContext) -> bytes:
        """Give the key frames of a video on one sheet, with what was found."""
        return await read(result_id, "sheet", ctx)

    @mcp.resource(f"{uris.VIDEO}/annotated.mp4", title="Annotated video", mime_type="video/mp4", annotations=_FOR_USERS)
    async def annotated_video(result_id: str, ctx: RequestContext) -> bytes:
        """Give the video with its tracks drawn, as H.264."""
        return await read(result_id, "video", ctx)

    @mcp.resource(f"{uris.VIDEO}/frames.jsonl", title="Objects frame by frame", mime_type="application/x-ndjson")
    async def frames(result_id: str, ctx: RequestContext) -> bytes:
        """Give where each track is in each frame, a line of JSON each."""
        return await read(result_id, "frames", ctx)


def register_pictures(mcp: MCPServer, detector: Detector) -> None:
    """Add the resources that are images, at the original's full size."""

    @mcp.resource(uris.PICTURE, title="The image itself", mime_type=views.JPEG, annotations=_FOR_USERS)
    async def picture(result_id: str, ctx: RequestContext) -> bytes:
        """Give the image that was searched, upright, as JPEG."""
        with resource_errors():
            stored = detector.result(result_id, caller_of(ctx))
            return await detector.draw(partial(views.annotated_file, stored.picture, (), Style()))

    @mcp.resource(uris.ANNOTATED_JPEG, title="Annotated image", mime_type=views.JPEG, annotations=_FOR_USERS)
    async def annotated_jpeg(result_id: str, ctx: RequestContext) -> bytes:
        """Give the image with its objects drawn, as JPEG."""
        return await _annotated(detector, result_id, ctx, views.JPEG)

    @mcp.resource(uris.ANNOTATED_PNG, title="Annotated image, lossless", mime_type=views.PNG, annotations=_FOR_USERS)
    async def annotated_png(result_id: str, ctx: RequestContext) -> bytes:
        """Give the image with its objects drawn, as PNG."""
        return await _annotated(detector, result_id, ctx, views.PNG)

    @mcp.resource(uris.CROP, title="One object, cut out", mime_type=views.JPEG, annotations=_FOR_USERS)
    async def crop(result_id: str, number: int, ctx: RequestContext) -> bytes:
        """Give one object, cut out of the image at full resolution."""
        with resource_errors():
            stored = detector.result(result_id, caller_of(ctx))
            return await detector.draw(partial(views.crop_file, stored, number))

    @mcp.resource(uris.MASK, title="Mask of one object", mime_type=views.PNG, annotations=_FOR_USERS)
    async def mask(result_id: str, number: int, ctx: RequestContext) -> bytes:
        """Give the mask of one object, white on black at the original's size."""
        with resource_errors():
            stored = detector.result(result_id, caller_of(ctx))
            return await detector.draw(partial(views.mask_file, stored, number))


def _listed(saved: SavedPrompts, name: str) -> dict[str, Any]:
    """Describe a prompt; where its file is damaged, give the error, so that the others are still listed."""
    try:
        return _about(saved.get(name))
    except DinoxError as error:
        return {"name": name, "error": str(error)}


def _about(prompt: SavedPrompt) -> dict[str, Any]:
    return prompt.model_dump(mode="json", exclude={"embedding": {"data"}})


async def _annotated(detector: Detector, result_id: str, ctx: RequestContext, mime_type: str) -> bytes:
    with resource_errors():
        stored = detector.result(result_id, caller_of(ctx))
        work = partial(views.annotated_file, stored.picture, stored.result.objects, Style(), mime_type)
        return await detector.draw(work)
