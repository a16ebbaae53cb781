"""The tools that reply with an image: visualize and zoom.

They have no output schema, as some hosts then drop the image. Their text is enough without the image: some hosts show
it late or never, and a model would invent what it did not see.
"""

import base64
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mcp.types import CallToolResult, ContentBlock, ImageContent, TextContent

from dinox_mcp.backends.base import Progress
from dinox_mcp.detector import Detector
from dinox_mcp.drawing import views
from dinox_mcp.drawing.output import save_annotated, tag_of
from dinox_mcp.drawing.style import Style
from dinox_mcp.drawing.views import View
from dinox_mcp.errors import InputError, SettingsError
from dinox_mcp.images.picture import Picture
from dinox_mcp.server import parameters as p
from dinox_mcp.server.declaration import tool
from dinox_mcp.server.parameters import DrawnObject
from dinox_mcp.server.protocol import DetectionServer
from dinox_mcp.server.requests import RequestContext, caller_of, progress_of
from dinox_mcp.server.texts import COLUMNS, count, line, per_label, short_line
from dinox_mcp.store import uris
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.caller import Caller
from dinox_mcp.types.detection import DetectedObject, count_labels, get_object

_MAX_PADDING = 10
_MAX_LINES = 20
"""Objects that the text beside an image lists; the result has the others."""
_UNSEEN = "If you see no image in this reply, say so: do not describe what you did not see."


class Selection(NamedTuple):
    """Which objects to show: of a result, or given with an image."""

    result: str | None
    numbers: Sequence[int]
    image: str | None
    objects: Sequence[DrawnObject]
    labels: Sequence[str]
    min_score: float


class Region(NamedTuple):
    """Which region to show: an object of a result, or a box in an image."""

    result: str | None
    number: int | None
    image: str | None
    bbox: Box | None
    padding: float


class Target(NamedTuple):
    """A region of an image: what it is called, and the other objects of the same result."""

    picture: Picture
    bbox: Box
    name: str
    others: Sequence[DetectedObject]


class Audience(NamedTuple):
    """The caller for whom an image is made, and where its progress is reported."""

    caller: Caller
    progress: Progress


async def show_objects(detector: Detector, selection: Selection, style: Style, audience: Audience) -> CallToolResult:
    """Draw the selected objects on their image, and save the full size where a folder is set.

    Raises:
        InputError: there is no such result, object, label or image.
    """
    if not 0 <= selection.min_score <= 1:
        raise InputError(f"min_score is {selection.min_score:g}; choose 0 to 1")
    await audience.progress(0.0, "reading the image")
    picture, objects = await _find(detector, selection, audience.caller)
    chosen = views.select(objects, selection.numbers, selection.labels, selection.min_score)
    if len(chosen) < len(objects):
        style = style.model_copy(update={"all_labels": tuple(dict.fromkeys(found.label for found in objects))})
    await audience.progress(0.3, "drawing")
    limits = detector.settings
    view = await detector.draw(
        partial(views.annotated, picture, chosen, style, limits.preview_max_side, limits.preview_max_bytes)
    )
    drawn = _what_is_drawn(selection, picture, objects, chosen, style)
    lines = [drawn, *_listed(chosen, short_line), _scale(view), _UNSEEN]
    if selection.result is not None and len(chosen) == len(objects) and style == Style():
        lines.append(f"Full size: {uris.ANNOTATED_PNG.replace('{result_id}', uris.bare_id(selection.result))}")
    if limits.output_folder and limits.transport == "stdio":
        await audience.progress(0.7, "saving the full size")
        lines.append(await _save(detector, limits.output_folder, picture, chosen, style))
    return _reply(lines, view)


async def show_region(detector: Detector, region: Region, audience: Audience) -> CallToolResult:
    """Cut a region out of its image.

    Raises:
        InputError: there is no such result, object or image, or the region is not in it.
    """
    if not 0 <= region.padding <= _MAX_PADDING:
        raise InputError(f"padding is {region.padding:g}; choose 0 to {_MAX_PADDING}, a part of the region's size")
    await audience.progress(0.0, "reading the image")
    target = await _locate(detector, region, audience.caller)
    picture = target.picture
    await audience.progress(0.3, "cutting out")
    limits = detector.settings
    view = await detector.draw(
        partial(views.zoomed, picture, target.bbox, region.padding, limits.preview_max_side, limits.preview_max_bytes)
    )
    frame = ",".join(f"{edge:.0f}" for edge in view.frame)
    inside = [found for found in target.others if _is_inside(found.bbox, view.frame)]
    lines = [
        f"{target.name}: the region [{frame}] of the {picture.width}x{picture.height} original.",
        *(["Also in it:", *_listed(inside, line)] if inside else []),
        _scale(view),
        _UNSEEN,
    ]
    return _reply(lines, view)


