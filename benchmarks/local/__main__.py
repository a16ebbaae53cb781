"""`python -m benchmarks.local`: the local backend against transformers itself, one table for each measurement."""

import argparse
import importlib
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from importlib.metadata import version
from pathlib import Path

from benchmarks.local.child import THREADS
from benchmarks.local.setup import Setup
from dinox_mcp.backends import processor

QUESTIONS = {
    "start": "start with and without the extra",
    "first": "a first request, against the direct forward and the pipeline",
    "runtimes": "OWL in torch, in ONNX Runtime, and there in int8",
    "closed": "D-FINE in each runtime, and the embedded detector",
    "again": "the next request about the same picture, and one without labels",
    "describing": "masks, poses and captions of given boxes",
    "memory": "memory before, with and after a model",
    "cancel": "until the model is free after a cancelled request",
    "clients": "8 clients at once",
}
CACHE = Path(__file__).parents[1] / ".cache" / "local"


def main() -> int:
    """Measure what is chosen; 1 if something failed to run, never because it was slow."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.local",
        description=__doc__,
        epilog="measurements:\n" + "\n".join(f"  {name:10}{about}" for name, about in QUESTIONS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="QUESTION", help="what to measure; default everything")
    parser.add_argument("--quick", action="store_true", help="small models, once: to see that everything runs")
    parser.add_argument("--photo", type=Path, help="a photo of your own, instead of pictures made for the run")
    parser.add_argument("--device", default="cpu", help="where the models run: cpu (default), cuda, mps")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"where checkpoints are kept (3.5 GB; {CACHE})")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in QUESTIONS]:
        parser.error(f"no such measurement: {', '.join(unknown)}; choose from {', '.join(QUESTIONS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is cleaned up
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="dinox-mcp-benchmarks-") as folder:
        setup = Setup(options.cache.resolve(), Path(folder), options.photo, options.quick, options.device)
        print(f"{machine()}; models on {device_name(options.device)}\n{busy()}", flush=True)
        failed = [name for name in options.names or QUESTIONS if not _measure(name, setup)]
    print(f"\n{busy()}; the run took {(time.perf_counter() - started) / 60:.1f} minutes")
    if failed:
        print(f"Failed to run: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _measure(name: str, setup: Setup) -> bool:
    try:
        print(f"\n{importlib.import_module(f'benchmarks.local.{name}').measure(setup)}", flush=True)
    except Exception:  # noqa: BLE001 - the other requests can still be measured
        traceback.print_exc()
        return False
    return True


def machine() -> str:
    """Return what the figures depend on: versions, and the processor with its units for short numbers."""
    packages = ("dinox-mcp", "torch", "transformers", "onnxruntime", "numpy", "pillow")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    system = f"CPython {platform.python_version()} on {platform.system()} {platform.machine()}"
    return f"{system}, {THREADS} threads of {processor.name()}; {versions}"


def device_name(name: str) -> str:
    """Name the device; a GPU's own name is asked in a process of its own, as this one is to import no torch."""
    if not name.startswith("cuda"):
        return name
    program = f"import torch; print(torch.cuda.get_device_name({name!r}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    return f"{name} ({done.stdout.strip()})"


def busy() -> str:
    """Return how busy the machine is, with others' work too: figures of a busy one are too high."""
    return f"Load average of the last minute: {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""


if __name__ == "__main__":
    sys.exit(main())
