"""`python -m benchmarks`: measure the goals, ours and the peers side by side, and print a table a question."""

import argparse
import importlib
import os
import platform
import signal
import sys
import traceback
from importlib.metadata import version
from pathlib import Path

from benchmarks.bench import Bench, bench
from benchmarks.peers.vendor import PACKAGE, VERSION, node_version

QUESTIONS = {
    "start": "start to `initialize` answered, and idle memory",
    "call": "a cloud call beyond the model's own time, and polls",
    "upload": "bytes uploaded of a 12-megapixel photo",
    "captions": "captions for 50 objects: tasks, requests and time",
    "drawing": "100 boxes on a 12-megapixel photo",
    "masks": "100 masks read and drawn on a 12-megapixel photo",
    "painting": "masks, poses, captions and 500 dots on it, beside pycocotools",
    "tokens": "tokens of the tool list and of a reply",
    "load": "64 calls of 8 keys at once; memory over 5,000 calls",
    "embedded": "the embedded backend, by size and question",
    "objects": "objects of 80 kinds on this machine beside OpenCV's DNN: time, the first call, memory",
    "video": "tracks over crossings, by key frames a second; frames a second of everything but the model",
    "templates": "the embedded backend: planted copies of an example, found and false, and how long that takes",
    "viewer": "the viewer: first paint, interaction and panning with 300 objects on a 12-megapixel photo",
}


def main() -> int:
    """Measure what is asked for; 1 if something failed to run, never because it was slow."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog="questions:\n" + "\n".join(f"  {name:10}{about}" for name, about in QUESTIONS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="QUESTION", help="what to measure; default everything")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, to see that everything runs")
    parser.add_argument("--photo", type=Path, help="a JPEG of your own, instead of one made from noise and shapes")
    parser.add_argument(
        "--no-vendor",
        action="store_true",
        help="leave the vendor's server out, which needs Node, root and, while it runs, a line in /etc/hosts",
    )
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in QUESTIONS]:
        parser.error(f"no such question: {', '.join(unknown)}; choose from {', '.join(QUESTIONS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is cleaned up, /etc/hosts above all
    with bench(options.photo, quick=options.quick, with_vendor=not options.no_vendor) as setup:
        print(_machine(setup))
        failed = [name for name in options.names or QUESTIONS if not _measure(name, setup)]
        print(f"\n{_busy()}")
    if failed:
        print(f"Failed to run: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _measure(name: str, setup: Bench) -> bool:
    try:
        print(f"\n{importlib.import_module(f'benchmarks.{name}').measure(setup)}", flush=True)
    except Exception:  # noqa: BLE001 - the other questions can still be measured
        traceback.print_exc()
        return False
    return True


def _machine(setup: Bench) -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("dinox-mcp", "mcp", "pydantic", "pillow"))
    python = (
        f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"
    )
    vendor = f"; Node {node_version()}, {PACKAGE} {VERSION}" if setup.vendor else ""
    return f"{python}, {_cores()} CPU cores; {packages}{vendor}\n{_busy()}"


def _busy() -> str:
    """Tell how busy the machine is, with others' work too: figures of a busy one are too high."""
    return f"Load average of the last minute: {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""


def _cores() -> int:
    """Count the CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    sys.exit(main())
