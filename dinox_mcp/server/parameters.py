"""The parameters of the tools, each described for the model that fills it in.

Ranges stand in the schema for the model to see; they are checked further in, where the message is one line that
says what to do.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field
from pydantic.config import JsonDict

from dinox_mcp.detector import MAX_OBJECTS
from dinox_mcp.schema import BBox, Output, Score

Part = Literal["boxes", "masks", "labels", "numbers", "keypoints", "captions"]
_UNIT: JsonDict = {"minimum": 0, "maximum": 1}


def _listed(value: object) -> object:
    """Take a single thing for a list of one, and null for an empty one, as models write them."""
    return () if value is None else (value,) if isinstance(value, str | int) else value


Image = Annotated[
    str,
    Field(
        description="Where the picture is: an absolute path on the machine of this server, an https:// URL, a data: "
        "URI, or dinox://results/{result_id} for the picture of an earlier result. A picture pasted into the chat does "
        "not reach this server: ask the user for its path or URL, never make one up."
    ),
]
Prompts = Annotated[
    list[str] | str,
    Field(
        description="What to look for: short English nouns, with an attribute where it helps, as in "
        '["person", "red car"]. Labels come back as written here.'
    ),
]
MinScore = Annotated[
    float,
    Field(
        description="Lowest score to report, 0 to 1. Lower it to find more, and more that is wrong; raise it for "
        "fewer and surer ones.",
        json_schema_extra=_UNIT,
    ),
]
IouThreshold = Annotated[
    float,
    Field(
        description="Overlap (intersection over union, 0 to 1) above which two boxes of a label count as one object. "
        "Lower it when objects are reported twice.",
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
    BeforeValidator(_listed),
    Field(description='Extra outputs: ["masks"] for the exact shape of each object, where the backend can (dinox).'),
]

Result = Annotated[str | None, Field(description="result_id of an earlier answer.")]
OptionalImage = Annotated[
    str | None, Field(description="Instead of result: a picture by path, https:// URL, data: URI or dinox:// URI.")
]
Number = Annotated[int | None, Field(description="Number of the object in the result.")]
Numbers = Annotated[
    tuple[int, ...],
    BeforeValidator(_listed, json_schema_input_type=int | list[int]),
    Field(description="Draw only the objects of these numbers; default all."),
]
Region = Annotated[
    BBox | None, Field(description="Region [x_min, y_min, x_max, y_max] of the picture, in pixels of the original.")
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
    bbox: BBox
    score: Score | None = None


DrawnObjects = Annotated[
    tuple[DrawnObject, ...], Field(description="With image: what to draw on it, boxes in pixels of the original.")
]
Labels = Annotated[
    tuple[str, ...], BeforeValidator(_listed), Field(description="Draw only objects of these labels; default all.")
]
DrawnScore = Annotated[float, Field(description="Draw only objects of at least this score.", json_schema_extra=_UNIT)]
Show = Annotated[tuple[Part, ...], BeforeValidator(_listed), Field(description="What to draw of each object.")]
Opacity = Annotated[float, Field(description="Opacity of the masks.", json_schema_extra=_UNIT)]
