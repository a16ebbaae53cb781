"""What a model reads: structured data and text, each complete alone, and no longer than hosts take."""

import json
from collections.abc import Mapping, Sequence

from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel, Field

from dinox_mcp.detect.counting import Count
from dinox_mcp.detect.options import MAX_OBJECTS
from dinox_mcp.store import uris
from dinox_mcp.store.prompts import SavedPrompt
from dinox_mcp.types.detection import BBox, DetectedObject, DetectionResult, Keypoint, Mask, Score, Source
from dinox_mcp.types.keypoints import is_there
from dinox_mcp.types.text import printable

MAX_DETAILS = 60_000
"""Characters of keypoints, captions, categories and texts in one reply; in tokens about a third of that."""
_KEYPOINT = 40
"""Characters of a keypoint in JSON, about."""


def fit(result: DetectionResult) -> DetectionResult:
    """Leave out of the last objects what is too long for one reply, and say so; the result's resource has it all."""
    room = MAX_DETAILS
    objects: list[DetectedObject] = []
    bare: list[int] = []
    for found in result.objects:
        length = _details(found)
        if length <= room:
            room -= length
            objects.append(found)
        else:
            objects.append(found.model_copy(update={"keypoints": (), "caption": None, "category": None, "text": None}))
            bare.append(found.id)
    if not bare:
        return result
    where = uris.RESULT.replace("{result_id}", result.result_id)
    note = (
        f"this reply would be too long with the keypoints and words of {_objects(bare)}, which are left out; they are "
        f"in {where}, or ask for fewer objects"
    )
    return result.model_copy(update={"objects": tuple(objects), "notes": (*result.notes, note)})


def _details(found: DetectedObject) -> int:
    words = (found.caption, found.category, found.text)
    return _KEYPOINT * len(found.keypoints) + sum(len(one) for one in words if one)


