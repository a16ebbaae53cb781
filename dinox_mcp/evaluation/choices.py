"""How a data set is evaluated: what is searched for, what is compared, and how much of it is kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from dinox_mcp.detect.options import MAX_PROMPTS, Options
from dinox_mcp.evaluation.datasets import Kind
from dinox_mcp.evaluation.labelled import Iou
from dinox_mcp.evaluation.precision import COCO, COCO_KEYPOINTS, LVIS, LVIS_FIXED, Rules
from dinox_mcp.types.detection import Output

MOST: Mapping[Iou, int] = {"bbox": 1000, "segm": 300, "keypoints": 100}
"""Objects of an image that a run keeps, those that score highest."""
INCLUDE: Mapping[Iou, tuple[Output, ...]] = {"bbox": (), "segm": ("masks",), "keypoints": ("pose",)}
"""The outputs that are requested besides boxes."""
LEAST: Mapping[Iou, float] = {"bbox": 0.01, "segm": 0.01, "keypoints": 0.05}
"""The lowest score that is searched for where the low ones count; a pose takes time for each box."""


@dataclass(frozen=True, slots=True)
class Choices:
    """How a data set is evaluated.

    Attributes:
        kind: what is labelled, and by which rules it is compared.
        prompts: search each image for the categories of the data set, or only for those that are labelled in it.
        synonyms: search for synonyms of categories too.
        prompts_per_call: most prompts of one request.
        max_calls: calls to a paid backend that the run may take; None for the settings' own limit.
        options: the model and thresholds of the requests.
        tunes: the best thresholds are wanted, for which counts must be known at lower ones.
    """

    kind: Kind
    prompts: Literal["all", "present"] = "all"
    synonyms: bool = False
    prompts_per_call: int = MAX_PROMPTS
    max_calls: int | None = None
    options: Options = field(default_factory=Options)
    tunes: bool = False


def rules_of(kind: Kind, iou: Iou) -> tuple[Rules, ...]:
    """Give the rules by which objects are compared; none where only their numbers are."""
    if kind == "count":
        return ()
    if kind == "lvis":
        return LVIS, LVIS_FIXED
    return (COCO_KEYPOINTS,) if iou == "keypoints" else (COCO,)
