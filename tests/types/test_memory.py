"""Freed memory goes back to the system."""

import subprocess
import sys
from pathlib import Path

import pytest

_CODE = """
import ctypes, sys, threading
from dinox_mcp.types.memory import return_freed_blocks

libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
if sys.argv[2] == "return":
    return_freed_blocks()
together = threading.Barrier(8)
def work():
    libc.malloc(1000)
    together.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="malloc_info is glibc's")
@pytest.mark.parametrize(("how", "are_few"), [("return", True), ("leave", False)])
def test_threads_share_two_heaps(tmp_path: Path, how: str, *, are_few: bool) -> None:
    report = tmp_path / "heaps.xml"
    subprocess.run([sys.executable, "-c", _CODE, str(report), how], check=True)  # noqa: S603 - our own code
    heaps = report.read_text().count("<heap nr=")
    assert (heaps <= 2) is are_few
