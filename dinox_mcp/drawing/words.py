"""What is written about an object: on its tag, or in the legend where that is too much for a tag."""

from collections.abc import Sequence

from dinox_mcp.drawing import text
from dinox_mcp.schema import DetectedObject

LABEL_LIMIT = 32
TAG_LIMIT = 24
CAPTION_LIMIT = 200
TEXT_LIMIT = 120
_FEW = 12  # objects whose tags have room for more than a name


def without_common_categories(objects: Sequence[DetectedObject]) -> list[DetectedObject]:
    """Leave out a category that several objects of a label share: it tells none of them from the others."""
    categories: dict[str, list[str | None]] = {}
    for found in objects:
        categories.setdefault(found.label, []).append(found.category)
    common = {label for label, given in categories.items() if len(given) > 1 and len(set(given)) == 1}
    return [found.model_copy(update={"category": None}) if found.label in common else found for found in objects]


def name(found: DetectedObject) -> str:
    """Name an object: text by its transcript, everything else by its label."""
    transcript = found.text if _is_text(found) else None
    return text.shorten(transcript, TAG_LIMIT) if transcript else text.shorten(found.label, LABEL_LIMIT)


def score(found: DetectedObject) -> str:
    """Write how sure the model was; empty where it did not say."""
    return "" if found.score is None else f"{found.score:.2f}"


def remark(found: DetectedObject) -> str:
    """Give what a model told about an object, where that is one thing short enough for its tag; else nothing."""
    told = _told(found)
    return told[0] if len(told) == 1 and len(told[0]) <= TAG_LIMIT and not _is_text(found) else ""


def too_much(objects: Sequence[DetectedObject], *, tags: bool = True) -> list[DetectedObject]:
    """Choose the objects about which a model told more than a tag, if there are any, should say."""
    told = [found for found in objects if _told(found)]
    return [found for found in told if not remark(found)] if tags and len(objects) <= _FEW else told


def entry(found: DetectedObject, *, label: bool) -> str:
    """Write an object's line of the legend: `label · category: caption “text”`, of what there is and can be drawn."""
    name = found.label if label and not _is_text(found) else ""
    caption, transcript = _part(found.caption, CAPTION_LIMIT), _part(found.text, TEXT_LIMIT)
    head = " · ".join(filter(None, (_part(name, LABEL_LIMIT), _part(_category(found), LABEL_LIMIT))))
    body = " ".join(filter(None, (caption, f"“{transcript}”" if transcript else "")))
    return ": ".join(filter(None, (head, body)))


def _told(found: DetectedObject) -> list[str]:
    """List what a model told about an object beyond its name."""
    words = text.tidy(found.text or "")
    if _is_text(found) and len(words) <= TAG_LIMIT:
        words = ""
    return [told for told in (text.tidy(found.caption or ""), _category(found), words) if told]


def _part(part: str | None, limit: int) -> str:
    return text.writable(text.shorten(part or "", limit))


def _category(found: DetectedObject) -> str:
    """Give an object's category where it is not just its label again."""
    category = text.tidy(found.category or "")
    return "" if category.casefold() == found.label.strip().casefold() else category


def _is_text(found: DetectedObject) -> bool:
    return found.label.casefold() == "text"
