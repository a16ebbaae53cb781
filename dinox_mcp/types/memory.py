"""What kept answers take in memory, about, as the bounds of the caches count in it; and giving memory back."""

import ctypes
import gc
import sys
from collections.abc import Iterable
from functools import cache

from dinox_mcp.types.detection import Detection, DetectionRequest

_BASE = 1300
_OBJECT = 750
_KEYPOINT = 1070
"""Bytes of an answer with its question, of each object and keypoint, without strings: measured with tracemalloc."""

# Of <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BLOCK = 1024 * 1024


def footprint(request: DetectionRequest, objects: Iterable[Detection], strings: Iterable[str] = ()) -> int:
    """Estimate the bytes that an answer takes with its question, and `strings` that come with it."""
    saved = (example.embedding.data for example in request.examples if example.embedding)
    total = _BASE + sum(map(sys.getsizeof, (*(request.prompts or ()), *saved, *strings)))
    total += _OBJECT * len(request.examples)
    for found in objects:
        total += _OBJECT
        total += sum(sys.getsizeof(words) for words in (found.text, found.caption, found.category) if words)
        total += sys.getsizeof(found.mask.counts) if found.mask else 0
        total += _KEYPOINT * len(found.keypoints)
    return total


def trim() -> None:
    """Give memory that was freed back to the system: glibc keeps what large pictures and models took."""
    gc.collect()
    if sys.platform == "linux":
        trimmed = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have no such function
        if trimmed:
            trimmed(0)


@cache
def return_freed_blocks() -> None:
    """Have glibc give every freed block of a megabyte or more back at once, in all threads, from now on.

    Left alone it raises that threshold to 32 MiB with use, and keeps gigabytes of pictures in the heaps of threads.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt:
            mallopt(_M_MMAP_THRESHOLD, _KEPT_BLOCK)
            mallopt(_M_TRIM_THRESHOLD, _KEPT_BLOCK)
