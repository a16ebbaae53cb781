"""Do clients who ask at once wait longer in total than one who asks as often?"""

from pathlib import Path
from statistics import median

from benchmarks.harness import family, status_mib
from benchmarks.local.child import Child
from benchmarks.local.labels import FIVE
from benchmarks.local.setup import Setup, seconds
from benchmarks.tables import Table

CLIENTS = 8
NOISE = 1.05


def measure(setup: Setup) -> Table:
    """Ask about as many different pictures, one after the other and at once, in turn."""
    checkpoint = setup.checkpoint("owlvit")
    times: dict[str, list[float]] = {"one_client": [], "clients": []}
    peaks: dict[str, list[float]] = {"one_client": [], "clients": []}
    with setup.ours(checkpoint) as child:
        child.ask("one_client", pictures=setup.pictures(2), labels=FIVE)
        for _ in range(setup.rounds):
            for how, took in times.items():
                pictures = setup.pictures(CLIENTS)
                _forget_peak(child)
                took.append(child.ask(how, pictures=pictures, labels=FIVE))
                peaks[how].append(_peak_mib(child))
    one, many = (median(values) for values in times.values())
    table = Table(f"{CLIENTS} clients at once on one model, {checkpoint.title} (clients)", ["one by one", "at once"])
    table.add(
        f"{CLIENTS} different pictures",
        seconds(one),
        seconds(many),
        goal=f"no slower, {NOISE - 1:.0%} for noise (now {many / one:.2f} x)",
        met=many <= NOISE * one,
    )
    one, many = (max(values) for values in peaks.values())
    table.add(
        "peak memory",
        f"{one:.0f} MiB",
        f"{many:.0f} MiB",
        goal="bounded: no more, 5% for noise",
        met=many <= NOISE * one,
    )
    table.remarks.append(f"Medians of {setup.rounds}, in turn; 5 labels. On a CPU pictures take turns.")
    return table


def _forget_peak(child: Child) -> None:
    for pid in family(child.popen.pid):
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def _peak_mib(child: Child) -> float:
    return sum(status_mib(pid, "VmHWM") for pid in family(child.popen.pid))
