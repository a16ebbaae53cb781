"""The resources: a result as JSON and COCO, its images, saved prompts, videos, and the backends."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from mcp.server import MCPServer
from mcp.types import Annotations

from dinox_mcp.detector import Detector
from dinox_mcp.drawing import views
from dinox_mcp.drawing.style import Style
from dinox_mcp.errors import DinoxError
from dinox_mcp.server.requests import RequestContext, caller_of
from dinox_mcp.store import uris
from dinox_mcp.store.prompts import SavedPrompt, SavedPrompts
from dinox_mcp.store.results import Stored
from dinox_mcp.store.videos import Part
from dinox_mcp.viewer import page

_JSON = "application/json"
_FOR_USERS = Annotations(audience=["user"])
_PREVIEW = uris.RESULT + "/preview.jpg"
_REGION = uris.RESULT + "/regions/{region}.jpg"


def register(mcp: MCPServer, detector: Detector) -> None:
    """Add all resources to a server."""
    _register_data(mcp, detector)
    _register_images(mcp, detector)
    _register_parts_for_the_page(mcp, detector)
    _register_videos(mcp, detector)


def _register_data(mcp: MCPServer, detector: Detector) -> None:
    @mcp.resource(uris.RESULT, title="Detection result", mime_type=_JSON)
    async def result(result_id: str, ctx: RequestContext) -> str:
        """Give all objects of a result, masks as COCO RLE included."""
        return (await detector.fetch(result_id, caller_of(ctx))).result.model_dump_json(exclude_none=True)

    @mcp.resource(uris.COCO, title="COCO annotations", mime_type=_JSON)
    async def coco(result_id: str, ctx: RequestContext) -> str:
        """Give a result in the COCO format, which annotation tools and pycocotools read."""
        from dinox_mcp.types.coco import to_coco

        stored = await detector.fetch(result_id, caller_of(ctx))
        return json.dumps(to_coco(stored.result), ensure_ascii=False)

    @mcp.resource(uris.JOB, title="Search of many images", mime_type=_JSON)
    async def job(job: str, ctx: RequestContext) -> str:
        """Give what a search has found so far: all images that hold objects, the first with their boxes."""
        return (await detector.searches.get(job, caller_of(ctx))).model_dump_json(exclude_defaults=True)

    @mcp.resource(uris.COMPARISON, title="Comparison of two images", mime_type=_JSON)
    async def comparison(comparison_id: str, ctx: RequestContext) -> str:
        """Give all changes between two images, and the homography between them."""
        return (await detector.comparisons.get(comparison_id, caller_of(ctx))).model_dump_json(exclude_none=True)

    @mcp.resource(uris.LABELS, title="Labels for other tools", mime_type="text/plain")
    async def labels(result_id: str, file: str, ctx: RequestContext) -> str:
        """Give labels: yolo.txt, classes.txt, voc.xml, cvat.xml, labelme.json, label-studio.json or objects.csv."""
        from dinox_mcp.export.exporter import label_file

        stored = await detector.fetch(result_id, caller_of(ctx))
        return (await detector.draw(partial(label_file, stored, file))).decode("utf-8")

    @mcp.resource("dinox://backends", title="Backends", mime_type=_JSON)
    async def backends() -> str:
        """List the backends and what each can do."""
        return json.dumps(detector.backends.describe(), ensure_ascii=False)

    @mcp.resource(uris.PROMPT, title="Saved visual prompt", mime_type=_JSON)
    async def saved_prompt(name: str, ctx: RequestContext) -> str:
        """Give a prompt that save_prompt has saved: its label, and the model that it works with."""
        return json.dumps(_about(detector.saved.get(name, caller_of(ctx).tenant)), ensure_ascii=False)

    if detector.settings.transport != "stdio":
        return  # a list without a template knows no caller, and callers have prompts of their own

    @mcp.resource(uris.PROMPTS, title="Saved visual prompts", mime_type=_JSON)
    async def saved_prompts() -> str:
        """List the prompts that save_prompt has saved, with the model that each works with."""
        return json.dumps([_listed(detector.saved, name) for name in detector.saved.list()], ensure_ascii=False)


def _register_images(mcp: MCPServer, detector: Detector) -> None:
    """Add the images of a result, at the original's full size."""

    async def draw(result_id: str, ctx: RequestContext, make: Callable[[Stored], bytes]) -> bytes:
        return await detector.draw(partial(make, await detector.fetch(result_id, caller_of(ctx))))

    @mcp.resource(uris.PICTURE, title="The image itself", mime_type=views.JPEG, annotations=_FOR_USERS)
    async def picture(result_id: str, ctx: RequestContext) -> bytes:
        """Give the image that was searched, upright, as JPEG."""
        return await draw(result_id, ctx, lambda stored: views.annotated_file(stored.picture, (), Style()))

    @mcp.resource(uris.ANNOTATED_JPEG, title="Annotated image", mime_type=views.JPEG, annotations=_FOR_USERS)
    async def annotated_jpeg(result_id: str, ctx: RequestContext) -> bytes:
        """Give the image with its objects drawn, as JPEG."""
        return await draw(result_id, ctx, views.annotated_result)

    @mcp.resource(uris.ANNOTATED_PNG, title="Annotated image, lossless", mime_type=views.PNG, annotations=_FOR_USERS)
    async def annotated_png(result_id: str, ctx: RequestContext) -> bytes:
        """Give the image with its objects drawn, as PNG."""
        return await draw(result_id, ctx, partial(views.annotated_result, mime_type=views.PNG))

    @mcp.resource(uris.SIDE_BY_SIDE, title="Two images, compared", mime_type=views.JPEG, annotations=_FOR_USERS)
    async def side_by_side(comparison_id: str, ctx: RequestContext) -> bytes:
        """Give two compared images side by side, with the changes drawn, as JPEG."""
        return await detector.comparisons.side_by_side(comparison_id, caller_of(ctx))

    @mcp.resource(uris.CROP, title="One object, cut out", mime_type=views.JPEG, annotations=_FOR_USERS)
    async def crop(result_id: str, number: int, ctx: RequestContext) -> bytes:
        """Give one object, cut out of the image at full resolution."""
        return await draw(result_id, ctx, partial(views.crop_file, number=number))

    @mcp.resource(uris.CUTOUT, title="One object, transparent around it", mime_type=views.PNG, annotations=_FOR_USERS)
    async def cutout(result_id: str, number: int, ctx: RequestContext) -> bytes:
        """Give one object, cut out by its mask or else by its box, on a transparent background."""
        from dinox_mcp.export.objects import cutout_file

        return await draw(result_id, ctx, partial(cutout_file, number=number))

    @mcp.resource(uris.MASK, title="Mask of one object", mime_type=views.PNG, annotations=_FOR_USERS)
    async def mask(result_id: str, number: int, ctx: RequestContext) -> bytes:
        """Give the mask of one object, white on black at the original's size."""
        return await draw(result_id, ctx, partial(views.mask_file, number=number))


