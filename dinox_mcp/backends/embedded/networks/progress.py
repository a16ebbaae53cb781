"""How the steps of long work say how far they are."""

from collections.abc import Callable

Report = Callable[[float], None]
"""Takes the share of the work that is done, from 0 to 1; it may raise an error to abandon the work."""


def ignore(_: float) -> None:
    """Listen to no progress."""


def share(report: Report, start: float, end: float) -> Report:
    """Give a part of the work its share of the whole."""
    return lambda done: report(start + (end - start) * done)
