"""What do masks, poses and captions of boxes cost?"""

from statistics import median

from benchmarks.local.child import Child
from benchmarks.local.setup import SIZE, Setup, seconds
from benchmarks.tables import Table

BOXES, PEOPLE, CAPTIONS = 20, 5, 8


def measure(setup: Setup) -> Table:
    """Ask each model about a new picture, and again about the same one: a look, and what each box adds."""
    folders = [str(setup.checkpoint(name).folder) for name in ("sam2", "vitpose", "florence2")]
    table = Table("Masks, poses and captions of given boxes (describing)", ["new picture", "the same again"])
    requests = (
        (f"masks of {BOXES} boxes, SAM 2.1 tiny", "masks", BOXES),
        (f"poses of {PEOPLE} people, ViTPose base", "pose", PEOPLE),
        ("one caption, Florence-2 base", "caption", 1),
        (f"captions of {CAPTIONS} boxes, Florence-2 base", "caption", CAPTIONS),
    )
    with Child("describe", *folders) as ours:
        for title, output, count in requests:
            ours.ask("describe", picture=setup.picture(), size=SIZE, output=output, count=1)  # loads the model
            new, again = [], []
            for _ in range(setup.rounds):
                picture = setup.picture()
                for times in (new, again):
                    took = ours.ask("describe", picture=picture, size=SIZE, output=output, count=count)
                    times.append(took)
            table.add(title, seconds(median(new)), seconds(median(again)))
    table.remarks.append(
        f"Medians of {setup.rounds}, on pictures of {SIZE[0]}x{SIZE[1]}. Captions have about a dozen tokens, searched "
        "with three beams as the published checkpoints ask for."
    )
    return table
