"""What a batch reads: the images of a source in a fixed order, and how each is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from dinox_mcp.batch.sources import Entry, canonical, list_images
from dinox_mcp.settings import Settings

_ANY_NUMBER = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Inputs:
    """The images of a source.

    Attributes:
        groups: images that are read together, in a fixed order: those of one container, or all plain files.
        notes: what the caller must know about them.
    """

    groups: tuple[tuple[Entry, ...], ...]
    notes: tuple[str, ...] = ()


class Reader(Protocol):
    """Reads images of a source."""

    def read(self, entry: Entry) -> bytes | None:
        """Give the bytes of an image; None for a file or an address that the loader reads. Blocks."""
        ...


def canonical_source(source: str) -> str:
    """Write a source in the way that stays the same in another working folder.

    Raises:
        InputError: nothing can be read there.
    """
    return canonical(source)


def list_inputs(source: str, settings: Settings) -> Inputs:
    """List the images of a source, as `canonical_source` writes it. Blocks.

    Raises:
        InputError: there are none.
    """
    listing = list_images([source], settings, _ANY_NUMBER)
    return Inputs((listing.entries,), listing.notes)


@contextmanager
def open_reader(source: str, settings: Settings) -> Iterator[Reader]:  # noqa: ARG001 - containers need both
    """Open a source for reading."""
    yield _Files()


class _Files:
    """Plain files and addresses."""

    def read(self, entry: Entry) -> bytes | None:  # noqa: ARG002 - as the protocol has it
        """Leave it to the loader."""
        return None
