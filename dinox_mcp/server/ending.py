"""How the process ends when it must, whatever its threads still do."""

import os
import sys
import threading
from contextlib import suppress


def end_within(seconds: float) -> None:
    """End the process after some seconds at most: a thread that draws cannot be stopped, and Python waits for it."""

    def end() -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(0)

    timer = threading.Timer(seconds, end)
    timer.daemon = True  # where everything ends earlier, so does this
    timer.start()
