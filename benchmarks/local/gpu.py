"""`python -m benchmarks.local.gpu`: all that a GPU machine is needed for, in one command of under six minutes.

It compares every family with transformers (the tests), searches images in the precision of the device and in float32,
and measures how many images a second 1, 8 and 32 callers get, with the memory of the GPU. The weights are random, at
the published sizes. A rehearsal with small models: `--device cpu --quick`.
"""

import argparse
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.harness import BenchmarkError
from benchmarks.local.__main__ import CACHE, busy, device_name, machine
from benchmarks.local.labels import FIVE
from benchmarks.local.setup import Setup
from benchmarks.tables import Table

MODELS = ("owlv2", "grounding-dino")
CALLERS = (1, 8, 32)
_ROOT = Path(__file__).parents[2]
_TESTS = "tests/backends/local/models"
_DECIDE = """
import sys, time
from pathlib import Path
from dinox_mcp.backends.local.checkpoints import device, torch_loading
from dinox_mcp.backends.local.checkpoints.device import Device
from dinox_mcp.backends.local.checkpoints.precision import Trial, decide
folder, name, known = sys.argv[1:]
chosen = device.choose(name)
short = "bfloat16" if chosen.precision == "float32" else chosen.precision
def load(shorter):
    return torch_loading.load(Path(folder), Device(chosen.kind, chosen.name, short if shorter else "float32"))
print(short, "|", decide(load, Trial(short, Path(known), time.monotonic)) or "the same objects, and faster", end="")
"""


@dataclass
class Budget:
    """The time that is left of some seconds."""

    seconds: float
    _start: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Return the seconds that are left, at least one."""
        return max(1.0, self.seconds - (time.monotonic() - self._start))


def main() -> int:
    """Run everything that fits into the time; 1 if a test failed or something did not run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.local.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda", help="cuda (default), cuda:1, mps, or cpu for a rehearsal")
    parser.add_argument("--quick", action="store_true", help="small models: a rehearsal")
    parser.add_argument("--seconds", type=float, default=330, help="for all of it (default 330)")
    options = parser.parse_args()
    budget = Budget(options.seconds)
    print(f"{machine()}; models on {device_name(options.device)}\n{busy()}", flush=True)
    failed = []
    with tempfile.TemporaryDirectory(prefix="dinox-mcp-gpu-") as folder:
        setup = Setup(CACHE.resolve(), Path(folder), None, options.quick, options.device)
        for part in (_precision, _callers, _parity):
            try:
                print(f"\n{part(setup, budget)}", flush=True)
            except Exception:  # noqa: BLE001 - the other parts can still run
                traceback.print_exc()
                failed.append(part.__name__.strip("_"))
    print(f"\n{busy()}; {options.seconds - budget.left():.0f} s" + (f"; FAILED: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def _precision(setup: Setup, budget: Budget) -> Table:
    """Search the test images in the shorter precision and in float32."""
    table = Table("The precision of the device against float32 (precision)", ["precision", "outcome"])
    for name in MODELS:
        checkpoint = setup.checkpoint(name)
        known = setup.folder / f"{name}.json"
        command = [sys.executable, "-c", _DECIDE, str(checkpoint.folder), setup.device, str(known)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=budget.left(), cwd=_ROOT)
        table.add(checkpoint.title, *done.stdout.split(" | "))
    return table


def _callers(setup: Setup, budget: Budget) -> Table:
    """Ask about as many images as there are callers, at once."""
    table = Table("Images a second (callers)", [f"{number} at once" for number in CALLERS] + ["memory of the GPU"])
    for name in MODELS:
        checkpoint = setup.checkpoint(name)
        rates: list[float] = []
        with setup.ours(checkpoint) as child:
            child.ask("clients", pictures=setup.pictures(2), labels=FIVE)
            for number in CALLERS:
                if rates and number / rates[-1] > budget.left() / 3:
                    rates.append(math.nan)
                    continue
                rates.append(number / child.ask("clients", pictures=setup.pictures(number), labels=FIVE))
            memory = _gpu_memory()
        table.add(checkpoint.title, *("no time" if math.isnan(rate) else f"{rate:.1f}" for rate in rates), memory)
    return table


def _parity(setup: Setup, budget: Budget) -> str:
    """Run the tests that compare every family with transformers; give their last line."""
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "-n0", _TESTS]
    environment = os.environ | {"DINOX_TEST_DEVICE": setup.device}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=budget.left(), cwd=_ROOT, env=environment
    )
    if done.returncode:
        raise BenchmarkError(f"the tests failed:\n{done.stdout[-3000:]}")
    return f"Every family against transformers, on {setup.device} (parity): {done.stdout.strip().splitlines()[-1]}"


def _gpu_memory() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return "no GPU"
    command = [program, "--query-gpu=memory.used", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
