"""What all questions share: the emulated cloud, the vendor's server where it can run, pictures, and how much to do."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import pictures
from benchmarks.cloud import Cloud
from benchmarks.peers.vendor import UnavailableError, VendorSetup, vendor_setup


@dataclass(frozen=True)
class Bench:
    """One run. `vendor` is None where it cannot run, `photo` a file of about 12 megapixels, `folder` for anything."""

    cloud: Cloud
    vendor: VendorSetup | None
    photo: Path
    folder: Path
    quick: bool

    def times(self, usual: int, quick: int) -> int:
        """Choose how often to repeat."""
        return quick if self.quick else usual


@contextmanager
def bench(photo: Path | None, *, quick: bool, with_vendor: bool) -> Iterator[Bench]:
    """Set up a run, and clean up after it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dinox-mcp-benchmarks-")))
        picture = photo.resolve() if photo else pictures.write(pictures.photo(), folder / "photo.jpg")
        vendor = None
        if with_vendor:
            try:
                vendor = stack.enter_context(vendor_setup(folder))
            except UnavailableError as error:
                print(f"The vendor's server is left out: {error}.\n")
        yield Bench(stack.enter_context(Cloud()), vendor, picture, folder, quick)


def milliseconds(seconds: Sequence[float]) -> str:
    """Write the median of some times."""
    return f"{1000 * median(seconds):.0f} ms"
