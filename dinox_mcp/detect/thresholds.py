"""Thresholds of single labels, from a file that `dinox-mcp evaluate --tune` writes for one backend and model."""

import tomllib
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from dinox_mcp.errors import SettingsError
from dinox_mcp.settings import environment_name
from dinox_mcp.store.files import read_regular
from dinox_mcp.types.detection import Detection, Score, Value

MAX_BYTES = 1024 * 1024
_NAMED = 12


class LabelScores(Value):
    """Thresholds of labels, for the answers of one model.

    Attributes:
        backend: the backend that has the model.
        model: the model, as results name it.
        min_score: the threshold of all other labels; None for the model's own.
        labels: the threshold of each label.
    """

    backend: str
    model: str
    min_score: Score | None = None
    labels: Annotated[dict[str, Score], Field(max_length=10_000)]

    @property
    def lowest(self) -> float:
        """The lowest threshold."""
        return min([*self.labels.values(), *([] if self.min_score is None else [self.min_score])], default=1.0)

    @cached_property
    def _folded(self) -> Mapping[str, float]:
        return {label.casefold(): score for label, score in self.labels.items()}

    def holds_for(self, model: str) -> bool:
        """Return whether these are thresholds of a model; several that answered together are joined by " + "."""
        return set(self.model.split(" + ")) <= set(model.split(" + "))

    def of(self, found: Detection) -> float | None:
        """Give the threshold of a detection, by its label or by what the model calls it; None for the model's own."""
        own = self._own(found)
        return self.min_score if own is None else own[1]

    def notes(self, labels: Iterable[str], found: Iterable[Detection], model: str) -> tuple[str, ...]:
        """Say which thresholds were used for the labels of a request, and for what the model calls otherwise."""
        if not self.holds_for(model):
            return (self.unused(f"the model {self.model}", model),)
        own = {label: score for label in labels if (score := self._folded.get(label.casefold())) is not None}
        own |= dict(pair for one in found if (pair := self._own(one)) is not None)
        shown = [f"{label} {score:g}" for label, score in list(own.items())[:_NAMED]]
        more = [f"and {len(own) - _NAMED} more"] if len(own) > _NAMED else []
        others = [] if self.min_score is None else [f"others {self.min_score:g}"]
        listed = ", ".join([*shown, *more, *others])
        return (f"min_score by label, as {environment_name('min_scores')} has it: {listed}",) if listed else ()

    @staticmethod
    def unused(wanted: str, got: str) -> str:
        """Say that the thresholds are for something else than what answers."""
        return f"{environment_name('min_scores')} was not used: it is for {wanted}, not {got}"

    def _own(self, found: Detection) -> tuple[str, float] | None:
        """Give the name of a detection that has a threshold, and the threshold."""
        names = [name for name in (found.label, found.category) if name is not None]
        return next(((name, self._folded[name.casefold()]) for name in names if name.casefold() in self._folded), None)


def read(path: Path) -> LabelScores:
    """Read a file of thresholds. Blocks.

    Raises:
        SettingsError: it cannot be read, or is not such a file.
    """
    try:
        data = read_regular(path, MAX_BYTES, follow_links=True)
        return LabelScores.model_validate(tomllib.loads(data.decode()))
    except OSError as error:
        problem = f"cannot read {path} ({error.strerror})"
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        problem = f"{where} of {path} is wrong ({first['msg'][:1].lower()}{first['msg'][1:]})"
    except (ValueError, RecursionError) as error:  # ValueError itself: a number of thousands of digits
        problem = f"{path} is not TOML ({str(error).partition(';')[0]})"
    remedy = "make one with dinox-mcp evaluate --tune FILE, or unset it"
    raise SettingsError(f"{environment_name('min_scores')}: {problem}; {remedy}")
