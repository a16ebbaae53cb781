"""How messages name many things: a few of them, and how many more there are."""

from collections.abc import Collection, Iterable

_SHOWN = 3
_LENGTH = 40


def few(names: Collection[str]) -> str:
    """List the first few names."""
    listed = ", ".join(list(names)[:_SHOWN])
    return f"{listed} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else listed


def quoted(labels: Iterable[str]) -> str:
    """List the first few of what a caller wrote, in quotes and shortened."""
    return few([repr(label if len(label) <= _LENGTH + 1 else f"{label[:_LENGTH]}…") for label in labels])
