"""Where models run and how precisely, and how a CPU is made to run them well."""

import ctypes
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, cast

from dinox_mcp.backends import local
from dinox_mcp.backends.local.checkpoints.presets import DeviceKind
from dinox_mcp.backends.processor import allowed_processors
from dinox_mcp.errors import BackendError, SettingsError, UnsupportedError

if TYPE_CHECKING:
    import torch

Precision = Literal["float32", "bfloat16", "float16", "int8"]

_BFLOAT16_CAPABILITY = 8
_MiB = 1 << 20


@dataclass(frozen=True, slots=True)
class Device:
    """Where a model runs: `name` is torch's ("cuda:1"), `precision` is what it computes large products in."""

    kind: DeviceKind
    name: str
    precision: Precision

    @property
    def dtype(self) -> "torch.dtype":
        """The precision as torch's own type."""
        import torch

        return cast("torch.dtype", getattr(torch, self.precision))


CPU = Device("cpu", "cpu", "float32")


def choose(device: str = "auto", precision: str = "auto") -> Device:
    """Choose a device and a precision where they are "auto", and check them. Imports torch, which takes seconds.

    Raises:
        SettingsError: There is no such device here, or it cannot compute in this precision.
        UnsupportedError: Torch is missing or broken.
    """
    torch = _torch()
    name = _best(torch) if device == "auto" else device.strip().lower()
    kind = _kind(torch, name)
    if precision == "auto":
        precision = _suited(torch, kind, name)
    elif precision not in {"float32", "bfloat16", "float16"}:
        raise SettingsError(
            f"DINOX_MCP_PRECISION: {precision!r} is not a precision of torch; choose auto, float32, bfloat16 or float16"
        )
    if kind == "cpu" and precision == "float16":
        raise SettingsError("DINOX_MCP_PRECISION: float16 is too slow on a CPU; choose float32 or bfloat16")
    return Device(kind, name, cast("Precision", precision))


def _torch() -> Any:  # noqa: ANN401 - a module
    local.require_torch()
    # Threads that wait for the next layer would spin, on processors that others need: on a busy machine a request
    # takes ten times as long then. Read when torch is imported, as the other one is.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if sys.platform == "darwin":
        os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    try:
        import torch
    except (ImportError, OSError) as error:
        line = " ".join(str(error).split())[:200]
        raise UnsupportedError(f"torch is installed but does not load ({line}); reinstall it") from error
    return torch


def _best(torch: Any) -> str:  # noqa: ANN401
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _kind(torch: Any, name: str) -> DeviceKind:  # noqa: ANN401
    """Return the kind of a device, and check that it exists."""
    kind, _, number = name.partition(":")
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}.get(kind)
    if count is None or (number and not number.isdecimal()):
        raise SettingsError(f"DINOX_MCP_DEVICE: {name!r} is not a device; choose auto, cpu, cuda, cuda:0 or mps")
    if int(number or 0) >= count:
        here = "none" if not count else f"only {count}"
        hint = "; this build of torch has no CUDA" if kind == "cuda" and torch.version.cuda is None else ""
        raise SettingsError(f"DINOX_MCP_DEVICE: {name!r} is not here (there is {here}{hint}); choose auto or cpu")
    return cast("DeviceKind", kind)


def _suited(torch: Any, kind: DeviceKind, name: str) -> Precision:  # noqa: ANN401
    """Return what a device computes fast without changing results noticeably."""
    if kind != "cuda":
        return "float32"
    major, _ = torch.cuda.get_device_capability(name)
    return "bfloat16" if major >= _BFLOAT16_CAPABILITY else "float16"


@contextmanager
def memory_explained(device: Device, smaller: str = "DINOX_MCP_MODEL=fast") -> Iterator[None]:
    """Turn running out of memory, which is reported in many ways, into one error with a remedy: a `smaller` model.

    Raises:
        BackendError: memory ran out.
    """
    try:
        yield
    except Exception as error:
        if not is_about_memory(error):
            raise
        raise out_of_memory(device, smaller) from error


def out_of_memory(device: Device, smaller: str) -> BackendError:
    """Make the error for memory that ran out, and return what is free to the system."""
    trim()
    remedies = f"choose a smaller model ({smaller}) or free some memory"
    if device.kind != "cpu":
        remedies += ", or run on the CPU (DINOX_MCP_DEVICE=cpu)"
    return BackendError(f"out of memory on {device.name}; {remedies}")


def is_about_memory(error: BaseException) -> bool:
    """Return whether an error means that the machine or the GPU has no memory left."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the latter is torch's
        return True
    words = ("out of memory", "can't allocate memory", "not enough memory", "Failed to allocate memory", "bad_alloc")
    of_runtime = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime.")
    return of_runtime and any(one in str(error) for one in words)


@cache
def tune_cpu() -> None:
    """Make this process run models faster on a CPU, with the same results; once, in the thread that loads them."""
    _keep_memory()
    _limit_threads()
    _choose_matmul()


def _keep_memory() -> None:
    """Make glibc keep freed memory: each layer frees and allocates the same large blocks, a page fault every 4 KiB."""
    libc = _glibc()
    if libc is None:
        return
    m_trim_threshold, m_top_pad, m_mmap_threshold = -1, -2, -3  # malloc.h
    libc.mallopt(m_mmap_threshold, 512 * _MiB)
    libc.mallopt(m_trim_threshold, 2**31 - 1)
    libc.mallopt(m_top_pad, 256 * _MiB)


def _limit_threads() -> None:
    """Use no more threads than a container may: torch counts the processors of the machine."""
    import torch

    allowed = allowed_processors()
    if "OMP_NUM_THREADS" not in os.environ and torch.get_num_threads() > allowed:
        torch.set_num_threads(allowed)


def _choose_matmul() -> None:
    """Let matrix products use the other library, if it is faster and gives the same results.

    "medium" allows torch to use bfloat16 inside; on most processors it does not, and only changes the library.
    """
    import torch

    exact, exact_s = _probe()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    other, other_s = _probe()
    # In another order float32 is rounded by a few millionths; bfloat16 would differ by thousandths.
    tolerances = [1e-5 * float(one.abs().max()) for one in exact]
    pairs = zip(exact, other, tolerances, strict=True)
    same = all(torch.allclose(one, two, rtol=0, atol=tolerance) for one, two, tolerance in pairs)
    if not same or other_s > 0.9 * exact_s:
        torch.set_float32_matmul_precision(before)


def _probe() -> "tuple[list[torch.Tensor], float]":
    """Multiply as models do (tokens by width, attention, a few labels); give the products and the seconds."""
    import torch

    generator = torch.Generator().manual_seed(0)
    shapes = (((1024, 768), (768, 3072)), ((12, 577, 64), (12, 64, 577)), ((16, 512), (512, 512)))
    pairs = [[torch.randn(shape, generator=generator) for shape in pair] for pair in shapes]
    with torch.inference_mode():
        products = [one @ two for one, two in pairs]
        return products, min(seconds(lambda: [one @ two for one, two in pairs]) for _ in range(3))


def seconds(work: Callable[[], object]) -> float:
    """Measure the processor time of something, which other programs change less than the time on the clock."""
    start = time.process_time()
    work()
    return time.process_time() - start


def trim() -> None:
    """Return unused memory to the system and the GPU."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if torch is not None and torch.backends.mps.is_available():
        torch.mps.empty_cache()
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    try:
        os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, ValueError, OSError):  # Windows, macOS, musl
        return None
    return ctypes.CDLL(None)
