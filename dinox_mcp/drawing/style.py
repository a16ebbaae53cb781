"""What is drawn, and how strongly."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from pydantic import Field

from dinox_mcp.drawing.colors import Color, by_label, color_of_number
from dinox_mcp.schema import DetectedObject, Value


class Style(Value):
    """Which parts of an object are drawn.

    `labels` are label and score, `opacity` fills the masks, `keypoints` are the bones of bodies and hands, and
    `captions` a model's words about the object (caption, category, text). Colours tell labels apart, or single objects
    by their number, as of tracks. `all_labels` are those of the whole image, where only some of its objects are drawn.

    Numbers without boxes and labels are for counting: each object is a dot, with its number beside it.
    """

    boxes: bool = True
    masks: bool = True
    labels: bool = True
    numbers: bool = True
    keypoints: bool = True
    captions: bool = True
    color_by: Literal["label", "number"] = "label"
    all_labels: tuple[str, ...] = ()
    opacity: Annotated[float, Field(ge=0, le=1)] = 0.4

    @property
    def dots(self) -> bool:
        """Whether objects are dots to be counted."""
        return self.numbers and not self.boxes and not self.labels

    def colors(self, objects: Sequence[DetectedObject]) -> Callable[[DetectedObject], Color]:
        """Say how objects are coloured that are drawn together."""
        if self.color_by == "number":
            return lambda found: color_of_number(found.id)
        return by_label(self.all_labels or (found.label for found in objects))
