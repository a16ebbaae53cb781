"""`python -m dinox_mcp.backends.local.process`: the models' process; its stdin and stdout are pipes of its parent."""

import os
import signal
import sys
from typing import BinaryIO


def main() -> None:
    """Answer until the parent closes the pipe or ends, then end at once, whatever is going on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    requests, answers = _take_pipes()
    from dinox_mcp.backends.local.process.service import serve

    serve(requests, answers, left=lambda: os._exit(0))


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Take stdin and stdout for ourselves: what libraries print goes to stderr."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return requests, answers


if __name__ == "__main__":
    main()
