"""Contenders in processes of their own: a line of JSON in, a line of JSON out."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import Process, clean_environment

THREADS = 2
_ROOT = Path(__file__).parents[2]


class Child(Process):
    """A process that runs one of this package's modules and does what it is asked to."""

    def __init__(
        self, module: str, *arguments: str, paths: tuple[Path, ...] = (), more: Mapping[str, str] | None = None
    ) -> None:
        command = [sys.executable, "-m", f"benchmarks.local.{module}", *arguments]
        super().__init__(command, {**environment(paths), **(more or {})})

    def ask(self, what: str, **arguments: object) -> Any:  # noqa: ANN401 - whatever the contender measured
        """Have something done and give what was measured.

        Raises:
            BenchmarkError: the process failed.
        """
        with contextlib.suppress(BrokenPipeError):
            self.say([what, arguments])
        return self.hear()


def environment(paths: tuple[Path, ...] = ()) -> Mapping[str, str]:
    """Give the same environment to all: no settings of this machine, the hub out of reach, so many threads."""
    mine = os.environ.get("PYTHONPATH", "")
    return clean_environment() | {
        "PYTHONPATH": os.pathsep.join([*map(str, paths), str(_ROOT), *filter(None, [mine])]),
        "OMP_NUM_THREADS": str(THREADS),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "PYTHONWARNINGS": "ignore",
    }


def serve(handlers: Mapping[str, Callable[..., object]]) -> None:
    """Be such a process. What libraries print goes to stderr."""
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        what, arguments = json.loads(line)
        print(json.dumps(handlers[what](**arguments)), file=answers, flush=True)