def _objects(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"object {numbers[0]}"
    return f"{len(numbers)} objects ({numbers[0]} to {numbers[-1]})"


MAX_TEXT_LENGTH = 300
"""Longest transcript or decoded content in the text of a reply; the structured content has it whole."""

MAX_LABEL_LENGTH = 100
"""Longest label in the text of a reply, where it stands in each line."""

_LONG_TEXT = 30_000
"""Characters of a text from which on its head names the result too: hosts cut long texts, some at the end."""


class ObjectReply(BaseModel):
    """One object."""

    id: int = Field(description="number in this result, drawn on the picture; pass it as `object`")
    label: str
    score: Score | None = Field(None, description="the model's confidence; absent where it gives none")
    bbox: BBox
    text: str | None = Field(None, description="transcript, or decoded content of a code")
    caption: str | None = Field(None, description="a model's words about it")
    category: str | None = Field(None, description="what a model calls it, where that is not the label")
    part_of: int | None = Field(None, description="number of the object that it is a part of, as a face of a person")
    keypoints: dict[str, tuple[float, float, float | None]] | None = Field(
        None, description="x, y and score (null where the model gives none) by name; points that are not there left out"
    )
    mask_area: int | None = Field(None, description="pixels that the mask covers")


class ImageReply(BaseModel):
    """The picture, in whose pixels every bbox is."""

    width: int
    height: int


class SourceReply(BaseModel):
    """Who answered a part of the question."""

    backend: str
    model: str
    labels: list[str]
    min_score: float


class DetectionReply(BaseModel):
    """Objects found in a picture."""

    result_id: str = Field(description="pass it as `result` to visualize and zoom")
    objects: list[ObjectReply]
    counts: dict[str, int] = Field(description="objects found per label, the omitted ones too; 0 where none was")
    omitted: int = Field(0, description="objects beyond max_objects, left out here")
    image: ImageReply
    backend: str
    model: str
    prompts: list[str] | None = Field(None, description="absent when nothing was named")
    examples: int | None = Field(None, description="visual prompts that were asked by")
    description: str | None = None
    caption: str | None = None
    tiles: int | None = Field(None, description="parts along the long side that were looked at too")
    min_score: float
    iou_threshold: float
    cached: bool = Field(False, description="answered from memory, at no cost")
    notes: list[str] = Field(default_factory=list)
    sources: list[SourceReply] | None = Field(None, description="who found what, where several backends answered")
    links: dict[str, str] = Field(description="resources of this result")


class LevelReply(BaseModel):
    """What would be counted if `min_score` were the threshold."""

    min_score: float
    counts: dict[str, int]


class CountReply(DetectionReply):
    """Objects counted in a picture."""

    levels: list[LevelReply] = Field(description="counts at other thresholds, from low to high")
    doubtful: dict[str, int] = Field(description="per label, up to how many more there may be: just below min_score")


class SavedPromptReply(BaseModel):
    """A saved prompt."""

    name: str = Field(description='pass it to detect_by_example as an example {"saved": name}')
    label: str
    examples: int
    backend: str
    model: str


def detection_reply(result: DetectionResult) -> CallToolResult:
    """Say a result twice: as structured content, and as text."""
    result = fit(result)
    return CallToolResult(
        content=[TextContent(text=describe(result))],
        structured_content=structure(result).model_dump(mode="json", exclude_none=True),
    )


def description_reply(result: DetectionResult) -> CallToolResult:
    """Say what was told of given objects."""
    result = fit(result)
    lines = [f"Told of {count(len(result.objects))} in the {result.image.width}x{result.image.height} image"]
    lines += [line(found) for found in result.objects]
    lines += [f"Note: {printable(note)}" for note in result.notes]
    model = f", model {result.model}" if result.model else ""  # none where there is nothing to tell of
    lines.append(f"By backend {result.backend}{model}{_from_memory(result)}. {_id(result)}")
    return CallToolResult(
        content=[TextContent(text="\n".join(lines))],
        structured_content=structure(result).model_dump(mode="json", exclude_none=True),
    )


def count_reply(counted: Count) -> CallToolResult:
    """Say counts, and how they would change at other thresholds."""
    result = fit(counted.result)
    labels = list(counted.levels[0].counts)
    perhaps = ", ".join(f"{number} more {plain(label)}" for label, number in counted.doubtful.items())
    lines = [describe(result), *([f"Perhaps up to {perhaps}: they score just below min_score"] if perhaps else [])]
    lines.append(f"Counts by min_score: {' '.join(f'{level.min_score:g}' for level in counted.levels)}")
    lines += [
        f"{plain(label)}: {' '.join(str(level.counts.get(label, 0)) for level in counted.levels)}" for label in labels
    ]
    structured = CountReply(
        **dict(structure(result)),
        levels=[LevelReply(min_score=level.min_score, counts=level.counts) for level in counted.levels],
        doubtful=counted.doubtful,
    )
    return CallToolResult(
        content=[TextContent(text="\n".join(lines))],
        structured_content=structured.model_dump(mode="json", exclude_none=True),
    )


def saved_prompt_reply(prompt: SavedPrompt) -> CallToolResult:
    """Say what was saved, and how to use it."""
    made_by = prompt.embedding
    number = "1 example" if prompt.examples == 1 else f"{prompt.examples} examples"
    text = (
        f"Saved {prompt.name!r} from {number}, by backend {made_by.backend}, model {made_by.model}. Search by it with "
        f'detect_by_example(image=…, examples=[{{"saved": "{prompt.name}"}}]); finds are called {prompt.label!r}.'
    )
    structured = SavedPromptReply(
        name=prompt.name, label=prompt.label, examples=prompt.examples, backend=made_by.backend, model=made_by.model
    )
    return CallToolResult(content=[TextContent(text=text)], structured_content=structured.model_dump(mode="json"))


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
        examples=len(request.examples) or None,
        description=request.description,
        caption=request.caption,
        tiles=request.tiles if request.tiles > 1 else None,
        min_score=request.min_score,
        iou_threshold=request.iou_threshold,
        cached=result.cached,
        notes=[printable(note) for note in result.notes],
        sources=[_source(source) for source in result.sources] or None,
        links=result_links(result),
    )


def result_links(result: DetectionResult) -> dict[str, str]:
    """Name the resources of a result; those of an object have `{number}` to fill in."""
    templates = {
        "result": uris.RESULT,
        "annotated": uris.ANNOTATED_JPEG,
        "annotated_png": uris.ANNOTATED_PNG,
        "coco": uris.COCO,
    }
    if result.objects:
        templates["crop"] = uris.CROP
    if any(found.mask for found in result.objects):
        templates["mask"] = uris.MASK
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
        all_of_them = len(result.objects) + result.omitted
        more = f"max_objects={min(MAX_OBJECTS, all_of_them)} or " if len(result.objects) < MAX_OBJECTS else ""
        lines.append(f"{result.omitted} more left out, the least sure: ask again with {more}a higher min_score")
    lines.extend(f"Note: {printable(note)}" for note in result.notes)
    lines.append(_provenance(result))
    lines.append(_next_steps(result))
    if sum(map(len, lines)) > _LONG_TEXT:
        lines.insert(1, _id(result))
    return "\n".join(lines)


