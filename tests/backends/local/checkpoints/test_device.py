import os
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from dinox_mcp.backends import local
from dinox_mcp.backends.local.checkpoints import device as devices
from dinox_mcp.backends.local.checkpoints.device import Device, choose, memory_explained
from dinox_mcp.errors import BackendError, SettingsError, UnsupportedError


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A machine whose GPUs a test decides on: two of CUDA, of this capability."""
    gpus = SimpleNamespace(cuda=2, capability=(9, 0), mps=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus.cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus.cuda)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _name: gpus.capability)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: gpus.mps)
    return gpus


@pytest.fixture
def matmul_precision() -> Iterator[None]:
    """Leave torch as it was."""
    before, threads = torch.get_float32_matmul_precision(), torch.get_num_threads()
    yield
    torch.set_float32_matmul_precision(before)
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("cuda", "capability", "mps", "chosen"),
    [
        (0, (0, 0), False, Device("cpu", "cpu", "float32")),
        (0, (0, 0), True, Device("mps", "mps", "float32")),
        (1, (8, 0), False, Device("cuda", "cuda", "bfloat16")),
        (1, (7, 5), False, Device("cuda", "cuda", "float16")),
    ],
)
def test_the_best_device_is_chosen_with_the_precision_that_suits_it(
    gpus: SimpleNamespace, cuda: int, capability: tuple[int, int], mps: bool, chosen: Device
) -> None:
    gpus.cuda, gpus.capability, gpus.mps = cuda, capability, mps
    assert choose() == chosen


def test_threads_wait_without_spinning_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    choose("cpu")
    assert os.environ["OMP_WAIT_POLICY"] == "active"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    choose("cpu")
    assert os.environ["OMP_WAIT_POLICY"] == "passive"


@pytest.mark.parametrize(
    ("device", "precision", "chosen"),
    [
        ("cpu", "auto", Device("cpu", "cpu", "float32")),
        ("CUDA:1", "auto", Device("cuda", "cuda:1", "bfloat16")),
        ("cuda", "float32", Device("cuda", "cuda", "float32")),
        ("cpu", "bfloat16", Device("cpu", "cpu", "bfloat16")),
    ],
)
@pytest.mark.usefixtures("gpus")
def test_a_user_knows_better(device: str, precision: str, chosen: Device) -> None:
    assert choose(device, precision) == chosen


@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [
        ("tpu", "auto", r"DINOX_MCP_DEVICE: 'tpu' is not a device; choose auto, cpu, cuda, cuda:0 or mps"),
        ("cuda:one", "auto", r"'cuda:one' is not a device"),
        ("cuda:2", "auto", r"'cuda:2' is not here \(there is only 2"),
        ("mps", "auto", r"'mps' is not here \(there is none\); choose auto or cpu"),
        ("cpu", "int8", r"DINOX_MCP_PRECISION: 'int8' is not a precision of torch; choose auto, float32"),
        ("cpu", "float16", r"float16 is too slow on a CPU"),
    ],
)
@pytest.mark.usefixtures("gpus")
def test_devices_that_are_not_there(device: str, precision: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        choose(device, precision)


def test_a_build_of_torch_without_cuda_says_so(gpus: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus.cuda = 0
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(SettingsError, match=r"there is none; this build of torch has no CUDA"):
        choose("cuda")


def test_a_torch_that_does_not_load_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "find_spec", lambda _name: object())
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UnsupportedError, match=r"torch is installed but does not load"):
        choose()


def test_a_precision_is_a_type_of_torch() -> None:
    assert Device("cpu", "cpu", "bfloat16").dtype is torch.bfloat16


@pytest.mark.parametrize(
    ("device", "error", "remedy"),
    [
        (Device("cpu", "cpu", "float32"), MemoryError(), r"on cpu; choose a smaller model \(DINOX_MCP_MODEL=fast\)"),
        (Device("cuda", "cuda:0", "bfloat16"), torch.OutOfMemoryError("CUDA out of memory."), "DINOX_MCP_DEVICE=cpu"),
        (Device("cpu", "cpu", "int8"), Fail("[…] Failed to allocate memory for requested buffer of size 9"), "on cpu"),
        (Device("mps", "mps", "float32"), RuntimeError("MPS backend out of memory (…)"), "on mps; .*DINOX_MCP_DEVICE"),
    ],
)
def test_running_out_of_memory_has_a_remedy(
    device: Device, error: Exception, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "trim", lambda: None)  # takes long beside large libraries
    with pytest.raises(BackendError, match=remedy), memory_explained(device):
        raise error


def test_running_out_of_memory_for_real() -> None:
    with pytest.raises(BackendError, match=r"out of memory on cpu"), memory_explained(Device("cpu", "cpu", "float32")):
        torch.empty(10**15)


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match=r"shapes"), memory_explained(Device("cpu", "cpu", "float32")):
        torch.ones(2, 3) @ torch.ones(2, 3)


@pytest.mark.parametrize(
    ("difference", "pace", "chosen"),
    [(0.0, 0.5, "medium"), (0.0, 1.0, "highest"), (1e-3, 0.5, "highest")],
    ids=["equal and faster", "no faster", "not equal"],
)
@pytest.mark.usefixtures("matmul_precision")
def test_matrix_products_take_the_faster_library_only_if_it_answers_the_same(
    monkeypatch: pytest.MonkeyPatch, difference: float, pace: float, chosen: str
) -> None:
    def probe() -> tuple[list[torch.Tensor], float]:
        medium = torch.get_float32_matmul_precision() == "medium"
        return [torch.ones(3) + difference * medium], pace if medium else 1.0

    torch.set_float32_matmul_precision("highest")
    monkeypatch.setattr(devices, "_probe", probe)
    devices._choose_matmul()
    assert torch.get_float32_matmul_precision() == chosen


@pytest.mark.usefixtures("matmul_precision")
def test_tuning_changes_no_product() -> None:
    before, _ = devices._probe()
    devices.tune_cpu.__wrapped__()
    after, _ = devices._probe()
    for one, two in zip(before, after, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-5 * float(one.abs().max()))


@pytest.mark.skipif(devices._glibc() is None, reason="the allocator of glibc is tuned")
def test_memory_returns_to_the_system_when_it_is_trimmed() -> None:
    code = """
import re, torch
from dinox_mcp.backends.local.checkpoints.device import trim, tune_cpu
resident = lambda: int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024
tune_cpu()
trim()
before = resident()
layers = [torch.ones(1 << 18) for _ in range(300)]
full = resident()
del layers
kept = resident()
trim()
print(full - before, kept - before, resident() - before)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - our own
    full, kept, left = map(int, run.stdout.split())
    assert full > 250
    assert kept > 250  # what the tuning is for: the next layer finds its memory
    assert left < 20
