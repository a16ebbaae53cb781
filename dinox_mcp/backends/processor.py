"""The processor: how much of it this process may use, what it computes well, and ONNX Runtime on it."""

import math
import os
import platform
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

_UNITS = frozenset({"amx_bf16", "amx_int8", "avx512_bf16", "avx512_vnni", "avx_vnni", "asimddp", "i8mm", "bf16"})
_CPUINFO = Path("/proc/cpuinfo")


def allowed_processors(limits: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Count the processors that this process may use, which a container, taskset or OMP_NUM_THREADS may restrict."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")  # Ray sets it to the share of a worker
    here = max(1, min(here, int(wanted))) if wanted.isdecimal() else here
    try:
        quota, period = map(int, limits.read_text(encoding="ascii").split())
    except (OSError, ValueError):  # no control groups, or "max"
        return here
    return max(1, min(here, math.ceil(quota / period)))


@cache
def name(cpuinfo: Path = _CPUINFO) -> str:
    """Return the name of the processor with its units for short numbers, as far as the system reports them."""
    model = _read(cpuinfo).get("model name") or platform.processor() or platform.machine()
    return ", ".join([model, *sorted(units(cpuinfo))])


@cache
def units(cpuinfo: Path = _CPUINFO) -> frozenset[str]:
    """Return which units for bfloat16 and int8 the processor has, by the names of Linux; empty on other systems."""
    read = _read(cpuinfo)
    return _UNITS & set((read.get("flags") or read.get("Features") or "").split())


def _read(cpuinfo: Path) -> dict[str, str]:
    """Read what Linux reports of the first processor."""
    try:
        first, _, _ = cpuinfo.read_text(encoding="utf-8", errors="replace").partition("\n\n")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def onnxruntime() -> ModuleType:
    """Import ONNX Runtime, which only this function does, with its telemetry off.

    The variable keeps the library from starting telemetry when it is loaded. The call turns off the events of builds
    that do not know the variable; by itself it comes too late, as the files are written during the import.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime as library

    library.disable_telemetry_events()
    module: ModuleType = library
    return module


def session_options(threads: int) -> Any:  # noqa: ANN401 - ONNX Runtime has no types
    """Make `SessionOptions` for at most so many threads of one run."""
    options = onnxruntime().SessionOptions()
    options.log_severity_level = 4  # only fatal errors: ONNX Runtime logs to stderr, past Python
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads sleep
    return options
