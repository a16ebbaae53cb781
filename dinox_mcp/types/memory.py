"""Memory that was freed goes back to the system, which glibc does not do by itself."""

import ctypes
import gc
import sys
from functools import cache

# Of <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BLOCK = 1024 * 1024


def trim() -> None:
    """Give memory that was freed back to the system: glibc keeps what large images and models took."""
    gc.collect()
    if sys.platform == "linux":
        trimmed = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have no such function
        if trimmed:
            trimmed(0)


@cache
def return_freed_blocks() -> None:
    """Have glibc give every freed block of a megabyte or more back at once, in all threads, from now on.

    Left alone it raises that threshold to 32 MiB with use, and keeps gigabytes of images in the heaps of threads.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt:
            mallopt(_M_MMAP_THRESHOLD, _KEPT_BLOCK)
            mallopt(_M_TRIM_THRESHOLD, _KEPT_BLOCK)
