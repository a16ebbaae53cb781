"""What is drawn, and how strongly."""

from typing import Annotated

from pydantic import Field

from dinox_mcp.schema import Value


class Style(Value):
    """Which parts of an object are drawn.

    `labels` are label and score, `opacity` fills the masks, `keypoints` are the bones of bodies and hands, and
    `captions` a model's words about the object (caption, category, text).
    """

    boxes: bool = True
    masks: bool = True
    labels: bool = True
    numbers: bool = True
    keypoints: bool = True
    captions: bool = True
    opacity: Annotated[float, Field(ge=0, le=1)] = 0.4
