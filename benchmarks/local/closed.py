"""What do detectors of the kinds of COCO take for an image: D-FINE in each runtime, and the embedded one?"""

from contextlib import ExitStack
from statistics import median

from benchmarks.harness import family, rss_mib
from benchmarks.local.child import Child
from benchmarks.local.setup import Setup
from benchmarks.tables import Table

MODELS = ("dfine-small", "dfine-medium")


def measure(setup: Setup) -> Table:
    """Ask all detectors in turn, each about images that it does not know."""
    table = Table("Detectors of 80 kinds (closed)", ["processor time", "wall", "from start to first", "memory"])
    checkpoints = [setup.checkpoint(name) for name in MODELS]
    contenders = [("embedded", "the embedded detector", "")]
    contenders += [("ours", f"{one.title}, ONNX Runtime", str(one.folder)) for one in checkpoints]
    contenders += [("stock", f"{one.title}, transformers' stock forward", str(one.folder)) for one in checkpoints]
    with ExitStack() as stack:
        children: dict[str, Child] = {}
        first: dict[str, float] = {}
        for contender, title, folder in contenders:
            child = stack.enter_context(Child("detector", contender, folder))
            first[title], _, _ = child.ask("ask", picture=setup.picture())
            children[title] = child
        samples: dict[str, list[tuple[float, float, int]]] = {title: [] for title in children}
        for picture in setup.pictures(3 * setup.rounds):
            for title, child in children.items():
                samples[title].append(child.ask("ask", picture=picture))
        for title, child in children.items():
            wall, cpu = (median(sample[which] for sample in samples[title]) for which in (0, 1))
            memory = sum(rss_mib(pid) for pid in family(child.popen.pid))
            table.add(title, *(f"{1000 * one:.0f} ms" for one in (cpu, wall, first[title])), f"{memory:.0f} MiB")
    table.remarks.append(
        f"Medians of {3 * setup.rounds}, in turn, from the image's file to its boxes, on one processor: threads that "
        "wait for each other in a loop take processor time too. The time to the first answer has imports and loading "
        "in it. The weights of D-FINE are random, and cost what real ones cost."
    )
    return table
