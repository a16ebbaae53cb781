"""Annotation files: what an evaluation reads of COCO's format, LVIS's, and counts, and what is wrong with a file."""

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, Discriminator, FailFast, Field, FiniteFloat, Tag, TypeAdapter, ValidationError

from dinox_mcp.errors import InputError
from dinox_mcp.evaluation.labelled import Iou
from dinox_mcp.evaluation.shapes import Segmentation
from dinox_mcp.settings import MiB
from dinox_mcp.store.files import open_regular

MAX_BYTES = 2048 * MiB
"""Bytes of an annotation file."""
MAX_SIDE = 65_535
"""Pixels of a side of an image, as JPEG has them at most."""
_MAX_NAME = 255
_MAX_PATH = 2000
_FAR = 1e9
_TAGS = {"points", "numbers", "runs", "polygons", "str"}
"""How pydantic names the forms that a value may have, between the names of a file."""


_Side = Annotated[int, Field(ge=0, le=MAX_SIDE)]
_Length = Annotated[FiniteFloat, Field(ge=0, le=_FAR)]
_Coordinate = Annotated[FiniteFloat, Field(ge=-_FAR, le=_FAR)]


class Image(BaseModel):
    """An image; COCO and LVIS have further fields."""

    id: int
    file_name: str = ""
    coco_url: str = ""
    width: _Side | None = None
    height: _Side | None = None
    neg_category_ids: list[int] | None = None
    not_exhaustive_category_ids: list[int] = []


class Category(BaseModel):
    """A category; `synonyms` and `frequency` are LVIS's."""

    id: int
    name: str
    synonyms: list[str] = []
    frequency: str = ""
    supercategory: str | None = None
    keypoints: list[str] = []


class Annotation(BaseModel):
    """A labelled object: its box as x, y, width and height."""

    image_id: int
    category_id: int
    bbox: tuple[_Coordinate, _Coordinate, _Length, _Length]
    area: Annotated[FiniteFloat, Field(ge=0, le=_FAR**2)] | None = None
    iscrowd: bool = False


class Masked(Annotation):
    """A labelled object with its mask."""

    segmentation: Segmentation


class Posed(Annotation):
    """A labelled object with x, y and visibility of each keypoint, where they are labelled."""

    keypoints: list[_Coordinate] = []


A = TypeVar("A", bound=Annotation)


class File(BaseModel, Generic[A]):
    """A file in COCO's format. All lists end at their first error, as a wrong file may have a million."""

    images: Annotated[list[Image], Field(min_length=1), FailFast()]
    annotations: Annotated[list[A], Field(min_length=1), FailFast()]
    categories: Annotated[list[Category], Field(min_length=1), FailFast()]


FILES: Mapping[Iou, type[File[Any]]] = {
    "bbox": File[Annotation],
    "segm": File[Masked],
    "keypoints": File[Posed],
}
"""What is read of a file, by what is compared."""


class Counted(BaseModel):
    """An image of FSC-147: a point on each object."""

    points: Annotated[list[tuple[FiniteFloat, FiniteFloat]], FailFast()]


_Numbers = dict[str, Annotated[int, Field(ge=0, le=_FAR)]]
_Counts = Annotated[
    Annotated[Counted, Tag("points")] | Annotated[_Numbers, Tag("numbers")],
    Discriminator(
        lambda value: "points" if isinstance(value, dict) and isinstance(value.get("points"), list) else "numbers"
    ),
]
COUNTED: TypeAdapter[dict[str, Counted | _Numbers]] = TypeAdapter(dict[str, _Counts])
"""Counts by the names of images."""


def read(file: Path, remedy: str = "name an annotation file in JSON") -> bytes:
    """Read an annotation file, or another one beside it. Blocks.

    Raises:
        InputError: it cannot be read, or is too large.
    """
    try:
        with open_regular(file, follow_links=True) as opened:
            data = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"the annotations {str(file)!r} cannot be read ({error.strerror}); {remedy}") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"the annotations {str(file)!r} have more than {MAX_BYTES // MiB} MiB; split them")
    return data


def path_in(file: Path, folder: Path, name: str) -> Path:
    """Give where an image is that an annotation file names.

    Raises:
        InputError: the name leads out of the folder.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise InputError(f"{str(file)!r} names the image {name!r:.80}, which is not in its folder; correct the name")
    if len(name) > _MAX_PATH or any(len(part.encode()) > _MAX_NAME for part in path.parts):
        raise InputError(f"{str(file)!r} names an image {name!r:.80}..., which is too long; shorten the name")
    return folder.absolute() / Path(*path.parts)


def wrong_format(file: Path, error: ValidationError, wanted: str) -> InputError:
    """Say in one line what is wrong with a file."""
    # Of a value that may have several forms, the form that went furthest is the one that was meant.
    problem = max(error.errors(include_url=False), key=lambda one: len(one["loc"]))
    if problem["type"] == "json_invalid":
        return InputError(
            f"{str(file)!r} is not JSON ({problem['msg'].removeprefix('Invalid JSON: ')}); the format is {wanted}"
        )
    names = [
        part for part in problem["loc"] if isinstance(part, int) or not (part in _TAGS or part.startswith("list["))
    ]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in names).lstrip(".")
    value = "" if problem["type"] in ("missing", "too_short") else json.dumps(problem["input"], default=str)
    shown = f", not {value:.60}" if len(value) <= 60 and value else ""  # noqa: PLR2004 - what fits on a line
    message = problem["msg"][:1].lower() + problem["msg"][1:].replace(" after validation", "")
    return InputError(f"{where or 'the content'} of {str(file)!r} is wrong: {message}{shown}; the format is {wanted}")
