"""Arguments that a tool does not have: a near miss of one that it has is refused, what clients add is ignored."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches

from dinox_mcp.errors import InputError

_LONGEST = 60
"""Characters of a name that may be a near miss; longer ones are not compared, as that takes time."""
_CLOSE = 0.82
"""Similarity from which on a name is taken for a misspelt one: minscore is, action is no caption."""
_OTHER_NAMES = {
    "prompts": ("classes", "classnames", "categories", "queries", "textprompt"),
    "min_score": ("threshold", "score", "confidence", "conf", "minconfidence", "scorethreshold", "confidencethreshold"),
    "iou_threshold": ("iou", "nms", "nmsthreshold"),
    "max_objects": ("limit", "topk", "maxresults", "maxdetections"),
    "bbox": ("box", "boundingbox", "rect"),
    "boxes": ("bboxes", "regions", "boundingboxes"),
    "result": ("resultid",),
    "object": ("objectid", "objectnumber"),
    "image": ("imagepath", "imageurl", "imageuri"),
}
"""Words that other vision tools have for our arguments, folded."""


def check_names(given: Iterable[str], known: Collection[str]) -> None:
    """Refuse the first name that is almost one of the tool's own; names unlike any of them are left to be ignored.

    Raises:
        InputError: there is one; the message says which it may stand for.
    """
    for name in given:
        if name not in known and (meant := _nearest(name, known)):
            raise InputError(
                f"there is no argument {name!r}; its arguments are {', '.join(known)}; did you mean {meant!r}?"
            )


def _nearest(name: str, known: Collection[str]) -> str | None:
    if len(name) > _LONGEST:
        return None
    folded = {_fold(one): one for one in known}
    word = _fold(name)
    for one, others in _OTHER_NAMES.items():
        if one in known and word in others:
            return one
    close = get_close_matches(word, folded, n=1, cutoff=_CLOSE)
    return folded[close[0]] if close else None


def _fold(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "")
