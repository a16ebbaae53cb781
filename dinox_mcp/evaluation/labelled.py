"""What is labelled in the images of a data set, what is found in them, and the prompts of the categories."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dinox_mcp.errors import InputError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Shapes = npt.NDArray[Any]
Iou = Literal["bbox", "segm", "keypoints"]
"""What can be compared, by the names that pycocotools has for it."""
_QUALIFIER = re.compile(r"\(([^()]*)\)")


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
    """The labelled objects of a data set.

    Attributes:
        images: the number of images.
        categories: the number of categories.
        boxes: the labelled boxes.
        area: their areas (n,) in square pixels, of the mask where there is one.
        crowd: whether each (n,) is a region of many objects, which counts neither for nor against.
        absent: image and category (m, 2), where the category is known to be absent.
        partial: image and category (m, 2), where not every object of the category is labelled.
        iou: what is compared.
        shapes: masks (n,) as pycocotools encodes them, or keypoints (n, 17, 3); None where boxes are compared.
    """

    images: int
    categories: int
    boxes: Boxes
    area: Floats
    crowd: Bools
    absent: Ints
    partial: Ints
    iou: Iou = "bbox"
    shapes: Shapes | None = None

    @property
    def left_out(self) -> Bools:
        """Which objects (n,) count neither for nor against: crowds, and people without a labelled keypoint."""
        if self.iou != "keypoints" or self.shapes is None:
            return self.crowd
        return np.asarray(self.crowd | ~(self.shapes[..., 2] > 0).any(axis=1))

    def take(self, kept: Bools) -> "Truth":
        """Give the objects that a flag (n,) is set for, in their order."""
        boxes = Boxes(self.boxes.image[kept], self.boxes.category[kept], self.boxes.bbox[kept])
        shapes = None if self.shapes is None else self.shapes[kept]
        return replace(self, boxes=boxes, area=self.area[kept], crowd=self.crowd[kept], shapes=shapes)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The found objects.

    Attributes:
        boxes: their boxes.
        score: their scores (n,).
        area: their areas (n,) in square pixels: of the box, the mask, or the box around the keypoints.
        shapes: as in `Truth`.
        box_score: the scores (n,) of their boxes, where those are others: a pose has its own.
    """

    boxes: Boxes
    score: Floats
    area: Floats
    shapes: Shapes | None = None
    box_score: Floats | None = None

    @property
    def threshold_score(self) -> Floats:
        """The scores (n,) that the threshold of a request is compared with."""
        return self.score if self.box_score is None else self.box_score

    def take(self, chosen: Ints) -> "Found":
        """Give the objects at these positions, in their order."""
        boxes = Boxes(self.boxes.image[chosen], self.boxes.category[chosen], self.boxes.bbox[chosen])
        shapes = None if self.shapes is None else self.shapes[chosen]
        box_score = None if self.box_score is None else self.box_score[chosen]
        return Found(boxes, self.score[chosen], self.area[chosen], shapes, box_score)


def join(parts: Sequence[Found]) -> Found:
    """Put found objects one after the other; there is at least one part."""
    shapes = [one.shapes for one in parts if one.shapes is not None]
    box_scores = [one.box_score for one in parts if one.box_score is not None]
    return Found(
        Boxes(
            np.concatenate([one.boxes.image for one in parts]),
            np.concatenate([one.boxes.category for one in parts]),
            np.concatenate([one.boxes.bbox for one in parts]),
        ),
        np.concatenate([one.score for one in parts]),
        np.concatenate([one.area for one in parts]),
        np.concatenate(shapes) if shapes else None,
        np.concatenate(box_scores) if box_scores else None,
    )


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


def clean(name: str, *, qualified: bool = False) -> str:
    """Write the name of a category as a prompt: `baseball_bat` becomes "baseball bat".

    What is in parentheses is left out: "bow_(weapon)" becomes "bow", or "bow weapon" if `qualified`.
    """
    spaced = _QUALIFIER.sub(r" \1 " if qualified else " ", name.replace("_", " "))
    words = " ".join(spaced.split())
    return words[:-1].rstrip() if words.find(".") == len(words) - 1 else words


class Vocabulary:
    """The prompts of categories.

    Two names that would be equal keep what is in their parentheses. A prompt that several categories still share
    stands for each of them. With synonyms, each category also has those that no other one has.

    Args:
        categories: the categories, by position.
        synonyms: use their synonyms too.

    Raises:
        InputError: a category has no name.
    """

    def __init__(self, categories: Sequence[Category], *, synonyms: bool = False) -> None:
        short = Counter(clean(one.name).casefold() for one in categories)
        self._prompts: list[tuple[str, ...]] = []
        for one in categories:
            prompt = clean(one.name)
            if short[prompt.casefold()] > 1 or not prompt:
                prompt = clean(one.name, qualified=True)
            if not prompt:
                raise InputError(f"a category has the name {one.name!r}, which cannot be a prompt; name it by a noun")
            self._prompts.append((prompt,))
        if synonyms:
            self._add_synonyms(categories)
        self._categories: dict[str, list[int]] = defaultdict(list)
        for place, prompts in enumerate(self._prompts):
            for prompt in prompts:
                self._categories[prompt.casefold()].append(place)

    def __len__(self) -> int:
        return len(self._prompts)

    def prompts(self, categories: Iterable[int]) -> tuple[str, ...]:
        """List the prompts of some categories, each once."""
        named = {prompt.casefold(): prompt for place in categories for prompt in self._prompts[place]}
        return tuple(named.values())

    def categories(self, label: str) -> Sequence[int]:
        """Give the positions of the categories that a label stands for."""
        return self._categories.get(label.casefold(), ())

    @property
    def shared(self) -> list[str]:
        """The prompts that stand for several categories."""
        return [prompt for prompt, categories in self._categories.items() if len(categories) > 1]

    def _add_synonyms(self, categories: Sequence[Category]) -> None:
        further = [dict.fromkeys(clean(name) for name in one.synonyms) for one in categories]
        names = Counter(prompt.casefold() for prompts in self._prompts for prompt in prompts)
        everywhere = Counter(name.casefold() for one in further for name in one)
        for place, own in enumerate(further):
            unique = [name for name in own if name and everywhere[name.casefold()] == 1 and not names[name.casefold()]]
            self._prompts[place] += tuple(unique)