async def _find(detector: Detector, selection: Selection, caller: Caller) -> tuple[Picture, Sequence[DetectedObject]]:
    if selection.result is not None:
        if selection.image is not None or selection.objects:
            raise InputError(
                "result and image or objects are given; pass result (with object, labels or min_score to choose), or "
                "image with objects, not both"
            )
        stored = detector.result(selection.result, caller)
        return stored.picture, stored.result.objects
    if selection.image is None:
        raise InputError("nothing is given to draw; pass result (the result_id of a reply) or image (a path or URL)")
    picture = await detector.load(selection.image, caller)
    return picture, [
        DetectedObject(id=drawn.id or place, label=drawn.label, bbox=drawn.bbox, score=drawn.score)
        for place, drawn in enumerate(selection.objects, start=1)
    ]


async def _locate(detector: Detector, region: Region, caller: Caller) -> Target:
    if region.result is not None and region.image is not None:
        raise InputError("result and image are given; pass result or image, not both")
    if region.number is not None and region.bbox is not None:
        raise InputError("object and bbox are given; pass object or bbox, not both")
    if region.result is not None:
        stored = detector.result(region.result, caller)
        if region.number is not None:
            found = get_object(stored.result.objects, region.number)
            others = [one for one in stored.result.objects if one.id != found.id]
            return Target(stored.picture, found.bbox, f"Object {line(found)}", others)
        picture, objects = stored.picture, stored.result.objects
    elif region.image is not None:
        picture, objects = await detector.load(region.image, caller), ()
    else:
        raise InputError("nothing is given to zoom; pass result and object, or image and bbox")
    if region.bbox is None:
        raise InputError(
            "it is not clear where to zoom; pass object (a number of the result) or bbox [x_min, y_min, x_max, y_max]"
        )
    return Target(picture, region.bbox, "Region", objects)


async def _save(
    detector: Detector, folder: Path, picture: Picture, chosen: Sequence[DetectedObject], style: Style
) -> str:
    """Save the full size and say where; a folder that cannot be written costs the file, not the reply."""
    tag = tag_of(picture, chosen, style)
    try:
        path = await detector.draw(partial(save_annotated, folder, picture, chosen, style, tag))
    except SettingsError as error:
        return f"Not saved: {error}"
    return f"Saved at full size: {path}"


def _what_is_drawn(
    selection: Selection,
    picture: Picture,
    objects: Sequence[DetectedObject],
    chosen: Sequence[DetectedObject],
    style: Style,
) -> str:
    whose = f" of result {uris.bare_id(selection.result)}" if selection.result is not None else ""
    some = f"{len(chosen)} of {count(len(objects))}" if len(chosen) < len(objects) else count(len(objects))
    counts = per_label(count_labels(chosen))
    tags = "; the tags are object numbers" if chosen and style.numbers else ""
    return f"Drawn: {some}{whose} on the {picture.width}x{picture.height} image{counts}{tags}."


def _listed(objects: Sequence[DetectedObject], write: Callable[[DetectedObject], str]) -> list[str]:
    """List the first of some objects in a line each."""
    if not objects:
        return []
    more = len(objects) - _MAX_LINES
    return [COLUMNS, *map(write, objects[:_MAX_LINES]), *([f"... and {more} more"] if more > 0 else [])]


def _is_inside(bbox: Box, frame: Box) -> bool:
    """Whether the centre of a box is in a frame."""
    x, y = (bbox[0] + bbox[2]) / 2, (bbox[1] + bbox[3]) / 2
    return frame[0] <= x <= frame[2] and frame[1] <= y <= frame[3]


def _scale(view: View) -> str:
    width, height = view.picture_size or (view.width, view.height)
    exact = abs(view.scale - 1) < 0.001  # noqa: PLR2004 - a rounding error is no scale
    scale = ", pixel for pixel." if exact else f": one pixel here is {view.scale:.3g} of the original."
    legend = f" The rest of the {view.width}x{view.height} is a legend, by object number." if view.picture_size else ""
    return f"Shown at {width}x{height}{scale}{legend}"


def _reply(lines: Sequence[str], view: View) -> CallToolResult:
    picture = ImageContent(data=base64.b64encode(view.data).decode("ascii"), mime_type=view.mime_type)
    content: list[ContentBlock] = [TextContent(text="\n".join(lines)), picture]
    return CallToolResult(content=content)


def register(mcp: DetectionServer, detector: Detector) -> None:
    """Add the tools."""
    saves = detector.settings.output_folder is not None and detector.settings.transport == "stdio"

    @tool(mcp, "Show objects on the image", read_only=not saves)
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
        """Draw a result on its image and look at it: boxes, masks, numbered labels. Free.

        An image without objects is shown as it is.
        """
        selection = Selection(result, object, image, objects, labels, min_score)
        audience = Audience(caller_of(ctx), progress_of(ctx))
        return await show_objects(detector, selection, _style(show, opacity), audience)

    @tool(mcp, "Look closer")
    async def zoom(
        ctx: RequestContext,
        result: p.Result = None,
        object: p.Number = None,  # noqa: A002 - the name is part of the contract
        image: p.OptionalImage = None,
        bbox: p.Region = None,
        padding: p.Padding = 0.15,
    ) -> CallToolResult:
        """Cut an object or region out at full resolution, enlarged, to read or tell apart what is small. Free."""
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
