"""Sessions of ONNX Runtime, which is imported here and nowhere else.

ONNX Runtime 1.32 for Linux collects telemetry: it writes a device id below the user's cache folder and contacts a
host of Microsoft. An environment variable prevents both, but only if it is set before the first import. That is why
all other modules load their networks through this one.
"""

import os
from pathlib import Path
from types import ModuleType
from typing import Any

from dinox_mcp.errors import BackendError

MOST_THREADS = 8


def session(path: Path, name: str, remedy: str, *, threads: int = MOST_THREADS, arena: bool = False) -> Any:  # noqa: ANN401 - ONNX Runtime has no types
    """Load a network.

    Args:
        path: The ONNX file.
        name: What error messages call the file, such as "the text model x.onnx".
        remedy: What to do about a file that is missing or damaged.
        threads: The most threads that one run uses; there are never more than cores.
        arena: Whether the session keeps the memory of a run for the next one. This is a little faster. It suits
            networks whose inputs never grow large.

    Returns:
        The `onnxruntime.InferenceSession`.

    Raises:
        BackendError: the file is missing or does not load.
    """
    onnxruntime = _onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # only fatal errors: ONNX Runtime logs to stderr, past Python
    options.enable_cpu_mem_arena = arena
    options.intra_op_num_threads = min(threads, _cores())
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads sleep
    if not path.is_file():
        raise BackendError(f"{name} is missing; {remedy}")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BackendError(f"{name} does not load ({type(error).__name__}); {remedy}") from error


def _cores() -> int:
    """Count the cores that this process may use, which a container or taskset may restrict."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _onnxruntime() -> ModuleType:
    """Import ONNX Runtime with its telemetry off.

    The variable keeps the library from starting telemetry when it is loaded. The call turns off the events of builds
    that do not know the variable; by itself it comes too late, as the files are written during the import.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    module: ModuleType = onnxruntime
    return module
