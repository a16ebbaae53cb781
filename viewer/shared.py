# ruff: noqa: INP001 - a script, no package
"""Write `src/shared.json`: what the page draws as the Python package does. Run it from the repository's root."""

import json
from pathlib import Path

from dinox_mcp.drawing import lines, style
from dinox_mcp.types.keypoints import BODY, BODY_BONES, HAND_BONES, LEAST_SCORE

FILE = Path(__file__).parent / "src" / "shared.json"


def shared() -> dict[str, object]:
    """Gather colours, bones and names of points."""
    return {
        "step": style._STEP,  # noqa: SLF001 - the page picks the colour of a label in the same way
        "palette": [list(color) for color in style.PALETTE],
        "bodyPoints": list(BODY),
        "body": [list(bone) for bone in BODY_BONES],
        "hand": [list(bone) for bone in HAND_BONES],
        "leastPointScore": LEAST_SCORE,
        "left": list(lines.LEFT),
        "right": list(lines.RIGHT),
        "fingers": {name: list(color) for name, color in lines.FINGER_COLORS.items()},
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(shared()) + "\n")