def line(found: DetectedObject) -> str:
    """Write one object in a line."""
    score = "" if found.score is None else f" {found.score:.2f}"
    box = ",".join(f"{edge:.0f}" for edge in found.bbox)
    words = named(category=_category(found), caption=found.caption)
    owner = f" of {found.part_of}" if found.part_of else ""
    return f"{found.id} {plain(found.label)}{score} [{box}]{owner}{quote(found.text)}{words}{_points(found)}"


def named(**words: str | None) -> str:
    """Quote words after their names, those that there are."""
    return "".join(f" {name}{quote(text)}" for name, text in words.items() if text)


def quote(text: str | None) -> str:
    """Quote what stands in a picture, so that it cannot pass for the server's own words."""
    if text is None:
        return ""
    quoted = json.dumps(text[:MAX_TEXT_LENGTH], ensure_ascii=False)
    quoted = printable(quoted)
    return f" {quoted}… ({len(text)} characters)" if len(text) > MAX_TEXT_LENGTH else f" {quoted}"


def plain(label: str) -> str:
    """Write a label so that it stays within its line, shortened where it is a sentence."""
    return printable(label if len(label) <= MAX_LABEL_LENGTH else f"{label[: MAX_LABEL_LENGTH - 1]}…")


def count(number: int) -> str:
    """Say a number of objects."""
    return "nothing" if number == 0 else "1 object" if number == 1 else f"{number} objects"


def _points(found: DetectedObject) -> str:
    """Write the keypoints that can be seen, to a pixel."""
    seen = [point for point in found.keypoints if is_there(point)]
    return f" keypoints {' '.join(f'{point.name} {point.x:.0f},{point.y:.0f}' for point in seen)}" if seen else ""


def _object(found: DetectedObject) -> ObjectReply:
    return ObjectReply(
        id=found.id,
        label=found.label,
        score=None if found.score is None else round(found.score, 3),
        bbox=tuple(round(edge, 1) for edge in found.bbox),
        text=found.text,
        caption=found.caption,
        category=_category(found),
        part_of=found.part_of,
        keypoints=_keypoints(found.keypoints) or None,
        mask_area=_mask_area(found.mask) if found.mask else None,
    )


def _category(found: DetectedObject) -> str | None:
    """Give the category where it says more than the label."""
    return None if found.category and found.category.casefold() == found.label.casefold() else found.category


def _source(source: Source) -> SourceReply:
    return SourceReply(**source.model_dump(include=set(SourceReply.model_fields)))


def _keypoints(points: Sequence[Keypoint]) -> dict[str, tuple[float, float, float | None]]:
    return {
        point.name: (round(point.x, 1), round(point.y, 1), None if point.score is None else round(point.score, 2))
        for point in points
        if is_there(point)
    }


def _mask_area(mask: Mask) -> int:
    from dinox_mcp.types import masks  # with NumPy: 70 ms that a reply without masks need not wait for

    return masks.area(mask)


def _per_label(counts: Mapping[str, int]) -> str:
    return f": {', '.join(f'{number} {plain(label)}' for label, number in counts.items())}" if counts else ""


def _provenance(result: DetectionResult) -> str:
    request = result.request
    lines = [
        f"{', '.join(map(plain, source.labels)) or 'nothing'} by backend {source.backend}, model {source.model}, "
        f"min_score {source.min_score:g}"
        for source in result.sources
    ]
    who = "; ".join(lines) or (
        f"By backend {result.backend}, model {result.model}, min_score {request.min_score:g}, iou_threshold "
        f"{request.iou_threshold:g}"
    )
    return f"{who}{_from_memory(result)}. {_id(result)}"


def _from_memory(result: DetectionResult) -> str:
    return ", from memory at no cost" if result.cached else ""


def _id(result: DetectionResult) -> str:
    return f"Result id: {result.result_id}"


def _next_steps(result: DetectionResult) -> str:
    if not result.objects:
        prompt_free = "prompt-free detection" in result.request.needs
        other = "name things with detect_objects" if prompt_free else "other words, detect_prompt_free"
        return f"Try a lower min_score, {other}, or look at the picture with visualize(image=…)."
    urls = result_links(result)
    below = [f"/{urls[name].removeprefix(urls['result'])[1:]}" for name in urls if name != "result"]
    return (
        f'See it with visualize(result="{result.result_id}"), closer with zoom(result="{result.result_id}", object=1). '
        f"Resources: {urls['result']}, and below it {', '.join(below)}"
    )
