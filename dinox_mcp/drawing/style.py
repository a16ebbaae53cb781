"""What is drawn, and how strongly."""

from typing import Annotated

from pydantic import Field

from dinox_mcp.schema import Value


class Style(Value):
    """Which parts of an object are drawn; `labels` are label and score, `opacity` fills the masks."""

    boxes: bool = True
    masks: bool = True
    labels: bool = True
    numbers: bool = True
    opacity: Annotated[float, Field(ge=0, le=1)] = 0.4
