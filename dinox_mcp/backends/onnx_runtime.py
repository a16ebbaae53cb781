"""ONNX Runtime, which only this module imports, with its telemetry off."""

import os
from types import ModuleType
from typing import Any


def onnxruntime() -> ModuleType:
    """Import ONNX Runtime with its telemetry off.

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
