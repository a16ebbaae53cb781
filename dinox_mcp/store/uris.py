"""The `dinox://` URIs: written into replies, served as resources, and accepted wherever an image is."""

import re
from typing import NamedTuple

from dinox_mcp.errors import InputError

SCHEME = "dinox://"
RESULT = "dinox://results/{result_id}"
PICTURE = RESULT + "/image.jpg"
ANNOTATED_JPEG = RESULT + "/annotated.jpg"
ANNOTATED_PNG = RESULT + "/annotated.png"
COCO = RESULT + "/coco.json"
CROP = RESULT + "/objects/{number}/crop.jpg"
VIDEO = "dinox://videos/{result_id}"
JOB = "dinox://jobs/{job}"
COMPARISON = "dinox://comparisons/{comparison_id}"
SIDE_BY_SIDE = COMPARISON + "/side-by-side.jpg"
UPLOADS = "dinox://images/"
UPLOAD = UPLOADS + "{image_id}"
PROMPTS = "dinox://prompts"
PROMPT = "dinox://prompts/{name}"
MASK = RESULT + "/objects/{number}/mask.png"
CUTOUT = RESULT + "/objects/{number}/cutout.png"
LABELS = RESULT + "/labels/{file}"

_URI = re.compile(
    r"dinox://results/(?P<result_id>[^/?#]+)"
    r"(?:/(?:(?P<view>image\.jpg|annotated\.jpg|annotated\.png)|objects/(?P<number>\d{1,6})/(?P<part>crop\.jpg|mask\.png)))?/?",
    re.IGNORECASE,
)
_COMPARISON = re.compile(r"dinox://comparisons/([^/?#]+)(?:/side-by-side\.jpg)?/?", re.IGNORECASE)


class Target(NamedTuple):
    """What a URI names: an image of a result, or of one object in it."""

    result_id: str
    view: str
    number: int | None = None


def parse_image_uri(uri: str) -> Target:
    """Parse a URI that names an image; that of a result names the image that was searched.

    Raises:
        InputError: it does not name an image.
    """
    match = _URI.fullmatch(uri.strip())
    if not match:
        raise InputError(
            f"{uri.strip()[:80]!r} is not an image of a result; use {RESULT}, {ANNOTATED_JPEG} or {CROP} with the "
            "result_id of an answer"
        )
    number = match["number"]
    view = match["view"] or match["part"] or "image.jpg"
    return Target(match["result_id"], view.lower(), int(number) if number else None)


def bare_id(result: str) -> str:
    """Give the id of a result from its id, its URI, or a URI below it."""
    match = re.match(r"dinox://(?:results|videos)/([^/?#]+)", result.strip(), re.IGNORECASE)
    return match[1] if match else result.strip()


def parse_comparison_uri(uri: str) -> str | None:
    """Give the id of the comparison whose side-by-side image a URI names; None for any other URI."""
    match = _COMPARISON.fullmatch(uri.strip())
    return match[1] if match else None
