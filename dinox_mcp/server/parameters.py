"""The parameters of the tools, each declared and described once.

A parameter that means the same in several tools is described for the model in the first of them only (see
`protocol.short_tool`), so a description names no tool. Ranges and defaults that a caller should know are in the
words, as some hosts drop the rest.
"""

from typing import Annotated, Literal, TypedDict

from pydantic import AfterValidator, BaseModel, FailFast, Field, WithJsonSchema
from pydantic.config import JsonDict

from dinox_mcp.detect.options import DEFAULT_OBJECTS, MAX_OBJECTS
from dinox_mcp.detect.visual_prompts import VisualPrompt
from dinox_mcp.export.options import Format, Method, Shape
from dinox_mcp.types.boxes import check_order
from dinox_mcp.types.detection import MAX_TILES, BBox, Output, Score

Part = Literal["boxes", "masks", "labels", "numbers", "keypoints", "captions"]
_UNIT: JsonDict = {"minimum": 0, "maximum": 1}


def _in_order(box: BBox) -> BBox:
    check_order(box)
    return box


Box = Annotated[BBox, AfterValidator(_in_order)]
# Lists stop at their first wrong item (FailFast), as explaining each takes time.
Words = Annotated[tuple[str, ...], FailFast()]
Text = list[str] | str


Image = Annotated[
    str,
    Field(
        description="Absolute path on this server's machine (report.pdf#page=3), latest:FOLDER (its newest), "
        '"clipboard", https:// URL, data: URI, or dinox://results/{result_id} for the image of a result. Never invent '
        "one: a pasted image does not reach this server; ask for its path or URL."
    ),
]
Prompts = Annotated[
    Text | None,
    Field(
        description='What to find: short English nouns, as in ["person", "red car"]. In quotes: words to read, as in '
        "['\"EXIT\"']."
    ),
]
Description = Annotated[
    str | None,
    Field(
        description='Instead of prompts: a sentence for one among others like it, "the man left of the car".',
        json_schema_extra={"needs": "descriptions"},
    ),
]
Caption = Annotated[
    str | None,
    Field(description="A sentence about the image whose noun phrases are found; with prompts, only those phrases."),
]
MinScore = Annotated[
    float | None,
    Field(
        default=None,
        description="Lowest score, 0 to 1. Default: the model's best. Lower finds more, and more that is wrong.",
        json_schema_extra=_UNIT,
    ),
]
Include = Annotated[
    tuple[Output, ...],
    FailFast(),
    Field(default=(), description="More about each object; text is what is written on it."),
]
Model = Annotated[
    str | None, Field(default=None, description="Name of a model in dinox://backends; default: the usual one.")
]


class SharedOptions(TypedDict, total=False):
    """The options of every tool that detects in an image."""

    min_score: MinScore
    iou_threshold: Annotated[
        float | None,
        Field(
            default=None,
            description="Boxes of a label that overlap more (IoU, 0 to 1) are one object.",
            json_schema_extra=_UNIT,
        ),
    ]
    max_objects: Annotated[
        int,
        Field(
            default=DEFAULT_OBJECTS,
            description=f"Objects to list, surest first: 1 to {MAX_OBJECTS}, default {DEFAULT_OBJECTS}. Counts cover "
            "all.",
            json_schema_extra={"minimum": 1, "maximum": MAX_OBJECTS},
        ),
    ]
    model: Model


class DetectOptions(SharedOptions, total=False):
    """The options of the tools that list what they find."""

    include: Include
    tiles: Annotated[
        int,
        Field(
            default=1,
            description=f"2 to {MAX_TILES}: also search that many parts along the long side, for small things; a call "
            "each.",
            json_schema_extra={"minimum": 1, "maximum": MAX_TILES},
        ),
    ]


class CompareOptions(TypedDict, total=False):
    """The options of the tool that compares two images."""

    min_score: MinScore
    model: Model


