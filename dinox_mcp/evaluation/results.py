"""The files of a run: its journal, which one call at a time writes, the report, tuned thresholds, and the page."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import anyio.to_thread
import tomlkit

from dinox_mcp import __version__
from dinox_mcp.batch.journal import Journal, Keeping, difference
from dinox_mcp.detector import Detector
from dinox_mcp.errors import InputError, NotFoundError, SettingsError
from dinox_mcp.evaluation.compare import Comparison
from dinox_mcp.evaluation.mistakes import Mistakes
from dinox_mcp.evaluation.page import Page
from dinox_mcp.evaluation.precision import Precision
from dinox_mcp.evaluation.report import Report, Tuned
from dinox_mcp.evaluation.tuning import FOLDS, CountErrorsByThreshold
from dinox_mcp.evaluation.worst import worst_images
from dinox_mcp.settings import MiB, environment_name
from dinox_mcp.store.files import write_atomically
from dinox_mcp.store.jobs import held_run

JOURNAL, REPORT, DETECTIONS = "journal.jsonl", "report.json", "detections.json"
"""Files of a run: what was found, the report, and the boxes as COCO's evaluators read them."""
MAX_BYTES = 8192 * MiB


@dataclass(frozen=True)
class Findings:
    """What a run has found, compared with what is labelled.

    Attributes:
        comparison: what was found, beside what is labelled.
        precision: the figures by the first rules; None where only counts are compared.
        absent: whether what is not labelled in an image is absent.
        federated: only what is known to be absent is (LVIS).
        own: the model's own threshold.
        least: the lowest score that was searched for.
        counted: the lowest score that counts; None where all that was found does.
        by_label: labels had thresholds of their own, so that nothing is known of others.
    """

    comparison: Comparison
    precision: Precision | None
    absent: bool
    federated: bool
    own: float
    least: float
    counted: float | None = None
    by_label: bool = False

    @cached_property
    def errors(self) -> CountErrorsByThreshold:
        """How many objects are counted wrongly at each threshold."""
        images, categories = self.comparison.answered, len(self.comparison.dataset.categories)
        return CountErrorsByThreshold(self._labelled, self.comparison.found, images, categories, self.least)

    def tuned(self) -> Tuned | None:
        """Choose the best thresholds, and measure what they gain; None if there are too few images."""
        names = [one.name for one in self.comparison.dataset.categories]
        return self.errors.tuned(self.own, names) if self._enough else None

    def write_thresholds(self, path: Path, tuned: Tuned, report: Report, backend: str) -> None:
        """Write tuned thresholds as a file that the setting `min_scores` names."""
        content = tomlkit.document()
        for line in (
            f"The best thresholds for counting, by dinox-mcp evaluate {__version__}",
            f"tuned on {report.answered} images of {self.comparison.dataset.file.name!r}",
            f"objects counted wrongly in an image, with the model's own {tuned.own_min_score:g}: {tuned.own:.2f}",
            f"the same with these thresholds, on images that they were not tuned on: {tuned.by_label:.2f}",
            f"to use them: {environment_name('min_scores')}={str(path)!r}",
        ):
            content.add(tomlkit.comment(line))
        content["backend"] = backend
        content["model"] = self.comparison.common_model
        content["min_score"] = tuned.min_score
        labels = tomlkit.table()
        for place, threshold in self.errors.labels.items():
            for prompt in self.comparison.vocabulary.prompts([place]):
                labels[prompt] = threshold
        content["labels"] = labels
        write(path, tomlkit.dumps(content))

    async def write_page(self, path: Path, report: Report, detector: Detector) -> None:
        """Write the page."""
        errors = self.errors if self._enough and not self.by_label else None
        if self.precision is None:
            found = self.comparison.found_counts(self.counted)
            points = [(number, found.get(pair, 0)) for pair, number in self._labelled.items()]
            page = Page(report, self.own, errors, points=points)
        else:
            mistakes = Mistakes(self.comparison.truth, self.comparison.found, self.precision.matches, self.own)
            worst = await worst_images(detector, self.comparison.dataset, mistakes)
            page = Page(report, self.own, errors, self.precision, mistakes, worst)
        await anyio.to_thread.run_sync(write, path, page.html())

    @property
    def _enough(self) -> bool:
        return self.comparison.answered >= FOLDS

    @cached_property
    def _labelled(self) -> Mapping[tuple[int, int], int]:
        return self.comparison.wrong_counts(absent=self.absent, federated=self.federated)


@contextmanager
def opened(folder: Path, header: Mapping[str, Any], most: int) -> Iterator[Journal]:
    """Open the journal of a run, for one call at a time.

    Raises:
        InputError: the folder has another run.
        BusyError: another call works on this run.
        SettingsError: the folder cannot be written.
    """
    with held_run(folder):
        path = folder / JOURNAL
        if path.exists():
            try:
                begun = Journal.read(path).header
            except NotFoundError:
                raise InputError(f"{path} is damaged or of another version; choose another --out") from None
            if changed := difference(begun, header):
                raise InputError(f"the run in {folder} was begun with {changed}; choose another --out")
        journal = Journal.open(path, header, Keeping(most, MAX_BYTES, remedy="choose another --out"))
        try:
            yield journal
        finally:
            journal.close()


def check_writable(path: Path) -> None:
    """Refuse a file that could not be written, before anything is detected or paid.

    Raises:
        SettingsError: its folder cannot be made or written, or the path is a folder.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error.strerror) from None
    if path.is_dir():
        raise _unwritable(path, "it is a folder")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise _unwritable(path, f"nothing may be written into {path.parent}")


def write(path: Path, text: str) -> None:
    """Write a file.

    Raises:
        SettingsError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    except OSError as error:
        raise _unwritable(path, error.strerror) from None


def _unwritable(path: Path, why: str | None) -> SettingsError:
    return SettingsError(f"{path} cannot be written ({why}); choose another path")
