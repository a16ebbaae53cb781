"""Labelled images to evaluate on: COCO's format, LVIS's, and counts as FSC-147 has them.

Only what an evaluation needs is kept of an annotation file: masks and keypoints only where they are compared.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from pydantic import ValidationError

from dinox_mcp.errors import InputError
from dinox_mcp.evaluation import formats
from dinox_mcp.evaluation.formats import A
from dinox_mcp.evaluation.labelled import Category, Dataset, Floats, Ints, Iou, LabelledImage, Shapes, Truth, unlabelled
from dinox_mcp.evaluation.shapes import Rle, array_of, encode, order_of
from dinox_mcp.types.keypoints import BODY

Kind = Literal["coco", "lvis", "count"]
NAMES_IN_FOLDERS = (
    "annotations_without_background.json",
    "_annotations_min1cat.coco.json",
    "_annotations.coco.json",
    "instances.json",
)
"""What annotations are called in the folders of ODinW, Segmentation in the Wild and Roboflow."""
CLASSES = "ImageClasses_FSC147.txt"
_FORMATS = {"coco": "COCO's (https://cocodataset.org/#format-data)", "lvis": "LVIS's (https://lvisdataset.org)"}
_COUNTS = 'COCO\'s, FSC-147\'s, or {"IMAGE.jpg": {"NAME": NUMBER}}'


def load(kind: Kind, annotations: Path, images: Path | None, limit: int | None = None, iou: Iou = "bbox") -> Dataset:
    """Read a data set. Blocks.

    Args:
        kind: `coco` for every file in COCO's format, `lvis`, or `count`.
        annotations: the annotation file, or a folder that holds one under its usual name.
        images: the folder of the images; by default that of the annotation file.
        limit: only the first images.
        iou: what is to be compared; with `keypoints` only the categories that have some are kept.

    Raises:
        SettingsError: masks are to be compared, and pycocotools is not installed.
        InputError: the file is not what it must be, or the folder has none of its images.
    """
    file = _file_in(annotations)
    folder = images or file.parent
    if not folder.is_dir():
        raise InputError(f"--images {str(folder)!r} is not a folder; name the one that holds the images")
    data = formats.read(file)
    if kind == "count":
        dataset = _load_counts(file, data, folder, limit)
    else:
        dataset = _load_objects(kind, file, data, folder, limit, iou)
    paths: set[Path] = set()
    for image in dataset.images:
        if image.path in paths:
            raise InputError(f"{str(file)!r} has the image {image.path.name!r:.80} twice; merge its two entries")
        paths.add(image.path)
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


def _load_objects(kind: Kind, file: Path, data: bytes, folder: Path, limit: int | None, iou: Iou) -> Dataset:
    try:
        content = formats.FILES[iou].model_validate_json(data)
    except ValidationError as error:
        raise formats.wrong_format(file, error, _FORMATS[kind]) from None
    # pycocotools compares images by the order of their ids, which decides between objects of equal scores.
    images = sorted(content.images[:limit], key=lambda one: one.id)
    known = _positions(file, "images", (one.id for one in content.images))
    position_of = {one.id: place for place, one in enumerate(images)}
    if kind == "lvis" and not (
        any(one.frequency for one in content.categories) and any(one.neg_category_ids for one in images)
    ):
        raise InputError(
            f"{str(file)!r} is not in LVIS's format, as it lacks frequency or neg_category_ids; use evaluate coco"
        )
    annotations = _checked_annotations(file, content, known)
    categories = _searched(file, content, iou)
    category_of = {one.id: place for place, one in enumerate(categories)}
    kept = [one for one in annotations if one.category_id in category_of and one.image_id in position_of]
    image = np.array([position_of[one.image_id] for one in kept], int)
    category = np.array([category_of[one.category_id] for one in kept], int)
    shapes: Shapes | None = None
    if iou == "segm":
        shapes = array_of(_mask(file, one, images[place]) for one, place in zip(kept, image.tolist(), strict=True))
    elif iou == "keypoints":
        shapes = _points(file, kept, [categories[place] for place in category.tolist()])
    truth = Truth(
        images=len(images),
        categories=len(categories),
        image=image,
        category=category,
        bbox=np.array([one.bbox for one in kept], float).reshape(-1, 4),
        area=np.array([one.bbox[2] * one.bbox[3] if one.area is None else one.area for one in kept], float),
        crowd=np.array([one.iscrowd for one in kept], bool),
        absent=_pairs([one.neg_category_ids or [] for one in images], category_of),
        partial=_pairs([one.not_exhaustive_category_ids for one in images], category_of),
        iou=iou,
        shapes=shapes,
    )
    present: list[set[int]] = [set() for _ in images]
    for of_image, of_category in truth.pairs:
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


def _checked_annotations(file: Path, content: formats.File[A], images: Mapping[int, int]) -> list[A]:
    """Give the annotations of a file, all of which name an image and a category of it."""
    categories = _positions(file, "categories", (one.id for one in content.categories))
    for place, one in enumerate(content.annotations):
        if one.image_id not in images or one.category_id not in categories:
            name, number = ("image", one.image_id) if one.image_id not in images else ("category", one.category_id)
            raise InputError(
                f"annotations[{place}] of {str(file)!r} names the {name} {number}, which is not in the file; correct "
                f"its {name}_id"
            )
    return content.annotations


def _searched(file: Path, content: formats.File[A], iou: Iou) -> list[formats.Category]:
    """Choose the categories that are searched for.

    Roboflow adds one that only groups the others, named as they name their supercategory. Without it, no image has it.
    """
    groups = {one.supercategory for one in content.categories if one.supercategory != one.name}
    labelled = {one.category_id for one in content.annotations}
    categories = [one for one in content.categories if one.name not in groups or one.id in labelled]
    if iou == "keypoints":
        categories = [one for one in categories if one.keypoints]
        if not categories:
            raise InputError(f"no category of {str(file)!r} has keypoints; use --iou bbox")
    return categories


def _mask(file: Path, one: formats.Masked, image: formats.Image) -> Rle:
    if image.width is None or image.height is None:
        raise InputError(f"the image {image.id} of {str(file)!r} has no width and height, which masks need; add them")
    try:
        return encode(one.segmentation, (image.width, image.height))
    except ValueError as error:
        raise InputError(
            f"the segmentation of an annotation of the image {image.id} of {str(file)!r} is wrong: {error}; correct it"
        ) from None


def _points(file: Path, annotations: Sequence[formats.Posed], categories: Sequence[formats.Category]) -> Floats:
    """Read the keypoints (n, 17, 3) of annotations of these categories (n,); zeros where there are none."""
    orders = {one.id: order_of(one.keypoints, one.name) for one in categories}
    points = np.zeros((len(annotations), len(BODY), 3))
    for place, (one, category) in enumerate(zip(annotations, categories, strict=True)):
        if len(one.keypoints) not in (0, points[0].size):
            raise InputError(
                f"an annotation of the image {one.image_id} of {str(file)!r} has {len(one.keypoints)} numbers as "
                f"keypoints; give x, y and visibility of {len(BODY)} points"
            )
        if one.keypoints:
            points[place] = np.reshape(one.keypoints, (-1, 3))[orders[category.id]]
    return points


def _counts(truth: Truth) -> dict[tuple[int, int], int]:
    """Count the labelled boxes of each image and category, without those of which a crowd is labelled."""
    pairs = truth.pairs
    crowds = {pair for pair, crowd in zip(pairs, truth.crowd.tolist(), strict=True) if crowd}
    return {pair: number for pair, number in Counter(pairs).items() if pair not in crowds}


def _load_counts(file: Path, data: bytes, folder: Path, limit: int | None) -> Dataset:
    if b'"annotations"' in data and b'"categories"' in data:
        return _load_objects("coco", file, data, folder, limit, "bbox")
    try:
        content = dict(list(formats.COUNTED.validate_json(data).items())[:limit])
    except ValidationError as error:
        raise formats.wrong_format(file, error, _COUNTS) from None
    if not content:
        raise InputError(f"{str(file)!r} has no images; the format is {_COUNTS}")
    pointed = [name for name, one in content.items() if isinstance(one, formats.Counted)]
    classes = _read_classes(file.with_name(CLASSES)) if pointed else {}
    if nameless := next((name for name in pointed if not classes.get(name)), None):
        raise InputError(f"the image {nameless!r:.80} has no class in {CLASSES}; add its line, 'IMAGE.jpg<tab>NAME'")
    counted = {
        name: {classes[name]: len(one.points)} if isinstance(one, formats.Counted) else one
        for name, one in content.items()
    }
    if not any(counted.values()):
        raise InputError(f"no image of {str(file)!r} has a count; the format is {_COUNTS}")
    names = list(dict.fromkeys(name for counts in counted.values() for name in counts))
    position = {name: place for place, name in enumerate(names)}
    return Dataset(
        file,
        tuple(
            LabelledImage(
                place, formats.path_in(file, folder, name), None, tuple(sorted(position[one] for one in counts))
            )
            for place, (name, counts) in enumerate(counted.items())
        ),
        tuple(map(Category, names)),
        tuple(range(len(names))),
        unlabelled(len(counted), len(names)),
        {
            (place, position[name]): number
            for place, counts in enumerate(counted.values())
            for name, number in counts.items()
        },
    )


def _read_classes(file: Path) -> dict[str, str]:
    """Read what is counted in each image: lines of a file name and a class."""
    lines = (
        formats.read(file, "it says what is counted in each image, by lines 'IMAGE.jpg<tab>NAME'")
        .decode("utf-8", "replace")
        .splitlines()
    )
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


def _size(image: formats.Image) -> tuple[int, int] | None:
    return (image.width, image.height) if image.width and image.height else None


def _path(file: Path, folder: Path, image: formats.Image) -> Path:
    """Give where an image is: LVIS names only its address, and the folders of COCO may have its last two parts."""
    if image.file_name:
        return formats.path_in(file, folder, image.file_name)
    parts = PurePosixPath(image.coco_url).parts[-2:]
    if not parts:
        raise InputError(f"the image {image.id} of {str(file)!r} has neither file_name nor coco_url; add its file_name")
    name = formats.path_in(file, folder, parts[-1])
    below = formats.path_in(file, folder, "/".join(parts))
    return below if below.is_file() and not name.is_file() else name