CountTiles = Annotated[
    int | None, Field(description="Parts along the long side to search; default: by the sizes. 1: the image once.")
]
CountPrompts = Annotated[Text | None, Field(description="What to count, or pass examples.")]
Examples = Annotated[
    tuple[VisualPrompt, ...],
    FailFast(),
    Field(
        description="Each one of: bbox [x_min, y_min, x_max, y_max] or point [x, y] in image (default: the searched "
        "one), object number of a result, or saved name; with a label, or negative for what is not meant."
    ),
]
Images = Annotated[
    Text | None, Field(description="Folder, pattern as in /photos/**/*.jpg, or a list of these, paths, URLs.")
]
SearchPrompts = Annotated[Text | None, Field(description="Default: everything known.")]
Job = Annotated[str | None, Field(description="Of an earlier reply, alone: continue.")]
Before = Annotated[str, Field(description="The first image, as image elsewhere.")]
After = Annotated[str, Field(description="The second image, from nearly the same position.")]
ComparedPrompts = Annotated[Text | None, Field(description="Compare only these. Default: everything.")]
Boxes = Annotated[
    tuple[Box, ...], FailFast(), Field(description="With image: [x_min, y_min, x_max, y_max] in its pixels.")
]
DescribeInclude = Annotated[tuple[Output, ...], FailFast(), Field(description="Default: caption, category, text.")]
Video = Annotated[str, Field(description="Absolute path of a video file on this server's machine.")]
VideoPrompts = Annotated[Text | None, Field(description="What to follow. Default: everything known.")]
EveryS = Annotated[float, Field(description="Seconds between key frames, default 0.5.")]
StartS = Annotated[float, Field(description="Second of the video to begin at.")]
EndS = Annotated[float | None, Field(description="Second to end at.")]
MaxCalls = Annotated[int | None, Field(description="Most key frames; they are spread to fit.")]
PromptName = Annotated[str, Field(description="Letters, digits, - and _.")]
PromptLabel = Annotated[str | None, Field(description="What finds are called; default: the name.")]
Delete = Annotated[bool, Field(description="Delete the prompt of that name instead.")]

ExportedResult = Annotated[str, Field(description="result_id of an earlier reply.")]
Result = Annotated[str | None, Field(description="result_id of an earlier reply.")]
OptionalImage = Annotated[str | None, Field(description="An image instead of a result.")]
Number = Annotated[int | None, Field(description="Number of an object.")]
Numbers = Annotated[
    tuple[int, ...],
    FailFast(),
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "integer"}]}),
    Field(description="Numbers of objects; default all."),
]
Region = Annotated[Box | None, Field(description="[x_min, y_min, x_max, y_max] in the original.")]
Padding = Annotated[
    float,
    Field(
        description="Margin as a part of the region's size, default 0.15.",
        json_schema_extra={"minimum": 0, "maximum": 10},
    ),
]


class DrawnObject(BaseModel):
    """An object to draw that is not in a result; without an `id`, its position in the list is its number."""

    id: int | None = Field(None, ge=1)
    label: str = "object"
    bbox: Box
    score: Score | None = None


DrawnObjects = Annotated[tuple[DrawnObject, ...], FailFast(), Field(description="With image: what to draw.")]
Labels = Annotated[Words, Field(description="Only these labels.")]
Label = Annotated[str | None, Field(description="All of a label.")]
LeastScore = Annotated[float, Field(description="Only from this score on.")]
MostScore = Annotated[float, Field(description="Up to this score.")]
Show = Annotated[tuple[Part, ...], FailFast(), Field(description='Default all; ["numbers"] marks each with a dot.')]
Opacity = Annotated[float, Field(description="Of masks, 0 to 1.", json_schema_extra=_UNIT)]

ExportFormat = Annotated[Format, Field(description="redacted: the image without the objects.")]
Folder = Annotated[str | None, Field(description="Absolute path of a folder; default: resources.")]
RedactMethod = Annotated[Method, Field(description="Default fill, the safest.")]
RedactShape = Annotated[Shape, Field(description="What is redacted of each.")]
Overwrite = Annotated[bool, Field(description="Only if the user agrees.")]
ExportPadding = Annotated[
    float | None, Field(description="Margin as a part of the object's size.", json_schema_extra={"minimum": 0})
]