def _register_parts_for_the_page(mcp: MCPServer, detector: Detector) -> None:
    """Add the images that the page of `viewer` loads: small enough for every host's limit on a message."""
    most = (detector.settings.preview_max_side, detector.settings.preview_max_bytes)

    @mcp.resource(_PREVIEW, title="The image, for viewing", mime_type=views.JPEG, annotations=_FOR_USERS)
    async def preview(result_id: str, ctx: RequestContext) -> bytes:
        """Give the image that was searched, upright, at the size of a screen."""
        stored = await detector.fetch(result_id, caller_of(ctx))
        return await detector.draw(partial(page.preview, stored.picture, *most))

    @mcp.resource(_REGION, title="A part of the image", mime_type=views.JPEG, annotations=_FOR_USERS)
    async def region(result_id: str, region: str, ctx: RequestContext) -> bytes:
        """Give a part of the image at full resolution; `region` is x_min_y_min_x_max_y_max in its pixels."""
        stored = await detector.fetch(result_id, caller_of(ctx))
        return await detector.draw(partial(page.region, stored.picture, region, *most))


def _register_videos(mcp: MCPServer, detector: Detector) -> None:
    @mcp.resource(uris.VIDEO, title="Video result", mime_type=_JSON)
    async def video_result(result_id: str, ctx: RequestContext) -> str:
        """Give all tracks, counts and the timeline of a video."""
        return (await detector.videos.get(result_id, caller_of(ctx).tenant)).model_dump_json(exclude_none=True)

    async def read(result_id: str, part: Part, ctx: RequestContext) -> bytes:
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


def _listed(saved: SavedPrompts, name: str) -> dict[str, Any]:
    """Describe a prompt; where its file is damaged, return the error, so that the others are still listed."""
    try:
        return _about(saved.get(name))
    except DinoxError as error:
        return {"name": name, "error": str(error)}


def _about(prompt: SavedPrompt) -> dict[str, Any]:
    return prompt.model_dump(mode="json", exclude={"embedding": {"data"}})
