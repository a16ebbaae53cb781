"""Contenders in processes of their own: a line of JSON in, a line of JSON out."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.harness import BenchmarkError, clean_environment

THREADS = 2
_ROOT = Path(__file__).parents[2]


class Child:
    """A process that runs one of this package's modules and does what it is asked to."""

    def __init__(self, module: str, *arguments: str, paths: tuple[Path, ...] = ()) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self.popen = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.local.{module}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=environment(paths),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.popen.kill()
        self.popen.communicate()
        self._stderr.close()

    def ask(self, what: str, **arguments: object) -> Any:  # noqa: ANN401 - whatever the contender measured
        """Have something done and give what was measured.

        Raises:
            BenchmarkError: the process failed.
        """
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.popen.stdin.write(json.dumps([what, arguments]).encode() + b"\n")
            self.popen.stdin.flush()
        line = self.popen.stdout.readline()
        if not line:
            self.popen.wait()
            self._stderr.seek(0)
            raise BenchmarkError(f"{what} failed: {self._stderr.read()[-3000:].decode(errors='replace')}")
        return json.loads(line)


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
