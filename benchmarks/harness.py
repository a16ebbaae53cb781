"""Server processes, spoken to over their pipes, and what they take of the machine."""

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Self

Json = dict[str, Any]

_OURS = ("DINOX_", "IMAGE_STORAGE_DIRECTORY", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH")


class BenchmarkError(Exception):
    """Something that was to be measured did not run."""


class Process:
    """A process that takes lines and answers lines.

    The clock starts with the process; `seconds` tells what it says. Nothing of this machine's settings (keys,
    proxies) reaches the process but what is given in `environment`.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._started = time.perf_counter()
        self.popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=clean_environment() | dict(environment or {}),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.popen.kill()
        self.popen.communicate()
        self._stderr.close()

    def seconds(self) -> float:
        """Tell the time since the process was started."""
        return time.perf_counter() - self._started

    def errors(self) -> str:
        """Give what the process has written to stderr."""
        return os.pread(self._stderr.fileno(), 1_000_000, 0).decode(errors="replace")

    def say(self, message: object) -> None:
        """Send a message as a line of JSON."""
        assert self.popen.stdin is not None
        self.popen.stdin.write(json.dumps(message).encode() + b"\n")
        self.popen.stdin.flush()

    def hear(self) -> Any:  # noqa: ANN401 - whatever a process answers
        """Wait for a line of JSON.

        Raises:
            BenchmarkError: the process has ended.
        """
        assert self.popen.stdout is not None
        if line := self.popen.stdout.readline():
            return json.loads(line)
        self.popen.wait()
        raise BenchmarkError(f"{self.popen.args!r} ended: {self.errors()[-3000:]}")


class Server(Process):
    """A server process and the plainest of clients."""

    _number = 0

    def ask(self, method: str, params: Json | None = None, timeout_s: float = 60) -> Json:
        """Send a request and give its result.

        Raises:
            BenchmarkError: the answer is an error, or there is none in time.
        """
        self._number += 1
        self.say({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params or {}})
        answer = self._receive(self._number, timeout_s)
        if "result" not in answer:
            raise BenchmarkError(f"{method} was answered {answer}")
        result: Json = answer["result"]
        return result

    def initialize(self) -> Json:
        """Open the session as hosts of the 2025 protocol do, which all contenders speak."""
        about = {"name": "benchmarks", "version": "1"}
        result = self.ask("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": about})
        self.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return result

    def call(self, tool: str, **arguments: object) -> Json:
        """Call a tool.

        Raises:
            BenchmarkError: it answers with an error.
        """
        result = self.ask("tools/call", {"name": tool, "arguments": arguments})
        if result.get("isError"):
            raise BenchmarkError(f"{tool} failed: {text_of(result)}")
        return result

    def _receive(self, number: int, timeout_s: float) -> Json:
        watchdog = threading.Timer(timeout_s, self.popen.kill)
        watchdog.start()
        try:
            while True:
                message: Json = self.hear()
                if message.get("id") == number:
                    return message
        finally:
            watchdog.cancel()


def clean_environment() -> dict[str, str]:
    """Give this process's environment without what would change how a contender behaves."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_OURS) and not name.lower().endswith("_proxy")
    }


def median_s(work: Callable[[], object], rounds: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the median of the seconds that some work takes."""
    times = []
    for _ in range(rounds):
        started = clock()
        work()
        times.append(clock() - started)
    return median(times)


def text_of(result: Json) -> str:
    """Join the text of a tool's answer."""
    return "\n".join(block["text"] for block in result["content"] if block["type"] == "text")


def family(pid: int) -> list[int]:
    """List a process and all that it has started."""
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for thread in threads for child in thread.read_text().split()]
    return [pid, *(one for child in children for one in family(child))]


def processor_s(pid: int) -> float:
    """Return the processor time that a process has taken: other programs change it less than the time on the clock."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    """Read the memory that a process holds, in MiB."""
    return status_mib(pid, "VmRSS")


def status_mib(pid: int, name: str) -> float:
    """Read a figure of a process's memory as Linux names it, in MiB."""
    return _kib(Path(f"/proc/{pid}/status"), f"{name}:") / 1024


def pss_mib(pid: int) -> float:
    """Read the memory that a process holds, shared pages counted by their share, in MiB."""
    return _kib(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") / 1024


def _kib(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise BenchmarkError(f"{path} has no {name}")
