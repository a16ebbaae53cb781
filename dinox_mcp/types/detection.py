"""The values that everything speaks: what is asked, what is found, and in which pixels.

One pixel frame throughout: the original picture as a person sees it (EXIF orientation applied), x to the
right, y down, origin in the upper left corner, pixel edges at whole numbers.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

BBox = Annotated[
    tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat],
    Field(description="[x_min, y_min, x_max, y_max] in pixels of the original image"),
]
Point = Annotated[tuple[FiniteFloat, FiniteFloat], Field(description="[x, y] in pixels of the original image")]
Score = Annotated[float, Field(ge=0, le=1)]
Output = Literal["masks", "pose", "hands", "caption", "category", "text"]
OUTPUTS: tuple[Output, ...] = get_args(Output)
"""What there may be of an object besides its label, score and box: `pose` and `hands` are keypoints."""
Need = Literal[
    "text prompts",
    "prompt-free detection",
    "descriptions",
    "examples",
    "points as examples",
    "negative examples",
    "examples in other pictures",
    "saved prompts",
]
"""What a question takes, and what a backend may be able to do."""


MAX_TILES = 8
"""As many parts as the long side of a picture may be cut into."""


class Value(BaseModel):
    """A frozen value that knows all its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
    """One thing that a backend found: `bbox` in original pixels, `score` only where the model gives one.

    `text` is a transcript (text in the picture) or the decoded content (codes, markers); `caption` and `category`
    are a model's words about the region. `owner` is the box of another detection that this one is a part of.
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
    """A detection with the number that stands for it in a result, on its picture and in later calls.

    `part_of` is the number of the object that it belongs to, as a face belongs to a person.
    """

    id: int = Field(ge=1)
    part_of: int | None = None


class Embedding(Value):
    """What a model made of examples, to be asked again: only `model` of `backend` understands `data` (base64)."""

    backend: str
    model: str
    data: str = Field(repr=False)


class Example(Value):
    """A visual prompt: a `bbox` or a `point` in a picture, or an `embedding`; exactly one of them.

    `image` is the digest of the picture that it is in, empty for the picture that is searched. Where `negative`, what
    looks like it is not meant.
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
    """What is asked of a backend: one of `prompts`, `examples` and `description`, or none for everything it can find.

    `caption` is a sentence that the prompts are phrases of: a backend that reads sentences looks for each in its
    context. `description` tells one thing from others like it, as in "the man in red left of the car". `model` is None
    for the backend's default. Where a caller gives no `min_score` or `iou_threshold`, the model's own are filled in
    before a backend is asked (see `routing`). `tiles` is how many parts the long side is cut into; the backend is asked
    part by part and need not mind it.
    """

    prompts: tuple[str, ...] | None = None
    caption: str | None = None
    examples: tuple[Example, ...] = ()
    description: str | None = None
    model: str | None = None
    tiles: int = Field(default=1, ge=1, le=MAX_TILES)
    min_score: float = Field(default=0.25, ge=0, le=1)
    iou_threshold: float = Field(default=0.8, ge=0, le=1)
    include: frozenset[Output] = frozenset()

    @property
    def needs(self) -> frozenset[Need]:
        """Name what a backend must be able to do to answer."""
        if self.description is not None:
            return frozenset({"descriptions"})
        if self.prompts is not None:
            return frozenset({"text prompts"})
        if not self.examples:
            return frozenset({"prompt-free detection"})
        return frozenset(need for example in self.examples for need in _needs(example))


class Detections(Value):
    """What a backend answers, best guesses unfiltered by count; `notes` tell what the caller must know.

    `unsearched` names the prompts that it did not look for, which so must not count as absent; `unknown` those of them
    whose meaning it does not know. Where not `complete`, it ran out of time, and the same question is worth asking
    again.
    """

    model: str
    objects: tuple[Detection, ...]
    notes: tuple[str, ...] = ()
    unsearched: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    complete: bool = True


class ImageInfo(Value):
    """The picture that was looked at: size in pixels as a person sees it, and where it came from."""

    width: int = Field(gt=0)
    height: int = Field(gt=0)
    source: str = ""


class Source(Value):
    """Which backend and model answered a part of a question, and with which thresholds.

    `labels` are the labels that it was asked for, or those that it found where none were named.
    """

    backend: str
    model: str
    labels: tuple[str, ...]
    min_score: float
    iou_threshold: float


class DetectionResult(Value):
    """The answer to one call: numbered objects, and everything that says how they were made.

    `counts` counts every object found, the `omitted` ones beyond `max_objects` too, and says 0 for each prompt that
    found nothing. `sources` says who answered which part where several backends did.
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
        yield "examples in other pictures"
    if example.negative:
        yield "negative examples"


def certainty(found: Detection) -> float:
    """Rank by score; what comes without one, such as a decoded code, is certain."""
    return 1.0 if found.score is None else found.score


def count_labels(objects: Iterable[Detection], asked: Iterable[str] = ()) -> dict[str, int]:
    """Count objects per label, most frequent first, and 0 for what was asked for and not found."""
    counts = dict(Counter(found.label for found in objects).most_common())
    return counts | {label: 0 for label in asked if label not in counts}
