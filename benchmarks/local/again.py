"""How long does the next request about the same picture take, and one without labels?"""

from statistics import median

from benchmarks.local.labels import FIVE, unseen
from benchmarks.local.setup import Setup, seconds
from benchmarks.tables import Table

NEW_S, KNOWN_S, EVERYTHING = 0.1, 0.01, 1.1


def measure(setup: Setup) -> Table:
    """Ask OWLv2; the goals are times, so there is no other contender."""
    first, new, known, everything, nearer = [], [], [], [], []
    checkpoint = setup.checkpoint("owlv2")
    with setup.ours(checkpoint) as ours, setup.ours(checkpoint, process="same") as same:

        def ask(picture: str, labels: list[str] | None) -> float:
            took: float
            took, _ = ours.ask("ask", picture=picture, labels=labels)
            return took

        reading = ask(setup.picture(), None)
        for number in range(setup.rounds):
            picture = setup.picture()
            first.append(ask(picture, ["teddy bear", "sandwich", "clock", "couch", "kite"]))
            new.append(ask(picture, unseen(FIVE, number)))
            for _ in range(6):
                known.append(ask(picture, unseen(FIVE, number)))
                nearer.append(same.ask("ask", picture=picture, labels=unseen(FIVE, number))[0])
            everything.append(ask(setup.picture(), None))
    table = Table("The next request about it, and one without labels, OWLv2 base (again)", ["ours"])
    once = median(first)
    table.add("a first request, 5 labels", seconds(once))
    for what, times, goal in (("5 new labels", new, NEW_S), ("5 known labels", known, KNOWN_S)):
        took = median(times)
        table.add(
            f"the same picture, {what}", f"{1000 * took:.1f} ms", goal=f"under {1000 * goal:.0f} ms", met=took < goal
        )
    table.add("the same with the model in the server's own process", f"{1000 * median(nearer):.1f} ms")
    ratio = median(everything) / once
    table.add(
        "a new picture, no labels",
        seconds(median(everything)),
        goal=f"{EVERYTHING} x a first request (now {ratio:.2f})",
        met=ratio <= EVERYTHING,
    )
    table.add("the very first without labels, which loads and reads the vocabulary", seconds(reading))
    table.remarks.append(
        f"Medians of {setup.rounds} (known labels: {len(known)}). Without labels means the built-in vocabulary of "
        "about 1,200 nouns; it is read once a model and kept on disk."
    )
    return table
