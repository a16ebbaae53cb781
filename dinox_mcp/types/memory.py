"""Memory that was freed goes back to the system, which glibc does not do by itself."""

import ctypes
import gc
import sys
from functools import cache

# Of <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEPT_BLOCK = 1024 * 1024
_HEAPS = 2


def trim() -> None:
    """Give memory that was freed back to the system: glibc keeps what large images and models took."""
    gc.collect()
    if sys.platform == "linux":
        trimmed = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have no such function
        if trimmed:
            trimmed(0)


@cache
def return_freed_blocks() -> None:
    """Have glibc give freed memory back early, from now on: call it before there are many threads.

    Left alone it makes up to eight heaps for each core, and keeps in each what the largest call took: blocks of up to
    32 MiB. Blocks of a megabyte or more go back at once then, and all threads share two heaps.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt:
            mallopt(_M_ARENA_MAX, _HEAPS)
            mallopt(_M_MMAP_THRESHOLD, _KEPT_BLOCK)
            mallopt(_M_TRIM_THRESHOLD, _KEPT_BLOCK)
