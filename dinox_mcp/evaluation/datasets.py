"""Labelled images to evaluate on: COCO's format, LVIS's, and counts as FSC-147 has them.

Only what an evaluation needs is kept of an annotation file; polygons and masks are not.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, FailFast, Field, FiniteFloat, TypeAdapter, ValidationError

from dinox_mcp.errors import InputError
from dinox_mcp.evaluation.labelled import Boxes, Category, Dataset, Ints, LabelledImage, Truth
from dinox_mcp.settings import MiB
from dinox_mcp.store.files import open_regular

Kind = Literal["coco", "lvis", "count"]
MAX_BYTES = 2048 * MiB
"""Bytes of an annotation file."""
NAMES_IN_FOLDERS = ("_annotations.coco.json", "annotations_without_background.json", "instances.json")
"""What annotations are called in the folders of ODinW, Segmentation in the Wild and Roboflow."""
CLASSES = "ImageClasses_FSC147.txt"
_FORMATS = {"coco": "COCO's (https://cocodataset.org/#format-data)", "lvis": "LVIS's (https://lvisdataset.org)"}
_COUNTS = 'COCO\'s, FSC-147\'s, or {"IMAGE.jpg": {"NAME": NUMBER}}'


class _Image(BaseModel):
    id: int
    file_name: str = ""
    coco_url: str = ""
    width: int | None = None
    height: int | None = None
    neg_category_ids: list[int] | None = None
    not_exhaustive_category_ids: list[int] = []


class _Category(BaseModel):
    id: int
    name: str
    synonyms: list[str] = []
    frequency: str = ""


_Length = Annotated[FiniteFloat, Field(ge=0)]


class _Annotation(BaseModel):
    image_id: int
    category_id: int
    bbox: tuple[FiniteFloat, FiniteFloat, _Length, _Length]
    area: _Length | None = None
    iscrowd: bool = False


class _File(BaseModel):
    """All lists end at their first error, as a wrong file may have a million."""

    images: Annotated[list[_Image], Field(min_length=1), FailFast()]
    annotations: Annotated[list[_Annotation], Field(min_length=1), FailFast()]
    categories: Annotated[list[_Category], Field(min_length=1), FailFast()]


class _Counted(BaseModel):
    """An image of FSC-147: a point on each object."""

    points: Annotated[list[tuple[FiniteFloat, FiniteFloat]], FailFast()]


_Count = Annotated[int, Field(ge=0)]
_COUNTED: TypeAdapter[dict[str, _Counted | dict[str, _Count]]] = TypeAdapter(dict[str, _Counted | dict[str, _Count]])


def load(kind: Kind, annotations: Path, images: Path | None, limit: int | None = None) -> Dataset:
    """Read a data set. Blocks.

    Args:
        kind: `coco` for every file in COCO's format, `lvis`, or `count`.
        annotations: the annotation file, or a folder that holds one under its usual name.
        images: the folder of the images; by default that of the annotation file.
        limit: only the first images.

    Raises:
        InputError: the file is not what it must be, or the folder has none of its images.
    """
    file = _file_in(annotations)
    folder = images or file.parent
    if not folder.is_dir():
        raise InputError(f"--images {str(folder)!r} is not a folder; name the one that holds the images")
    data = _read(file)
    dataset = (
        _load_counts(file, data, folder, limit) if kind == "count" else _load_boxes(kind, file, data, folder, limit)
    )
    if not any(image.path.is_file() for image in dataset.images):
        raise InputError(
            f"none of the {len(dataset.images):,} images is in {str(folder)!r} (the first is "
            f"{dataset.images[0].path.name!r}); name their folder with --images"
        )
    return dataset


def _file_in(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in NAMES_IN_FOLDERS:
        if (path / name).is_file():
            return path / name
    raise InputError(
        f"the folder {str(path)!r} has no {' or '.join(NAMES_IN_FOLDERS)}; name the annotation file itself"
    )


def _read(file: Path) -> bytes:
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


def _load_boxes(kind: Kind, file: Path, data: bytes, folder: Path, limit: int | None) -> Dataset:
    try:
        content = _File.model_validate_json(data)
    except ValidationError as error:
        raise _wrong_format(file, error, _FORMATS[kind]) from None
    images, categories = content.images[:limit], content.categories
    all_images = _positions(file, "images", (one.id for one in content.images))
    category_of = _positions(file, "categories", (one.id for one in categories))
    if kind == "lvis" and not (
        any(one.frequency for one in categories) and any(one.neg_category_ids for one in images)
    ):
        raise InputError(
            f"{str(file)!r} is not in LVIS's format, as it lacks frequency or neg_category_ids; use evaluate coco"
        )
    kept: list[_Annotation] = []
    for place, one in enumerate(content.annotations):
        if one.image_id not in all_images or one.category_id not in category_of:
            name, number = ("image", one.image_id) if one.image_id not in all_images else ("category", one.category_id)
            raise InputError(
                f"annotations[{place}] of {str(file)!r} names the {name} {number}, which is not in the file; correct "
                f"its {name}_id"
            )
        if all_images[one.image_id] < len(images):
            kept.append(one)
    image = np.array([all_images[one.image_id] for one in kept], int)
    category = np.array([category_of[one.category_id] for one in kept], int)
    boxes = Boxes(image, category, np.array([one.bbox for one in kept], float).reshape(-1, 4))
    truth = Truth(
        images=len(images),
        categories=len(categories),
        boxes=boxes,
        area=np.array([one.bbox[2] * one.bbox[3] if one.area is None else one.area for one in kept], float),
        crowd=np.array([one.iscrowd for one in kept], bool),
        absent=_pairs([one.neg_category_ids or [] for one in images], category_of),
        partial=_pairs([one.not_exhaustive_category_ids for one in images], category_of),
    )
    present: list[set[int]] = [set() for _ in images]
    for of_image, of_category in zip(image.tolist(), category.tolist(), strict=True):
        present[of_image].add(of_category)
    return Dataset(
        file,
        tuple(
            LabelledImage(one.id, _path(file, folder, one), _size(one), tuple(sorted(there)))
            for one, there in zip(images, present, strict=True)
        ),
        tuple(Category(one.name, tuple(one.synonyms), one.frequency) for one in categories),
        tuple(one.id for one in categories),
        truth,
        _counts(truth),
    )


def _counts(truth: Truth) -> dict[tuple[int, int], int]:
    """Count the labelled boxes of each image and category, without those of which a crowd is labelled."""
    pairs = list(zip(truth.boxes.image.tolist(), truth.boxes.category.tolist(), strict=True))
    crowds = {pair for pair, crowd in zip(pairs, truth.crowd.tolist(), strict=True) if crowd}
    return {pair: number for pair, number in Counter(pairs).items() if pair not in crowds}


def _load_counts(file: Path, data: bytes, folder: Path, limit: int | None) -> Dataset:
    if b'"annotations"' in data and b'"categories"' in data:
        return _load_boxes("coco", file, data, folder, limit)
    try:
        content = dict(list(_COUNTED.validate_json(data).items())[:limit])
    except ValidationError as error:
        raise _wrong_format(file, error, _COUNTS) from None
    if not content:
        raise InputError(f"{str(file)!r} has no images; the format is {_COUNTS}")
    classes = (
        _read_classes(file.with_name(CLASSES)) if any(isinstance(one, _Counted) for one in content.values()) else {}
    )
    counted = {
        name: {classes.get(name, ""): len(one.points)} if isinstance(one, _Counted) else one
        for name, one in content.items()
    }
    if nameless := next((name for name, counts in counted.items() if "" in counts), None):
        raise InputError(f"the image {nameless!r:.80} has no class in {CLASSES}; add its line, 'IMAGE.jpg<tab>NAME'")
    names = list(dict.fromkeys(name for counts in counted.values() for name in counts))
    position = {name: place for place, name in enumerate(names)}
    none = np.zeros(0, int)
    pairs = np.zeros((0, 2), int)
    boxes = Boxes(none, none, np.zeros((0, 4)))
    return Dataset(
        file,
        tuple(
            LabelledImage(place, _inside(file, folder, name), None, tuple(sorted(position[one] for one in counts)))
            for place, (name, counts) in enumerate(counted.items())
        ),
        tuple(map(Category, names)),
        tuple(range(len(names))),
        Truth(len(counted), len(names), boxes, np.zeros(0), np.zeros(0, bool), pairs, pairs),
        {
            (place, position[name]): number
            for place, counts in enumerate(counted.values())
            for name, number in counts.items()
        },
    )


def _read_classes(file: Path) -> dict[str, str]:
    """Read what is counted in each image: lines of a file name and a class."""
    lines = _read(file).decode("utf-8", "replace").splitlines()
    pairs = (line.split("\t", 1) if "\t" in line else line.split(None, 1) for line in lines)
    return {pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) > 1}


def _positions(file: Path, name: str, numbers: Iterable[int]) -> dict[int, int]:
    positions: dict[int, int] = {}
    for place, number in enumerate(numbers):
        if number in positions:
            raise InputError(f"{name} of {str(file)!r} has the id {number} twice; make the ids unique")
        positions[number] = place
    return positions


def _pairs(of_images: Sequence[Sequence[int]], category_of: Mapping[int, int]) -> Ints:
    pairs = [
        (image, category_of[number])
        for image, numbers in enumerate(of_images)
        for number in numbers
        if number in category_of
    ]
    return np.array(pairs, int).reshape(-1, 2)


def _size(image: _Image) -> tuple[int, int] | None:
    return (image.width, image.height) if image.width and image.height else None


def _path(file: Path, folder: Path, image: _Image) -> Path:
    """Give where an image is: LVIS names only its address, and the folders of COCO may have its last two parts."""
    if image.file_name:
        return _inside(file, folder, image.file_name)
    parts = PurePosixPath(image.coco_url).parts[-2:]
    if not parts:
        raise InputError(f"the image {image.id} of {str(file)!r} has neither file_name nor coco_url; add its file_name")
    name = _inside(file, folder, parts[-1])
    below = _inside(file, folder, "/".join(parts))
    return below if below.is_file() and not name.is_file() else name


def _inside(file: Path, folder: Path, name: str) -> Path:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise InputError(f"{str(file)!r} names the image {name!r:.80}, which is not in its folder; correct the name")
    return folder.absolute() / Path(*path.parts)


def _wrong_format(file: Path, error: ValidationError, wanted: str) -> InputError:
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
