"""What all measurements share: checkpoints, pictures that were never seen before, contenders, and how much to do."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from PIL import Image, ImageDraw

from benchmarks import pictures
from benchmarks.harness import BenchmarkError
from benchmarks.local import checkpoints
from benchmarks.local.checkpoints import Checkpoint
from benchmarks.local.child import Child, environment

SIZE = (1280, 853)


@dataclass
class Setup:
    """One run: `cache` keeps checkpoints, `folder` all else, and leaves with the run."""

    cache: Path
    folder: Path
    photo: Path | None
    quick: bool
    device: str = "cpu"

    def __post_init__(self) -> None:
        self._pictures = self._write()
        self._caches = count()

    @property
    def rounds(self) -> int:
        """How often to measure what is measured once a round."""
        return 1 if self.quick else 3

    def picture(self) -> str:
        """Give the path of a picture that nobody has seen."""
        return str(next(self._pictures))

    def pictures(self, number: int) -> list[str]:
        """Give several such pictures."""
        return [self.picture() for _ in range(number)]

    def checkpoint(self, name: str, *, full: bool = False) -> Checkpoint:
        """Give a checkpoint, built if need be; a `full` one also where the others are small.

        Raises:
            BenchmarkError: it cannot be built.
        """
        arguments = json.dumps([name, str(self.cache), self.quick and not full])
        _run("benchmarks.local.checkpoints", arguments)
        return checkpoints.build(name, self.cache, quick=self.quick and not full)

    def stock(self, contender: str, checkpoint: Checkpoint) -> Child:
        """Start transformers: its "pipeline", or the "direct" forward.

        Raises:
            BenchmarkError: SciPy cannot be installed, which it needs.
        """
        arguments = contender, str(checkpoint.folder), str(checkpoint.min_score), self.device
        return Child("stock", *arguments, paths=(self._scipy(),))

    def ours(
        self,
        checkpoint: Checkpoint,
        idle_s: float = 0,
        process: str = "own",
        *,
        runtime: str = "",
        precision: str = "",
        cache: str = "",
    ) -> Child:
        """Start the local backend; its model stays, or leaves after `idle_s`.

        The model lives in a `process` of its own, or in the same; runtime and precision are the backend's own choice
        unless they are given. It knows no labels and tries each precision anew, unless an earlier one had the same
        `cache`.
        """
        variables = {"XDG_CACHE_HOME": str(self.folder / (cache or f"cache{next(self._caches)}"))}
        variables |= {"DINOX_MCP_RUNTIME": runtime, "DINOX_MCP_PRECISION": precision} if runtime else {}
        arguments = str(checkpoint.folder), str(checkpoint.min_score), self.device, str(idle_s), process
        return Child("ours", *arguments, more=variables)

    def _scipy(self) -> Path:
        """Give a folder with SciPy, for transformers' OWLv2 alone: ours is measured without, as users have it."""
        folder = self.cache / "scipy"
        if not folder.exists():
            unfinished = folder.with_suffix(".unfinished")
            _run("pip", "install", "--quiet", "--no-deps", "--target", str(unfinished), "scipy")
            unfinished.rename(folder)
        return folder

    def _write(self) -> Iterator[Path]:
        for number, image in enumerate(pictures.different(SIZE) if self.photo is None else _copies(self.photo)):
            yield pictures.write(image, self.folder / f"picture{number}.jpg")


def _run(module: str, *arguments: str) -> None:
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"{module} failed: {done.stderr[-3000:]}")


def _copies(photo: Path) -> Iterator[Image.Image]:
    """Make copies of a photo that differ in a number in the corner, in the photo's own shape."""
    with Image.open(photo) as image:
        original = image.convert("RGB")
    original.thumbnail((SIZE[0], SIZE[0]))
    for number in count():
        copy = original.copy()
        ImageDraw.Draw(copy).text((10, 10), str(number), "white")
        yield copy


def seconds(value: float) -> str:
    """Write a time so that it can be compared at a glance."""
    return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.1f} s"
