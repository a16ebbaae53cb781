"""How the steps of long work say how far they are."""

from collections.abc import Callable

Told = Callable[[float], None]
"""Takes the share of the work that is done, from 0 to 1; it may raise an error to abandon the work."""


def nobody(_: float) -> None:
    """Listen to no progress."""


def share(tell: Told, start: float, end: float) -> Told:
    """Give a part of the work its share of the whole."""
    return lambda done: tell(start + (end - start) * done)
