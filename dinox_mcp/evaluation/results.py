"""The files of a run besides its report: thresholds that are tuned to its counts, and the page."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import anyio.to_thread
import tomlkit

from dinox_mcp import __version__
from dinox_mcp.detector import Detector
from dinox_mcp.evaluation.compare import Comparison
from dinox_mcp.evaluation.folder import write
from dinox_mcp.evaluation.labelled import Dataset
from dinox_mcp.evaluation.mistakes import Mistakes
from dinox_mcp.evaluation.page import MAX_CONFUSED, Page
from dinox_mcp.evaluation.precision import Precision
from dinox_mcp.evaluation.prompts import Vocabulary
from dinox_mcp.evaluation.report import Report, Tuned
from dinox_mcp.evaluation.tuning import FOLDS, CountErrorsByThreshold
from dinox_mcp.evaluation.worst import MAX_IMAGES, worst_images
from dinox_mcp.settings import environment_name


@dataclass(frozen=True, slots=True)
class Files:
    """Which files are wanted.

    Attributes:
        page: the page, as HTML.
        thresholds: the best thresholds for counting, as a file that the setting `min_scores` names.
    """

    page: Path | None = None
    thresholds: Path | None = None


@dataclass(frozen=True)
class Findings:
    """What a run has found, compared with what is labelled.

    Attributes:
        dataset: the data set.
        vocabulary: its prompts.
        comparison: what was found, beside what is labelled.
        precision: the figures by the first rules; None where only counts are compared.
        absent: whether what is not labelled in an image is absent.
        federated: only what is known to be absent is (LVIS).
        own: the model's own threshold.
        least: the lowest score that was searched for.
        counted: the lowest score that counts; None where all that was found does.
        by_label: labels had thresholds of their own, so that nothing is known of others.
    """

    dataset: Dataset
    vocabulary: Vocabulary
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
        images, categories = self.comparison.answered, len(self.dataset.categories)
        return CountErrorsByThreshold(self._labelled, self.comparison.found, images, categories, self.least)

    def tuned(self) -> Tuned | None:
        """Choose the best thresholds, and measure what they gain; None if there are too few images."""
        if not self._enough:
            return None
        errors = self.errors
        gain = errors.gain(self.own)
        names = [one.name for one in self.dataset.categories]
        return Tuned(
            own_min_score=self.own,
            min_score=errors.one,
            labels={names[place]: threshold for place, threshold in errors.labels.items()},
            own=gain.own,
            one=gain.one,
            by_label=gain.labels,
            fitted=gain.fitted,
        )

    def write_thresholds(self, path: Path, tuned: Tuned, report: Report, backend: str) -> None:
        """Write tuned thresholds as a file that the setting `min_scores` names.

        Raises:
            SettingsError: it cannot be written.
        """
        content = tomlkit.document()
        for line in (
            f"The best thresholds for counting, by dinox-mcp evaluate {__version__}",
            f"tuned on {report.answered} images of {self.dataset.file.name!r}",
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
            for prompt in self.vocabulary.prompts([place]):
                labels[prompt] = threshold
        content["labels"] = labels
        write(path, tomlkit.dumps(content))

    async def write_page(self, path: Path, report: Report, detector: Detector) -> None:
        """Write the page.

        Raises:
            SettingsError: it cannot be written.
        """
        errors = self.errors if self._enough and not self.by_label else None
        truth, found = self.comparison.truth, self.comparison.found
        if self.precision is None:
            page = Page(report, self.own, errors=errors, points=self._points())
        else:
            mistakes = Mistakes(truth, found, self.precision.matches, self.own)
            page = Page(
                report,
                self.own,
                self.precision,
                mistakes.by_score(),
                mistakes.confusion(MAX_CONFUSED),
                errors,
                worst=await worst_images(detector, self.dataset, truth, found, mistakes.worst(MAX_IMAGES)),
            )
        await anyio.to_thread.run_sync(write, path, page.html())

    @property
    def _enough(self) -> bool:
        return self.comparison.answered >= FOLDS

    @cached_property
    def _labelled(self) -> Mapping[tuple[int, int], int]:
        return self.comparison.wrong_counts(absent=self.absent, federated=self.federated)

    def _points(self) -> list[tuple[int, int]]:
        """Give the pairs of labelled and found counts."""
        found = self.comparison.found_counts(self.counted)
        return [(number, found.get(pair, 0)) for pair, number in self._labelled.items()]
