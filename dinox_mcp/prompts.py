"""What callers write as prompts: a list, "person . red car", "person, red car", or the vendor's "wolf.dog"."""

import re
from collections.abc import Sequence

from dinox_mcp.errors import InputError

MAX_PROMPTS = 300
MAX_PROMPT_LENGTH = 300
_SEPARATOR = re.compile(r"[,;\n、\uff0c\uff1b]+|\s\.+(?=\s|$)|\.+(?=\s|$)|(?<=[^\W\d_])\.(?=[^\W\d_])")


def parse_prompts(prompts: str | Sequence[str]) -> tuple[str, ...]:
    """Split into labels, each once, in the caller's order and spelling.

    Raises:
        InputError: nothing is asked for, or too much.
    """
    parts = [prompts] if isinstance(prompts, str) else prompts
    labels: dict[str, str] = {}
    for part in parts:
        for piece in _SEPARATOR.split(part):
            label = " ".join(piece.split()).strip(".")
            if label:
                labels.setdefault(label.casefold(), label)
    if not labels:
        raise InputError(
            'prompts is empty; name what to look for, as in ["person", "red car"], or call detect_prompt_free'
        )
    if len(labels) > MAX_PROMPTS:
        raise InputError(f"prompts has {len(labels)} labels, more than {MAX_PROMPTS}; split them over several calls")
    longest = max(labels.values(), key=len)
    if len(longest) > MAX_PROMPT_LENGTH:
        raise InputError(
            f"the prompt {longest[:40]!r}… has {len(longest)} characters, more than {MAX_PROMPT_LENGTH}; "
            "use short nouns"
        )
    return tuple(labels.values())
