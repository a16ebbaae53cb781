"""Requests, detections and results.

All coordinates are in pixels of the original image as a person sees it, with EXIF orientation applied: x to the right,
y down, origin in the upper left corner, pixel edges at integers.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from dinox_mcp.errors import NotFoundError

BBox = Annotated[
    tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat],
    Field(description="[x_min, y_min, x_max, y_max] in pixels of the original image"),
]
Point = Annotated[tuple[FiniteFloat, FiniteFloat], Field(description="[x, y] in pixels of the original image")]
Score = Annotated[float, Field(ge=0, le=1)]
Output = Literal["masks", "pose", "hands", "caption", "category", "text"]
OUTPUTS: tuple[Output, ...] = get_args(Output)
"""What an object may have besides its label, score and box; `pose` and `hands` are keypoints."""
Need = Literal[
    "text prompts", "prompt-free detection", "descriptions", "examples", "points as examples", "negative examples",
    "examples in other images", "saved prompts",
]  # fmt: skip
"""What a request needs, and what a backend may be able to do."""
MIN_SCORE = 0.25
"""Objects that score less are not given, unless the model or the caller names another threshold."""
IOU_THRESHOLD = 0.8
"""Boxes of one label that overlap more count as one object, unless the model or the caller names another threshold."""
MAX_TILES = 8  # parts that the long side of an image may be cut into
_MOST_NUMBERS = 20


class Value(BaseModel):
    """A frozen value that refuses unknown fields."""

    # Built at first use: `initialize` need not wait for it.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Mask(Value):
    """A binary mask as compressed COCO run-length encoding.

    `size` is [height, width] of the original image and `counts` the string that pycocotools writes
    (column-major runs, LEB128-like, offset by 48).
    """

    size: tuple[int, int]
    counts: str


class Keypoint(Value):
    """A named point of a body or hand (see `keypoints`), in pixels of the original image.

    `visibility` is 0 (not there), 1 (hidden) or 2 (seen), `score` the model's confidence; each only where it is given.
    """

    name: str
    x: FiniteFloat
    y: FiniteFloat
    visibility: int | None = Field(default=None, ge=0, le=2)
    score: Score | None = None


class Detection(Value):
    """An object that a backend found.

    Attributes:
        label: as the caller wrote it, or as the model names it.
        bbox: (x_min, y_min, x_max, y_max) in pixels of the original image.
        score: the model's confidence from 0 to 1; None where it gives none, as for decoded codes.
        mask: the object's pixels, at the size of the image.
        keypoints: points of its body or hand.
        caption: a sentence of a model about it.
        category: what a model calls it.
        text: a transcript of text in the image, or the decoded content of a code or marker.
        owner: the box of another detection that this one is a part of, as a face is of a person.

    Example:
        Detection(label="dog", bbox=(10.0, 20.0, 60.0, 80.0), score=0.9)
    """

    label: str
    bbox: BBox
    score: Score | None = None
    mask: Mask | None = None
    keypoints: tuple[Keypoint, ...] = ()
    caption: str | None = None
    category: str | None = None
    text: str | None = None
    owner: BBox | None = None


class DetectedObject(Detection):
    """A detection in a result, with the number `id` that is drawn on the image and used in later calls.

    `part_of` is the number of the object that it is a part of, as a face is of a person.
    """

    id: int = Field(ge=1)
    part_of: int | None = None


class Embedding(Value):
    """Examples as a model encodes them, for later requests: only `model` of `backend` understands `data` (base64)."""

    backend: str
    model: str
    data: str = Field(repr=False)


class Example(Value):
    """A visual prompt: a `bbox` or a `point` in an image, or an `embedding`; exactly one of them.

    `image` is the digest of the image that it is in, empty for the one that is searched. If `negative`, objects that
    look like it are not wanted.
    """

    label: str = "object"
    bbox: BBox | None = None
    point: Point | None = None
    embedding: Embedding | None = None
    image: str = ""
    negative: bool = False

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        given = [part for part in (self.bbox, self.point, self.embedding) if part is not None]
        if len(given) != 1:
            raise ValueError("an example is a bbox, a point or a saved prompt, and only one of them")
        return self


class DetectionRequest(Value):
    """A request: `prompts`, `examples` or a `description`; without any of them, everything is to be found.

    Attributes:
        prompts: labels to find.
        caption: a sentence that the prompts are phrases of; a backend that reads sentences finds each in its context.
        examples: visual prompts.
        description: a sentence that describes the wanted object among similar ones, as in "the man in red left of the
            car".
        model: a model of the backend; None leaves the choice to it.
        tiles: how many parts the long side of the image is cut into; 1 searches the full image only.
        min_score: objects that score less are not given.
        iou_threshold: boxes of one label that overlap more are one object.
        include: outputs that are wanted besides labels, scores and boxes.

    The router fills in the model's own thresholds where the caller gives none.
    """

    prompts: tuple[str, ...] | None = None
    caption: str | None = None
    examples: tuple[Example, ...] = ()
    description: str | None = None
    model: str | None = None
    tiles: int = Field(default=1, ge=1, le=MAX_TILES)
    min_score: float = Field(default=MIN_SCORE, ge=0, le=1)
    iou_threshold: float = Field(default=IOU_THRESHOLD, ge=0, le=1)
    include: frozenset[Output] = frozenset()

    @property
    def needs(self) -> frozenset[Need]:
        """What a backend must be able to do to answer."""
        if self.description is not None:
            return frozenset({"descriptions"})
        if self.prompts is not None:
            return frozenset({"text prompts"})
        if not self.examples:
            return frozenset({"prompt-free detection"})
        return frozenset(need for example in self.examples for need in _needs(example))


class Detections(Value):
    """A backend's response.

    Attributes:
        model: the model that answered.
        objects: all that was found, however many.
        notes: what the caller must know about this response.
        unsearched: the prompts that were not searched for, which must not be counted as absent.
        unknown: those of them whose meaning the backend does not know.
        complete: False if time ran out; the same request may find more and is not cached.
    """

    model: str
    objects: tuple[Detection, ...]
    notes: tuple[str, ...] = ()
    unsearched: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    complete: bool = True


class ImageInfo(Value):
    """The image that was searched: its size in pixels as a person sees it, and where it came from.

    A page of a PDF has `pixels_per_point`: divided by it, pixels are PDF points from the top left of the page.
    """

    width: int = Field(gt=0)
    height: int = Field(gt=0)
    source: str = ""
    pixels_per_point: float | None = None


class Source(Value):
    """Which backend and model answered a part of a request, and with which thresholds.

    `labels` are the labels of this part, or those that were found if it names none.
    """

    backend: str
    model: str
    labels: tuple[str, ...]
    min_score: float
    iou_threshold: float


class DetectionResult(Value):
    """The result of a request: numbered objects, and how they were found.

    Attributes:
        result_id: names the result in later calls.
        backend: the backends that answered, joined by " + ".
        model: the models that answered, joined by " + ".
        image: the image that was searched.
        request: the request, with the model and thresholds that were used.
        objects: numbered from 1; at most `max_objects`, those that score highest.
        counts: all objects found of each label, omitted ones too; 0 for each prompt that found nothing.
        omitted: how many objects were found and are not in `objects`.
        cached: nothing was computed or paid for, as the same request was answered before.
        notes: what the caller must know about this result.
        sources: which backend answered which part, if several did.
    """

    result_id: str
    backend: str
    model: str
    image: ImageInfo
    request: DetectionRequest
    objects: tuple[DetectedObject, ...]
    counts: dict[str, int]
    omitted: int = 0
    cached: bool = False
    notes: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()


def _needs(example: Example) -> Iterator[Need]:
    yield "examples"
    if example.point is not None:
        yield "points as examples"
    if example.embedding is not None:
        yield "saved prompts"
    if example.image:
        yield "examples in other images"
    if example.negative:
        yield "negative examples"


def certainty(found: Detection) -> float:
    """The score; 1 for an object without one, such as a decoded code."""
    return 1.0 if found.score is None else found.score


def count_labels(objects: Iterable[Detection], labels: Iterable[str] = ()) -> dict[str, int]:
    """Count objects of each label, most frequent first, with 0 for those of `labels` that were not found."""
    counts = dict(Counter(found.label for found in objects).most_common())
    return counts | {label: 0 for label in labels if label not in counts}


def get_object(objects: Sequence[DetectedObject], number: int) -> DetectedObject:
    """Give an object of a result by its number.

    Raises:
        NotFoundError: no object has this number; the message says which numbers there are.
    """
    for found in objects:
        if found.id == number:
            return found
    numbers = [found.id for found in objects]
    known = f"the numbers are {_ranges(numbers)}" if numbers else "there are no objects"
    raise NotFoundError(f"there is no object {number}; {known}")


def _ranges(numbers: Sequence[int]) -> str:
    """Write numbers shortly: "1 to 4", or as a list where some are missing."""
    if len(numbers) == numbers[-1] - numbers[0] + 1:
        return f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else str(numbers[0])
    shown = ", ".join(map(str, numbers[:_MOST_NUMBERS]))
    return f"{shown}, ..." if len(numbers) > _MOST_NUMBERS else shown
