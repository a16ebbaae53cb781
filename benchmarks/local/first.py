"""How long does the first request about a picture take?"""

from contextlib import ExitStack
from statistics import median

from benchmarks.local.checkpoints import Checkpoint
from benchmarks.local.labels import COCO, FIVE, unseen
from benchmarks.local.setup import Setup, seconds
from benchmarks.tables import Table

GOALS = {"owlv2": (3, 8, 100), "owlvit": (3, 8, 100), "grounding-dino": (3.5, 8, 50)}
"""How many times faster than the direct forward and the pipeline; than the pipeline with many labels.

That is on a processor with units for bfloat16 (AMX).
"""
_WARM_UP = ["teddy bear"]
Samples = dict[str, list[float]]


def measure(setup: Setup) -> Table:
    """Ask all contenders in turn, each about a picture and labels that it does not know."""
    table = Table(
        "The first request about a picture (first)", ["ours", "direct forward", "pipeline", "direct/ours", "pipe/ours"]
    )
    found = []
    for name in GOALS:
        checkpoint = setup.checkpoint(name)
        samples, boxes = _measure(setup, checkpoint)
        _add(table, name, checkpoint, samples)
        found.append(f"{checkpoint.title}: {', '.join(f'{who} {number}' for who, number in boxes.items())}")
    table.remarks.append(
        f"Medians of {setup.rounds}, in turn (the pipeline: once, which is five passes), models loaded and warm; a new "
        "picture each time, from its JPEG file to its boxes. The pipeline runs one forward pass a label, so its figure "
        "for 80 labels is 16 times that for 5, computed. Both others run one (Grounding DINO: one a text window). "
        "Neither of transformers' contenders suppresses overlapping boxes, and each scores Grounding DINO's labels in "
        f"its own way. Boxes of the last 5 labels: {'; '.join(found)}."
    )
    return table


def _measure(setup: Setup, checkpoint: Checkpoint) -> tuple[Samples, dict[str, int]]:
    samples: Samples = {}
    boxes: dict[str, int] = {}
    with ExitStack() as stack:
        contenders = {
            "ours": stack.enter_context(setup.ours(checkpoint)),
            "direct": stack.enter_context(setup.stock("direct", checkpoint)),
            "pipeline": stack.enter_context(setup.stock("pipeline", checkpoint)),
        }
        for child in contenders.values():
            child.ask("ask", picture=setup.picture(), labels=_WARM_UP)
        for number in range(setup.rounds):
            picture = setup.picture()
            for name, child in contenders.items():
                if name == "pipeline" and number:  # five passes are a sample
                    continue
                took, boxes[name] = child.ask("ask", picture=picture, labels=unseen(FIVE, number))
                samples.setdefault(name, []).append(took)
            for name in ("ours", "direct"):
                took, _ = contenders[name].ask("ask", picture=setup.picture(), labels=unseen(COCO, number))
                samples.setdefault(f"{name} 80", []).append(took)
    return samples, boxes


def _add(table: Table, name: str, checkpoint: Checkpoint, samples: Samples) -> None:
    than_direct, than_pipeline, with_many = GOALS[name]
    times = {who: median(values) for who, values in samples.items()}
    times["pipeline 80"] = times["pipeline"] * len(COCO) / len(FIVE)
    few = times["direct"] / times["ours"], times["pipeline"] / times["ours"]
    many = times["direct 80"] / times["ours 80"], times["pipeline 80"] / times["ours 80"]
    table.add(
        f"{checkpoint.title}, 5 labels",
        *(seconds(times[who]) for who in ("ours", "direct", "pipeline")),
        *(f"{ratio:.1f}" for ratio in few),
        goal=f"{than_direct:g} and {than_pipeline} times",
        met=few[0] >= than_direct and few[1] >= than_pipeline,
    )
    table.add(
        f"{checkpoint.title}, 80 labels",
        *(seconds(times[f"{who} 80"]) for who in ("ours", "direct")),
        f"({seconds(times['pipeline 80'])})",
        *(f"{ratio:.1f}" for ratio in many),
        goal=f"the pipeline {with_many} times",
        met=many[1] >= with_many,
    )
