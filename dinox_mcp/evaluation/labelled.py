"""What is labelled in the images of a data set, and what is found in them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Boxes of many images.

    Attributes:
        image: the position (n,) of each box's image in the data set.
        category: the position (n,) of its category.
        bbox: x, y, width and height (n, 4) in pixels.
    """

    image: Ints
    category: Ints
    bbox: Floats

    def __len__(self) -> int:
        return len(self.image)


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The labelled boxes of a data set.

    Attributes:
        images: the number of images.
        categories: the number of categories.
        boxes: the labelled boxes.
        area: their areas (n,) in square pixels, of the mask where there is one.
        crowd: whether each (n,) is a region of many objects, which counts neither for nor against.
        absent: image and category (m, 2), where the category is known to be absent.
        partial: image and category (m, 2), where not every object of the category is labelled.
    """

    images: int
    categories: int
    boxes: Boxes
    area: Floats
    crowd: Bools
    absent: Ints
    partial: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The found boxes and their scores (n,)."""

    boxes: Boxes
    score: Floats

    def take(self, chosen: Ints) -> "Found":
        """Give the boxes at these positions, in their order."""
        boxes = self.boxes
        return Found(Boxes(boxes.image[chosen], boxes.category[chosen], boxes.bbox[chosen]), self.score[chosen])


@dataclass(frozen=True, slots=True)
class Category:
    """A category: its name as the file has it, other names, and in LVIS how frequent it is (r, c or f)."""

    name: str
    synonyms: tuple[str, ...] = ()
    frequency: str = ""


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image: its number in the file, where it is, its size if known, and the categories that are labelled in it."""

    number: int
    path: Path
    size: tuple[int, int] | None
    present: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Images with what is labelled in them.

    Attributes:
        file: the annotation file.
        images: the images.
        categories: the categories.
        numbers: the number of each category in the file.
        truth: the labelled boxes; none where only counts are labelled.
        counts: the number of objects, by the positions of image and category.
    """

    file: Path
    images: tuple[LabelledImage, ...]
    categories: tuple[Category, ...]
    numbers: tuple[int, ...]
    truth: Truth
    counts: Mapping[tuple[int, int], int] = field(default_factory=dict)
