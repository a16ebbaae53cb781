"""Replies as text: complete alone, for hosts that show their model no structured content."""

import json
from collections.abc import Mapping, Sequence

from dinox_mcp.detect.counting import Count
from dinox_mcp.detect.options import MAX_OBJECTS
from dinox_mcp.store import uris
from dinox_mcp.store.prompts import SavedPrompt
from dinox_mcp.types.detection import DetectedObject, DetectionResult
from dinox_mcp.types.keypoints import is_there
from dinox_mcp.types.text import number_of, printable

MAX_TEXT_LENGTH = 300
"""Longest transcript or decoded content in the text of a reply; the structured content has all of it."""
MAX_LABEL_LENGTH = 100
"""Longest label in the text of a reply, where each line repeats it."""
COLUMNS = "number label score [x_min,y_min,x_max,y_max] in pixels of the original image:"
_LONG_TEXT = 30_000
"""Characters from which on the head of a text names the result too: hosts cut long texts, some at the end."""


def detection_text(result: DetectionResult) -> str:
    """Write a result: a line for each object, then notes, the model, and what can be done next."""
    image = result.image
    found = sum(result.counts.values())
    lines = [f"Found {count(found)} in the {image.width}x{image.height} image{per_label(result.counts)}"]
    if result.objects:
        lines += [COLUMNS, *map(full_line, result.objects)]
    if result.omitted:
        all_of_them = len(result.objects) + result.omitted
        more = f"max_objects={min(MAX_OBJECTS, all_of_them)} or " if len(result.objects) < MAX_OBJECTS else ""
        lines.append(f"{result.omitted} more left out, the lowest scores: call again with {more}a higher min_score")
    lines += [f"Note: {printable(note)}" for note in result.notes]
    lines += [_provenance(result), _next_steps(result)]
    if sum(map(len, lines)) > _LONG_TEXT:
        lines.insert(1, _id(result))
    return "\n".join(lines)


def description_text(result: DetectionResult) -> str:
    """Write what was added to objects of the caller."""
    lines = [f"Described {count(len(result.objects))} in the {result.image.width}x{result.image.height} image"]
    lines += map(full_line, result.objects)
    lines += [f"Note: {printable(note)}" for note in result.notes]
    model = f", model {result.model}" if result.model else ""  # empty where there was nothing to describe
    lines.append(f"By backend {result.backend}{model}{_from_cache(result)}. {_id(result)}")
    return "\n".join(lines)


def count_text(counted: Count, result: DetectionResult) -> str:
    """Write counts, and how they would change at other thresholds; `result` has the objects that fit into a reply."""
    lines = [detection_text(result)]
    if counted.doubtful:
        perhaps = ", ".join(f"{number} more {plain(label)}" for label, number in counted.doubtful.items())
        lines.append(f"Perhaps up to {perhaps}: they score just below min_score")
    lines.append(f"Counts by min_score: {' '.join(f'{level.min_score:g}' for level in counted.levels)}")
    lines += [
        f"{plain(label)}: {' '.join(str(level.counts.get(label, 0)) for level in counted.levels)}"
        for label in counted.levels[0].counts
    ]
    return "\n".join(lines)


def saved_prompt_text(prompt: SavedPrompt) -> str:
    """Write what was saved, and how to use it."""
    made_by = prompt.embedding
    examples = number_of(prompt.examples, "example")
    return (
        f"Saved {prompt.name!r} from {examples}, by backend {made_by.backend}, model {made_by.model}. Search by it "
        f'with detect_by_example(image=…, examples=[{{"saved": "{prompt.name}"}}]); finds are called {prompt.label!r}.'
    )


def full_line(found: DetectedObject) -> str:
    """Write an object, with all that is known of it, in one line."""
    owner = f" of {found.part_of}" if found.part_of else ""
    descriptions = named(category=category_of(found), caption=found.caption)
    return f"{short_line(found)}{owner}{quote(found.text)}{descriptions}{_points(found)}"


def short_line(found: DetectedObject) -> str:
    """Write the number, label, score and box of an object."""
    score = "" if found.score is None else f" {found.score:.2f}"
    return f"{found.id} {plain(found.label)}{score} [{','.join(f'{edge:.0f}' for edge in found.bbox)}]"


def category_of(found: DetectedObject) -> str | None:
    """Return the category where it says more than the label."""
    return None if found.category and found.category.casefold() == found.label.casefold() else found.category


def named(**texts: str | None) -> str:
    """Quote texts after their names, where there are any."""
    return "".join(f" {name}{quote(text)}" for name, text in texts.items() if text)


def quote(text: str | None) -> str:
    """Quote what was read in an image, so that it cannot pass for a message of the server."""
    if text is None:
        return ""
    quoted = printable(json.dumps(text[:MAX_TEXT_LENGTH], ensure_ascii=False))
    return f" {quoted}… ({len(text)} characters)" if len(text) > MAX_TEXT_LENGTH else f" {quoted}"


def plain(label: str) -> str:
    """Write a label so that it stays within its line, shortened where it is a sentence."""
    return printable(label if len(label) <= MAX_LABEL_LENGTH else f"{label[: MAX_LABEL_LENGTH - 1]}…")


def count(number: int) -> str:
    """Write a number of objects."""
    return "nothing" if number == 0 else "1 object" if number == 1 else f"{number} objects"


def per_label(counts: Mapping[str, int]) -> str:
    """Write counts after a colon, where there are any."""
    return f": {', '.join(f'{number} {plain(label)}' for label, number in counts.items())}" if counts else ""


def numbers(objects: Sequence[int]) -> str:
    """Name some objects by the first and last of their numbers."""
    if len(objects) == 1:
        return f"object {objects[0]}"
    return f"{len(objects)} objects ({objects[0]} to {objects[-1]})"


def _points(found: DetectedObject) -> str:
    visible = [f"{point.name} {point.x:.0f},{point.y:.0f}" for point in found.keypoints if is_there(point)]
    return f" keypoints {' '.join(visible)}" if visible else ""


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
    return f"{who}{_from_cache(result)}. {_id(result)}"


def _from_cache(result: DetectionResult) -> str:
    return ", from the cache at no cost" if result.cached else ""


def _id(result: DetectionResult) -> str:
    return f"Result id: {result.result_id}"


def _next_steps(result: DetectionResult) -> str:
    if not result.objects:
        prompt_free = "prompt-free detection" in result.request.needs
        other = "name things with detect_objects" if prompt_free else "other words, detect_prompt_free"
        return f"Try a lower min_score, {other}, or view the image with visualize(image=…)."
    root = uris.RESULT.replace("{result_id}", result.result_id)
    parts = [uris.ANNOTATED_JPEG, uris.ANNOTATED_PNG, uris.COCO, uris.CROP]
    if any(found.mask for found in result.objects):
        parts.append(uris.MASK)
    below = ", ".join(part.removeprefix(uris.RESULT) for part in parts)
    return (
        f'See it with visualize(result="{result.result_id}"), closer with zoom(result="{result.result_id}", object=1). '
        f"Resources: {root}, and below it {below}"
    )
