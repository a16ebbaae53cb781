"""The parameters of the tools, each described for the model that fills it in."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, FailFast, Field, WithJsonSchema
from pydantic.config import JsonDict

from dinox_mcp.detect.options import MAX_OBJECTS
from dinox_mcp.detect.visual_prompts import Pointer
from dinox_mcp.detector import Detector
from dinox_mcp.drawing.views import check_order
from dinox_mcp.errors import InputError
from dinox_mcp.types.caller import Caller
from dinox_mcp.types.detection import MAX_TILES, BBox, Output, Score


def offered(model: str | None, detector: Detector, caller: Caller) -> str | None:
    """Give a model's name, as its backend writes it, if a caller may choose it.

    Of a backend that fetches models, callers over HTTP choose among those that are loaded, lest a stranger fill this
    machine's disk or memory.

    Raises:
        InputError: such a backend does not list it; the message says which it does.
    """
    model = (model or "").strip()
    if not model:
        return None
    name = detector.backends.choose(caller_has_key=caller.api_key is not None, model=model)
    backend = detector.backends.get(name)
    fetches = backend.capabilities().fetches
    offers = list(backend.models())
    if fetches and detector.settings.transport != "stdio":
        offers = [offer for place, offer in enumerate(offers) if offer.loaded or place == 0]
    listed = {offer.name.casefold(): offer.name for offer in offers}
    if fetches and model.casefold() not in listed:
        raise InputError(
            f"model {model[:80]!r} is none that may be chosen here; there are {', '.join(listed.values())} "
            "(whoever runs this server can set DINOX_MCP_MODEL to any other)"
        )
    return listed.get(model.casefold(), model)


Part = Literal["boxes", "masks", "labels", "numbers", "keypoints", "captions"]
_UNIT: JsonDict = {"minimum": 0, "maximum": 1}


def _in_order(box: BBox) -> BBox:
    check_order(box)
    return box


Box = Annotated[BBox, AfterValidator(_in_order)]
# Lists of objects stop at their first wrong item, as explaining each takes time.
Words = Annotated[tuple[str, ...], FailFast()]
Text = list[str] | str


Image = Annotated[
    str,
    Field(
        description="Where the picture is: an absolute path on the machine of this server, an https:// URL, a data: "
        "URI, or dinox://results/{result_id} for the picture of an earlier result. A picture pasted into the chat does "
        "not reach this server: ask the user for its path or URL, never make one up."
    ),
]
SameImage = Annotated[
    str,
    Field(
        description="Absolute path on this server's machine, https:// URL, data: URI or dinox://results/{result_id}; "
        "never made up."
    ),
]
Prompts = Annotated[
    Text,
    Field(
        description="What to look for: short English nouns, with an attribute where it helps, as in "
        '["person", "red car"]. Labels come back as written here.'
    ),
]
MinScore = Annotated[
    float | None,
    Field(
        description="Lowest score to report, 0 to 1; default: the model's best for counting. Lower it to find more, "
        "and more that is wrong.",
        json_schema_extra=_UNIT,
    ),
]
IouThreshold = Annotated[
    float | None,
    Field(
        description="Overlap (intersection over union, 0 to 1) above which two boxes of a label count as one object; "
        "default: the model's. Lower it when objects are reported twice.",
        json_schema_extra=_UNIT,
    ),
]
MaxObjects = Annotated[
    int,
    Field(
        description="Objects to list at most; the surest stay. Counts cover all that were found.",
        json_schema_extra={"minimum": 1, "maximum": MAX_OBJECTS},
    ),
]
Include = Annotated[
    tuple[Output, ...],
    FailFast(),
    Field(
        description="More of each object, where the backend can: masks (exact shape), pose and hands (keypoints), "
        "caption, category, text (what is written on it)."
    ),
]
Tiles = Annotated[
    int,
    Field(
        description="2 or more looks at the picture in that many parts along its long side too, for small things; each "
        "part is a call to the backend.",
        json_schema_extra={"minimum": 1, "maximum": MAX_TILES},
    ),
]
CountTiles = Annotated[
    int | None,
    Field(
        description="Parts along the long side to look at; default: by the size of the picture and of what is in it. "
        "1 asks once."
    ),
]
Model = Annotated[str | None, Field(description="Model to ask instead of the usual one; dinox://backends lists them.")]
Examples = Annotated[
    tuple[Pointer, ...],
    FailFast(),
    Field(
        description="What to find more of, each by one of: bbox or point (in image, or in another picture given as "
        '"image"), object with result, or saved. Several labels and negative ones ("not like this") may be mixed.'
    ),
]
OptionalPrompts = Annotated[Text | None, Field(description="What to count: short English nouns. Or pass examples.")]
OptionalExamples = Annotated[
    tuple[Pointer, ...],
    FailFast(),
    Field(description="Instead of prompts: what it looks like, as in detect_by_example."),
]
Description = Annotated[
    str, Field(description='One English sentence for one thing or several: "the cup nearest to the laptop".')
]
Caption = Annotated[str, Field(description="A sentence about the picture, in English.")]
Phrases = Annotated[
    Words,
    Field(description="Which phrases of the caption to find; default: all its noun phrases."),
]
Boxes = Annotated[
    tuple[Box, ...],
    FailFast(),
    Field(description="With image: boxes [x_min, y_min, x_max, y_max] in pixels of the original."),
]
DescribeInclude = Annotated[
    tuple[Output, ...],
    FailFast(),
    Field(description="What to tell: caption, category, text, masks, pose, hands; default: the words."),
]
Video = Annotated[
    str, Field(description="Absolute path of a video file on this server's machine (MP4, MOV, WebM, ...).")
]
VideoPrompts = Annotated[
    Text | None, Field(description="What to follow: short English nouns. Default: everything known.")
]
EveryS = Annotated[float, Field(description="Seconds between key frames; shorter for fast things, at more calls.")]
StartS = Annotated[float, Field(description="Second to begin at.")]
EndS = Annotated[float | None, Field(description="Second to end at; default: the end.")]
MaxCalls = Annotated[
    int | None, Field(description="Calls to the backend at most; key frames are spread to fit. Default: the server's.")
]
PromptName = Annotated[str, Field(description="Name of the saved prompt: letters, digits, - and _.")]
PromptLabel = Annotated[str | None, Field(description="What to call what is found by it; default: the name.")]

Result = Annotated[str | None, Field(description="result_id of an earlier answer.")]
OptionalImage = Annotated[
    str | None, Field(description="Instead of result: a picture by path, https:// URL, data: URI or dinox:// URI.")
]
Number = Annotated[int | None, Field(description="Number of the object in the result.")]
Numbers = Annotated[
    tuple[int, ...],
    FailFast(),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]}),
    Field(description="Only the objects of these numbers; default all."),
]
Region = Annotated[
    Box | None, Field(description="Region [x_min, y_min, x_max, y_max] of the picture, in pixels of the original.")
]
Padding = Annotated[
    float,
    Field(
        description="Margin on each side, as a part of the region's size.",
        json_schema_extra={"minimum": 0, "maximum": 10},
    ),
]


class DrawnObject(BaseModel):
    """An object to draw that no result knows; without an `id`, its place in the list is its number."""

    id: int | None = Field(None, ge=1)
    label: str = "object"
    bbox: Box
    score: Score | None = None


DrawnObjects = Annotated[
    tuple[DrawnObject, ...],
    FailFast(),
    Field(description="With image: what to draw on it, boxes in pixels of the original."),
]
Labels = Annotated[Words, Field(description="Draw only objects of these labels; default all.")]
DrawnScore = Annotated[float, Field(description="Draw only objects of at least this score.", json_schema_extra=_UNIT)]
Show = Annotated[
    tuple[Part, ...],
    FailFast(),
    Field(description='What to draw of each object; ["numbers"] alone marks each with a dot, to count a crowd.'),
]
Opacity = Annotated[float, Field(description="Opacity of the masks.", json_schema_extra=_UNIT)]
