"""What is labelled in the images of a data set, what is found in them, and the prompts of the categories."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
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

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The positions of image and category of each."""
        return list(zip(self.image.tolist(), self.category.tolist(), strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class Truth(Boxes):
    """The labelled objects of a data set, which has so many `images` and `categories`.

    Attributes:
        area: their areas (n,) in square pixels, of the mask where there is one.
        crowd: whether each (n,) is a region of many objects, which counts neither for nor against.
        absent: image and category (m, 2), where the category is known to be absent.
        partial: image and category (m, 2), where not every object of the category is labelled.
        iou: what is compared.
        shapes: masks (n,) as pycocotools encodes them, or keypoints (n, 17, 3); None where boxes are compared.
    """

    images: int
    categories: int
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

    def take(self, kept: Bools | Ints) -> "Truth":
        """Give the objects that a flag (n,) is set for, or those at some positions, in their order."""
        of_each = {name: getattr(self, name)[kept] for name in ("image", "category", "bbox", "area", "crowd")}
        shapes = None if self.shapes is None else self.shapes[kept]
        return replace(self, **of_each, shapes=shapes)


def unlabelled(images: int, categories: int) -> Truth:
    """Make the truth of images in which no object is labelled."""
    none, pairs = np.zeros(0, int), np.zeros((0, 2), int)
    return Truth(none, none, np.zeros((0, 4)), images, categories, np.zeros(0), np.zeros(0, bool), pairs, pairs)


@dataclass(frozen=True, slots=True, eq=False)
class Found(Boxes):
    """The found objects.

    Attributes:
        score: their scores (n,).
        area: their areas (n,) in square pixels: of the box, the mask, or the box around the keypoints.
        shapes: as in `Truth`.
        box_score: the scores (n,) of their boxes, where those are others: a pose has its own.
    """

    score: Floats
    area: Floats
    shapes: Shapes | None = None
    box_score: Floats | None = None

    @property
    def threshold_score(self) -> Floats:
        """The scores (n,) that the threshold of a request is compared with."""
        return self.score if self.box_score is None else self.box_score

    def take(self, chosen: Ints | slice) -> "Found":
        """Give the objects at these positions, in their order."""
        taken: list[Any] = [None if array is None else array[chosen] for array in self.arrays()]
        return Found(*taken)

    def arrays(self) -> tuple[Any, ...]:
        """Give the values of all fields."""
        return tuple(getattr(self, one.name) for one in fields(self))


def join(parts: Sequence[Found]) -> Found:
    """Put found objects one after the other; there is at least one part."""
    columns = zip(*(one.arrays() for one in parts), strict=True)
    joined: list[Any] = [None if column[0] is None else np.concatenate(column) for column in columns]
    return Found(*joined)


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
        numbers: the number of each category in the file.
        truth: the labelled objects; none where only counts are labelled.
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
