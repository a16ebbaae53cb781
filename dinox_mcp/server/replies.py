"""What a model reads: structured data and text, each complete on its own, because hosts show one or the other."""

import json
from collections.abc import Mapping

from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel, Field

from dinox_mcp import links
from dinox_mcp.detector import MAX_OBJECTS
from dinox_mcp.schema import BBox, DetectedObject, DetectionResult, Mask, Score

MAX_TEXT_LENGTH = 300
"""Longest transcript or decoded content in the text of a reply; the structured content has it whole."""


class ObjectReply(BaseModel):
    """One object."""

    id: int = Field(description="number in this result, drawn on the picture; pass it as `object`")
    label: str
    score: Score | None = Field(None, description="the model's confidence; absent where it gives none")
    bbox: BBox
    text: str | None = Field(None, description="transcript, or decoded content of a code")
    mask_area: int | None = Field(None, description="pixels that the mask covers")


class ImageReply(BaseModel):
    """The picture, in whose pixels every bbox is."""

    width: int
    height: int


class DetectionReply(BaseModel):
    """Objects found in a picture."""

    result_id: str = Field(description="pass it as `result` to visualize and zoom")
    objects: list[ObjectReply]
    counts: dict[str, int] = Field(description="objects found per label, the omitted ones too; 0 where none was")
    omitted: int = Field(0, description="objects beyond max_objects, left out here")
    image: ImageReply
    backend: str
    model: str
    prompts: list[str] | None = Field(None, description="absent when prompt-free")
    min_score: float
    iou_threshold: float
    cached: bool = Field(False, description="answered from memory, at no cost")
    notes: list[str] = Field(default_factory=list)
    links: dict[str, str] = Field(description="resources of this result")


def detection_reply(result: DetectionResult) -> CallToolResult:
    """Say a result twice: as structured content, and as text."""
    return CallToolResult(
        content=[TextContent(text=describe(result))],
        structured_content=structure(result).model_dump(mode="json", exclude_none=True),
    )


def structure(result: DetectionResult) -> DetectionReply:
    """Shape a result for programs: boxes to a tenth of a pixel, masks as links."""
    request = result.request
    return DetectionReply(
        result_id=result.result_id,
        objects=[_object(found) for found in result.objects],
        counts=result.counts,
        omitted=result.omitted,
        image=ImageReply(width=result.image.width, height=result.image.height),
        backend=result.backend,
        model=result.model,
        prompts=list(request.prompts) if request.prompts is not None else None,
        min_score=request.min_score,
        iou_threshold=request.iou_threshold,
        cached=result.cached,
        notes=list(result.notes),
        links=result_links(result),
    )


def result_links(result: DetectionResult) -> dict[str, str]:
    """Name the resources of a result; those of an object have `{number}` to fill in."""
    templates = {
        "result": links.RESULT,
        "annotated": links.ANNOTATED_JPEG,
        "annotated_png": links.ANNOTATED_PNG,
        "coco": links.COCO,
    }
    if result.objects:
        templates["crop"] = links.CROP
    if any(found.mask for found in result.objects):
        templates["mask"] = links.MASK
    return {name: template.replace("{result_id}", result.result_id) for name, template in templates.items()}


def describe(result: DetectionResult) -> str:
    """Write a result for a reader: a line an object, then what there is to know and to do."""
    image = result.image
    found = sum(result.counts.values())
    lines = [f"Found {count(found)} in the {image.width}x{image.height} image{_per_label(result.counts)}"]
    if result.objects:
        lines.append("number label score [x_min,y_min,x_max,y_max] in pixels of the original image:")
        lines.extend(line(found) for found in result.objects)
    if result.omitted:
        more = f"max_objects={min(MAX_OBJECTS, found)} or " if len(result.objects) < MAX_OBJECTS else ""
        lines.append(f"{result.omitted} more left out, the least sure: ask again with {more}a higher min_score")
    lines.extend(f"Note: {note}" for note in result.notes)
    lines.append(_provenance(result))
    lines.append(_next_steps(result))
    return "\n".join(lines)


def line(found: DetectedObject) -> str:
    """Write one object in a line."""
    score = "" if found.score is None else f" {found.score:.2f}"
    box = ",".join(f"{edge:.0f}" for edge in found.bbox)
    return f"{found.id} {found.label}{score} [{box}]{quote(found.text)}"


def quote(text: str | None) -> str:
    """Quote what stands in a picture, so that it cannot pass for the server's own words."""
    if text is None:
        return ""
    quoted = json.dumps(text[:MAX_TEXT_LENGTH], ensure_ascii=False)
    # What json leaves as it is may still break lines (U+2028, C1) or turn text around (bidi controls).
    quoted = "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in quoted)
    return f" {quoted}… ({len(text)} characters)" if len(text) > MAX_TEXT_LENGTH else f" {quoted}"


def count(number: int) -> str:
    """Say a number of objects."""
    return "nothing" if number == 0 else "1 object" if number == 1 else f"{number} objects"


def _object(found: DetectedObject) -> ObjectReply:
    return ObjectReply(
        id=found.id,
        label=found.label,
        score=None if found.score is None else round(found.score, 3),
        bbox=tuple(round(edge, 1) for edge in found.bbox),
        text=found.text,
        mask_area=_mask_area(found.mask) if found.mask else None,
    )


def _mask_area(mask: Mask) -> int:
    from dinox_mcp import masks  # with NumPy: 70 ms that a reply without masks need not wait for

    return masks.area(mask)


def _per_label(counts: Mapping[str, int]) -> str:
    return f": {', '.join(f'{number} {label}' for label, number in counts.items())}" if counts else ""


def _provenance(result: DetectionResult) -> str:
    request = result.request
    return (
        f"By backend {result.backend}, model {result.model}, min_score {request.min_score:g}, iou_threshold "
        f"{request.iou_threshold:g}{', from memory at no cost' if result.cached else ''}. Result id: {result.result_id}"
    )


def _next_steps(result: DetectionResult) -> str:
    if not result.objects:
        other = (
            "name things with detect_objects" if result.request.prompts is None else "other words, detect_prompt_free"
        )
        return f"Try a lower min_score, {other}, or look at the picture with visualize(image=…)."
    urls = result_links(result)
    below = [f"/{urls[name].removeprefix(urls['result'])[1:]}" for name in urls if name != "result"]
    return (
        f'See it with visualize(result="{result.result_id}"), closer with zoom(result="{result.result_id}", object=1). '
        f"Resources: {urls['result']}, and below it {', '.join(below)}"
    )
