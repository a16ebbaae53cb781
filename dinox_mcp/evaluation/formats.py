"""Annotation files: what an evaluation reads of COCO's format, LVIS's, and counts, and what is wrong with a file."""

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, FailFast, Field, FiniteFloat, TypeAdapter, ValidationError

from dinox_mcp.errors import InputError
from dinox_mcp.evaluation.overlaps import Iou
from dinox_mcp.evaluation.shapes import Segmentation
from dinox_mcp.settings import MiB
from dinox_mcp.store.files import open_regular

MAX_BYTES = 2048 * MiB
"""Bytes of an annotation file."""


class Image(BaseModel):
    """An image; COCO and LVIS have further fields."""

    id: int
    file_name: str = ""
    coco_url: str = ""
    width: int | None = None
    height: int | None = None
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


_Length = Annotated[FiniteFloat, Field(ge=0)]


class Annotation(BaseModel):
    """A labelled object: its box as x, y, width and height."""

    image_id: int
    category_id: int
    bbox: tuple[FiniteFloat, FiniteFloat, _Length, _Length]
    area: _Length | None = None
    iscrowd: bool = False


class Masked(Annotation):
    """A labelled object with its mask."""

    segmentation: Segmentation


class Posed(Annotation):
    """A labelled object with x, y and visibility of each keypoint, where they are labelled."""

    keypoints: list[FiniteFloat] = []


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


_Count = Annotated[int, Field(ge=0)]
COUNTED: TypeAdapter[dict[str, Counted | dict[str, _Count]]] = TypeAdapter(dict[str, Counted | dict[str, _Count]])
"""Counts by the names of images."""


def read(file: Path) -> bytes:
    """Read an annotation file. Blocks.

    Raises:
        InputError: it cannot be read, or is too large.
    """
    try:
        with open_regular(file, follow_links=True) as opened:
            data = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"the annotations {str(file)!r} cannot be read ({error.strerror}); name an annotation file in JSON"
        ) from None
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
    return folder.absolute() / Path(*path.parts)


def wrong_format(file: Path, error: ValidationError, wanted: str) -> InputError:
    """Say in one line what is wrong with a file."""
    problem = error.errors(include_url=False)[0]
    if problem["type"] == "json_invalid":
        return InputError(
            f"{str(file)!r} is not JSON ({problem['msg'].removeprefix('Invalid JSON: ')}); the format is {wanted}"
        )
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
    value = json.dumps(problem["input"], default=str) if problem["type"] != "missing" else ""
    shown = f", not {value:.60}" if len(value) <= 60 and value else ""  # noqa: PLR2004 - what fits on a line
    message = problem["msg"][:1].lower() + problem["msg"][1:]
    return InputError(f"{where or 'the content'} of {str(file)!r} is wrong: {message}{shown}; the format is {wanted}")
