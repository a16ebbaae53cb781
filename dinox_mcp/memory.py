"""What kept answers take in memory, about: the bounds of the caches count in it."""

import sys
from collections.abc import Iterable

from dinox_mcp.schema import Detection, DetectionRequest

_BASE = 1300
_OBJECT = 750
"""Bytes of an answer with its question, and of each object, without their strings: measured with tracemalloc."""


def footprint(request: DetectionRequest, objects: Iterable[Detection], strings: Iterable[str] = ()) -> int:
    """Estimate the bytes that an answer takes with its question, and `strings` that come with it."""
    total = _BASE + sum(map(sys.getsizeof, (*(request.prompts or ()), *strings)))
    for found in objects:
        total += _OBJECT
        total += sys.getsizeof(found.text) if found.text else 0
        total += sys.getsizeof(found.mask.counts) if found.mask else 0
    return total
