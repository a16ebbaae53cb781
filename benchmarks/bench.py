"""What all questions share: the emulated cloud, the vendor's server where it can run, pictures, and how much to do."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    with tempfile.TemporaryDirectory(prefix="dinox-mcp-benchmarks-") as name, Cloud() as cloud:
        folder = Path(name)
        picture = photo.resolve() if photo else pictures.write(pictures.photo(), folder / "photo.jpg")
        with _vendor(folder, wanted=with_vendor) as vendor:
            yield Bench(cloud, vendor, picture, folder, quick)


@contextmanager
def _vendor(folder: Path, *, wanted: bool) -> Iterator[VendorSetup | None]:
    setup = vendor_setup(folder)
    try:
        vendor = setup.__enter__() if wanted else None
    except UnavailableError as error:
        print(f"The vendor's server is left out: {error}.\n")
        vendor = None
    if vendor is None:
        yield None
        return
    try:
        yield vendor
    finally:
        setup.__exit__(None, None, None)


def milliseconds(seconds: Sequence[float]) -> str:
    """Write the median of some times."""
    return f"{1000 * median(seconds):.0f} ms"
