"""The values that everything speaks: what is asked, what is found, and in which pixels.

One pixel frame throughout: the original picture as a person sees it (EXIF orientation applied), x to the
right, y down, origin in the upper left corner, pixel edges at whole numbers.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

BBox = Annotated[
    tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat],
    Field(description="[x_min, y_min, x_max, y_max] in pixels of the original image"),
]
Score = Annotated[float, Field(ge=0, le=1)]
Output = Literal["masks"]


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


class Detection(Value):
    """One thing that a backend found: `bbox` in original pixels, `score` only where the model gives one.

    `text` is a transcript (text in the picture) or the decoded content (codes, markers).
    """

    label: str
    bbox: BBox
    score: Score | None = None
    mask: Mask | None = None
    text: str | None = None


class DetectedObject(Detection):
    """A detection with the number that stands for it in a result, on its picture and in later calls."""

    id: int = Field(ge=1)


class DetectionRequest(Value):
    """What is asked of a backend; `prompts` is None for "everything that you can find"."""

    prompts: tuple[str, ...] | None = None
    min_score: float = Field(default=0.25, ge=0, le=1)
    iou_threshold: float = Field(default=0.8, ge=0, le=1)
    include: frozenset[Output] = frozenset()


class Detections(Value):
    """What a backend answers, best guesses unfiltered by count; `notes` tell what the caller must know.

    `unsearched` names the prompts that it did not look for, which so must not count as absent.
    """

    model: str
    objects: tuple[Detection, ...]
    notes: tuple[str, ...] = ()
    unsearched: tuple[str, ...] = ()


class ImageInfo(Value):
    """The picture that was looked at: size in pixels as a person sees it, and where it came from."""

    width: int = Field(gt=0)
    height: int = Field(gt=0)
    source: str = ""


class DetectionResult(Value):
    """The answer to one call: numbered objects, and everything that says how they were made.

    `counts` counts every object found, the `omitted` ones beyond `max_objects` too, and says 0 for each prompt that
    found nothing.
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


def count_labels(objects: Iterable[Detection], asked: Iterable[str] = ()) -> dict[str, int]:
    """Count objects per label, most frequent first, and 0 for what was asked for and not found."""
    counts = dict(Counter(found.label for found in objects).most_common())
    return counts | {label: 0 for label in asked if label not in counts}
