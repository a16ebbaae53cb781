"""What is drawn, and how strongly."""

from typing import Annotated, Literal

from pydantic import Field

from dinox_mcp.drawing.colors import Color, color_of, color_of_number
from dinox_mcp.schema import DetectedObject, Value


class Style(Value):
    """Which parts of an object are drawn.

    `labels` are label and score, `opacity` fills the masks, `keypoints` are the bones of bodies and hands, and
    `captions` a model's words about the object (caption, category, text). Colours tell labels apart, or single objects
    by their number, as of tracks.

    Numbers without boxes and labels are for counting: each object is a dot, with its number beside it.
    """

    boxes: bool = True
    masks: bool = True
    labels: bool = True
    numbers: bool = True
    keypoints: bool = True
    captions: bool = True
    color_by: Literal["label", "number"] = "label"
    opacity: Annotated[float, Field(ge=0, le=1)] = 0.4

    @property
    def dots(self) -> bool:
        """Whether objects are dots to be counted."""
        return self.numbers and not self.boxes and not self.labels

    def color_of(self, found: DetectedObject) -> Color:
        """Pick the colour of an object."""
        return color_of(found.label) if self.color_by == "label" else color_of_number(found.id)
