"""Figures that others have published for the same data sets, with their sources; none of them is measured here."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from dinox_mcp.evaluation.labelled import Dataset, Iou
from dinox_mcp.types.detection import Value

Benchmark = Literal["coco", "lvis_minival", "lvis_val", "sginw"]
FILE = Path(__file__).with_name("published.json")
PUBLISHED = "zero-shot, as published"
"""The heading of published models in a table."""
_KINDS_OF_COCO = 80
_SOME_OF_COCO = {"person", "fire hydrant", "baseball bat", "hair drier", "toothbrush"}


class PublishedFigures(Value):
    """The figures of a model, in percent: `AP`, and for LVIS `AP rare` where it is published."""

    model: str
    figures: dict[str, float]
    source: str


class Published(Value):
    """What is published for a data set, the best model first."""

    benchmark: str
    models: tuple[PublishedFigures, ...]


def published(benchmark: Benchmark | None, iou: Iou) -> Published | None:
    """Read what is published for a data set; None where nothing is. Blocks."""
    found = json.loads(FILE.read_text(encoding="utf-8")).get(iou, {}).get(benchmark)
    return found and Published.model_validate(found)


def benchmark_of(kind: str, dataset: Dataset) -> Benchmark | None:
    """Recognize a data set: COCO by its categories, LVIS by the name of its file."""
    if kind == "lvis":
        name = dataset.file.name.lower()
        return "lvis_minival" if "minival" in name else "lvis_val" if "val" in name else None
    names = {one.name.replace("_", " ").casefold() for one in dataset.categories}
    is_coco = len(dataset.categories) == _KINDS_OF_COCO and names >= _SOME_OF_COCO
    return "coco" if kind == "coco" and is_coco else None


def rows_of(one: Published, ours: Mapping[str, float | None], what: str) -> list[list[str]]:
    """Write the rows of a table: what is published beside the figures (from 0 to 1) of this run, which is on `what`."""
    names = list(dict.fromkeys(name for model in one.models for name in model.figures))
    rows = [[PUBLISHED, *names]]
    rows += [[model.model, *(_shown(model.figures.get(name)) for name in names)] for model in one.models]
    mine = [None if (figure := ours.get(name)) is None else 100 * figure for name in names]
    return [*rows, [f"this run, on {what}", *map(_shown, mine)]]


def _shown(percent: float | None) -> str:
    return "-" if percent is None else f"{percent:.1f}"
