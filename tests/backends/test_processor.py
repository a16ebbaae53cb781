"""The processor: how many of it may be used, and which units it has."""

from pathlib import Path

import pytest

from dinox_mcp.backends import processor

XEON = """processor\t: 0
model name\t: Intel(R) Xeon(R) Processor
flags\t\t: fpu sse2 avx512_bf16 amx_tile amx_bf16

processor\t: 1
model name\t: another
flags\t\t: avx_vnni
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm bf16\n"


@pytest.mark.parametrize(
    ("limit", "processors"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 8), ("", 8), (None, 8)]
)
def test_a_container_gets_no_more_threads_than_processors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None, processors: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _process: set(range(8)), raising=False)
    if limit is not None:
        (tmp_path / "cpu.max").write_text(limit)
    assert processor.allowed_processors(tmp_path / "cpu.max") == processors


@pytest.mark.parametrize(("value", "processors"), [("", 8), ("2", 2), ("0", 1), ("99", 8), ("2,1", 8)])
def test_a_share_of_the_processors_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, processors: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _process: set(range(8)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert processor.allowed_processors(tmp_path / "cpu.max") == processors


@pytest.mark.parametrize(
    ("cpuinfo", "units"),
    [(XEON, {"avx512_bf16", "amx_bf16"}), (ARM, {"asimddp", "i8mm", "bf16"}), ("", set()), (None, set())],
    ids=["Intel", "Arm", "empty", "not Linux"],
)
def test_the_units_are_those_of_the_first_processor(tmp_path: Path, cpuinfo: str | None, units: set[str]) -> None:
    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert processor.units(tmp_path / "cpuinfo") == units


def test_the_name_says_what_matters_for_speed(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(XEON)
    assert processor.name(tmp_path / "cpuinfo") == "Intel(R) Xeon(R) Processor, amx_bf16, avx512_bf16"
