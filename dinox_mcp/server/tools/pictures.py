"""The tools that reply with an image: visualize and zoom.

Their text is enough without the image: some hosts show it late or never, and a model would invent what it did not see.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, get_args

from mcp.types import CallToolResult

from dinox_mcp.detect.options import Caller
from dinox_mcp.detector import Detector
from dinox_mcp.drawing import views
from dinox_mcp.drawing.output import save_annotated
from dinox_mcp.drawing.style import DOUBT, Style, doubtful
from dinox_mcp.drawing.views import View
from dinox_mcp.errors import InputError, SettingsError
from dinox_mcp.images.picture import Picture
from dinox_mcp.server import parameters as p
from dinox_mcp.server.protocol import DetectionServer, tool
from dinox_mcp.server.replies import image_reply
from dinox_mcp.server.requests import RequestContext, caller_of, progress_of
from dinox_mcp.server.texts import COLUMNS, count, full_line, per_label, plain, short_line
from dinox_mcp.store import uris
from dinox_mcp.types.boxes import Box, center
from dinox_mcp.types.detection import DetectedObject, certainty, count_labels, get_object
from dinox_mcp.types.text import printable

_MAX_PADDING = 10
_MAX_CROPS = 24
"""Objects on a sheet of crops: with more, none would be legible."""
_MAX_LINES = 20
"""Objects that the text beside an image lists; the result has the others."""
_UNSEEN = "If you see no image in this reply, say so: do not describe what you did not see."


def register(mcp: DetectionServer, detector: Detector) -> None:
    """Add the tools."""
    settings = detector.settings
    most = (settings.preview_max_side, settings.preview_max_bytes)
    folder = settings.output_folder if settings.transport == "stdio" else None

    @tool(mcp, "Show objects on the image", read_only=folder is None)
    async def visualize(
        ctx: RequestContext,
        result: p.Result = None,
        object: p.Numbers = (),  # noqa: A002 - the name is part of the contract
        image: p.OptionalImage = None,
        objects: p.DrawnObjects = (),
        labels: p.Labels = (),
        min_score: p.LeastScore = 0.0,
        max_score: p.MostScore = 1.0,
        show: p.Show = ("boxes", "masks", "labels", "numbers", "keypoints", "captions"),
        opacity: p.Opacity = 0.4,
    ) -> CallToolResult:
        """Draw a result on its image: boxes, masks, numbered labels. Free.

        An image without objects is shown as it is.
        """
        _check("opacity", opacity, 1, "0 (invisible) to 1 (solid)")
        _check("min_score", min_score, 1, "0 to 1")
        _check("max_score", max_score, 1, f"{min_score:g} to 1", least=min_score)
        progress = progress_of(ctx)
        await progress(0.0, "reading the image")
        picture, known = await _image_and_objects(detector, result, image, objects, caller_of(ctx))
        chosen = views.select(known, object, labels, min_score, max_score)
        style = Style(**{part: part in show for part in get_args(p.Part)}, opacity=opacity)
        if len(chosen) < len(known):
            style = style.model_copy(update={"all_labels": tuple(dict.fromkeys(found.label for found in known))})
        is_full = result is not None and len(chosen) == len(known) and style == Style()
        style = await _with_dashes(detector, result, chosen, style, caller_of(ctx))
        await progress(0.3, "drawing")
        view = await detector.draw(partial(views.annotated, picture, chosen, style, *most))
        whose = f" of result {uris.bare_id(result)}" if result is not None else ""
        drawn = _what_is_drawn(picture, known, chosen, whose, style)
        lines = [drawn, *_dashed(style), *_listed(chosen, short_line), *_notes(picture, image), _scale(view), _UNSEEN]
        if result is not None and is_full:
            lines.append(f"Full size: {uris.ANNOTATED_PNG.replace('{result_id}', uris.bare_id(result))}")
        if folder:
            await progress(0.7, "saving the full size")
            save = partial(save_annotated, folder, picture, chosen, style)
            try:
                lines.append(f"Saved at full size: {await detector.draw(save)}")
            except SettingsError as error:  # a folder that cannot be written costs the file, not the reply
                lines.append(f"Not saved: {error}")
        return _reply(lines, view)

    @tool(mcp, "Look closer")
    async def zoom(
        ctx: RequestContext,
        result: p.Result = None,
        object: p.Number = None,  # noqa: A002 - the name is part of the contract
        label: p.Label = None,
        image: p.OptionalImage = None,
        bbox: p.Region = None,
        padding: p.Padding = 0.15,
    ) -> CallToolResult:
        """Cut objects or a region out, enlarged at full resolution, to read what is small. Free."""
        _check("padding", padding, _MAX_PADDING, f"0 to {_MAX_PADDING}, a part of the region's size")
        progress = progress_of(ctx)
        await progress(0.0, "reading the image")
        if label is not None:
            alone = (object, image, bbox) == (None, None, None)
            picture, found = await _labelled(detector, result if alone else None, label, caller_of(ctx))
            if len(found) > 1:
                return await _sheet(detector, picture, found, padding)
            object = found[0].id  # noqa: A001 - as above
        target = await _target(detector, result, object, image, bbox, caller_of(ctx))
        picture = target.picture
        await progress(0.3, "cutting out")
        view = await detector.draw(partial(views.zoomed, picture, target.bbox, padding, *most))
        frame = ",".join(f"{edge:.0f}" for edge in view.frame)
        inside = [found for found in target.others if _is_inside(found.bbox, view.frame)]
        lines = [f"{target.name}: the region [{frame}] of the {picture.width}x{picture.height} original."]
        lines += ["Also in it:", *_listed(inside, full_line)] if inside else []
        return _reply([*lines, *_notes(picture, image), _scale(view), _UNSEEN], view)


def _check(name: str, value: float, most: int, right: str, least: float = 0) -> None:
    if not least <= value <= most:
        raise InputError(f"{name} is {value:g}; choose {right}")


async def _image_and_objects(
    detector: Detector, result: str | None, image: str | None, objects: Sequence[p.DrawnObject], caller: Caller
) -> tuple[Picture, Sequence[DetectedObject]]:
    """Return the image to draw on, and the objects of the result or those given with the image."""
    if result is not None:
        if image is not None or objects:
            raise InputError(
                "result and image or objects are given; pass result (with object, labels or min_score to choose), or "
                "image with objects, not both"
            )
        stored = await detector.fetch(result, caller)
        return stored.picture, stored.result.objects
    if image is None:
        raise InputError("nothing is given to draw; pass result (the result_id of a reply) or image (a path or URL)")
    return await detector.load(image, caller), [
        DetectedObject(id=drawn.id or number, label=drawn.label, bbox=drawn.bbox, score=drawn.score)
        for number, drawn in enumerate(objects, start=1)
    ]


class _Target(NamedTuple):
    """A region of an image: what it is called, and the other objects of the same result."""

    picture: Picture
    bbox: Box
    name: str
    others: Sequence[DetectedObject]


async def _target(
    detector: Detector, result: str | None, number: int | None, image: str | None, bbox: Box | None, caller: Caller
) -> _Target:
    if result is not None and image is not None:
        raise InputError("result and image are given; pass result or image, not both")
    if number is not None and bbox is not None:
        raise InputError("object and bbox are given; pass object or bbox, not both")
    if result is not None:
        stored = await detector.fetch(result, caller)
        picture, objects = stored.picture, stored.result.objects
        if number is not None:
            found = get_object(objects, number)
            return _Target(
                picture, found.bbox, f"Object {full_line(found)}", [one for one in objects if one.id != found.id]
            )
    elif image is not None:
        picture, objects = await detector.load(image, caller), ()
    else:
        raise InputError("nothing is given to zoom; pass result and object, or image and bbox")
    if bbox is None:
        raise InputError(
            "it is not clear where to zoom; pass object (a number of the result) or bbox [x_min, y_min, x_max, y_max]"
        )
    return _Target(picture, bbox, "Region", objects)


def _what_is_drawn(
    picture: Picture, known: Sequence[DetectedObject], chosen: Sequence[DetectedObject], whose: str, style: Style
) -> str:
    some = f"{len(chosen)} of {count(len(known))}" if len(chosen) < len(known) else count(len(known))
    tags = "; the tags are object numbers" if chosen and style.numbers else ""
    counts = per_label(count_labels(chosen))
    return f"Drawn: {some}{whose} on the {picture.width}x{picture.height} image{counts}{tags}."


async def _with_dashes(
    detector: Detector, result: str | None, chosen: Sequence[DetectedObject], style: Style, caller: Caller
) -> Style:
    """Dash the boxes of the doubtful ones of the chosen objects."""
    if result is None or not style.boxes:
        return style
    dashed = doubtful((await detector.fetch(result, caller)).result)
    return style.model_copy(update={"doubtful": tuple(found.id for found in chosen if found.id in dashed)})


async def _labelled(
    detector: Detector, result: str | None, label: str, caller: Caller
) -> tuple[Picture, list[DetectedObject]]:
    """Find the objects of a label; there is at least one."""
    if result is None:
        raise InputError("label is given without a result or with object, image or bbox; pass result and label alone")
    stored = await detector.fetch(result, caller)
    return stored.picture, views.select(stored.result.objects, labels=[label])


async def _sheet(
    detector: Detector, picture: Picture, found: Sequence[DetectedObject], padding: float
) -> CallToolResult:
    """Cut the surest of several objects out, onto one sheet."""
    settings = detector.settings
    shown = sorted(sorted(found, key=certainty, reverse=True)[:_MAX_CROPS], key=lambda one: one.id)
    most = (settings.preview_max_side, settings.preview_max_bytes)
    view = await detector.draw(partial(views.crop_sheet, picture, shown, padding, *most))
    return _reply([_what_is_on_sheet(shown, found), *_listed(shown, full_line), _UNSEEN], view)


def _dashed(style: Style) -> list[str]:
    if not style.doubtful:
        return []
    numbers = ", ".join(map(str, style.doubtful[:_MAX_LINES]))
    more = f" and {len(style.doubtful) - _MAX_LINES} more" if len(style.doubtful) > _MAX_LINES else ""
    return [f"Dashed as doubtful, less than {DOUBT} above the threshold: {numbers}{more}."]


def _what_is_on_sheet(shown: Sequence[DetectedObject], found: Sequence[DetectedObject]) -> str:
    surest = f"the {len(shown)} surest of " if len(shown) < len(found) else ""
    return f"A sheet of {surest}{count(len(found))} labelled {plain(found[0].label)}, each cut out over its number."


def _listed(objects: Sequence[DetectedObject], write: Callable[[DetectedObject], str]) -> list[str]:
    """List the first of some objects, one each line."""
    if not objects:
        return []
    more = len(objects) - _MAX_LINES
    return [COLUMNS, *map(write, objects[:_MAX_LINES]), *([f"... and {more} more"] if more > 0 else [])]


def _notes(picture: Picture, image: str | None) -> list[str]:
    """List what is to know of an image that the caller gives; the reply of a result had it already."""
    return [] if image is None else [f"Note: {printable(note)}" for note in picture.notes]


def _is_inside(bbox: Box, frame: Box) -> bool:
    x, y = center(bbox)
    return frame[0] <= x <= frame[2] and frame[1] <= y <= frame[3]


def _scale(view: View) -> str:
    width, height = view.picture_size or (view.width, view.height)
    exact = abs(view.scale - 1) < 0.001  # noqa: PLR2004 - a rounding error is not a scale
    scale = ", pixel for pixel." if exact else f": one pixel here is {view.scale:.3g} of the original."
    legend = f" The rest of the {view.width}x{view.height} is a legend, by object number." if view.picture_size else ""
    return f"Shown at {width}x{height}{scale}{legend}"


def _reply(lines: Sequence[str], view: View) -> CallToolResult:
    return image_reply("\n".join(lines), view.data, view.mime_type)
