"""Shows what a change does to a file, without the secrets that stand in it."""

import difflib
import re
from pathlib import Path

# Bounded everywhere: a host's file may be megabytes of history.
_NAME = r"(?:key|token|secret|passw|auth|credential|cookie|(?<![a-z])pat(?![a-z]))[\w.-]{0,32}"
_OPTION = rf"[\w.-]{{0,32}}?{_NAME}"
_TEXT = r"""("(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_WHOLE = (
    re.compile(rf"""({_NAME}["']?\s*[:=]\s*){_TEXT}""", re.IGNORECASE),
    re.compile(rf"""(["']--?{_OPTION}["']\s*,\s*){_TEXT}""", re.IGNORECASE),  # of a list of arguments
)
_INSIDE = (
    re.compile(rf"""((?:[?&]|--?){_OPTION}=|\bBearer )[^\s"'&]+""", re.IGNORECASE),
    re.compile(r"""(://[^\s/"':@]{0,64}:)[^\s/"'@]+(?=@)"""),  # of an address with a password
)


def difference(path: Path, before: str, after: str, key: str | None) -> str:
    """Compare two texts of a file line by line; the `key`, and what looks like a secret of others, is masked."""
    old, new = (_masked(text.replace(key, "********") if key else text) for text in (before, after))
    return "\n".join(difflib.unified_diff(old.splitlines(), new.splitlines(), str(path), f"{path} (new)", lineterm=""))


def is_reference(value: str) -> bool:
    """Tell whether a value names a variable that its host puts in."""
    return value.startswith(("${", "{env:"))


def _masked(text: str) -> str:
    for pattern in _WHOLE:
        text = pattern.sub(_shown, text)
    for pattern in _INSIDE:
        text = pattern.sub(r"\1***", text)
    return text


def _shown(match: re.Match[str]) -> str:
    return match[0] if "********" in match[2] or is_reference(match[2][1:]) else f'{match[1]}"***"'
