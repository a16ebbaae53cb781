"""Labels: what a caller names, or a vocabulary."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from dinox_mcp.backends.local.caches import LabelStates
from dinox_mcp.backends.local.families.base import Found, ImageState, TextReader
from dinox_mcp.backends.local.host import Host
from dinox_mcp.backends.local.model import Loaded
from dinox_mcp.backends.local.questions.turn import Answer, Turn
from dinox_mcp.backends.local.wording import quoted

if TYPE_CHECKING:
    import torch

_QUICK = 50
"""Labels that take milliseconds to embed and to find, where the model reuses text."""


class Embeddings:
    """What models make of labels: in memory while they are loaded, and in a folder for longer."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._states: dict[Host, LabelStates] = {}

    def rows(self, host: Host, loaded: Loaded, labels: Sequence[str]) -> "torch.Tensor | None":
        """Give a row for each label, or None where the model reads labels with the picture. Runs in its thread."""
        if not loaded.adapter.reuses_text:
            return None
        import torch

        states = self._states.get(host)
        if states is None:
            states = self._states[host] = LabelStates(self._cache, loaded.fingerprint)

        def tell(done: int, total: int) -> None:
            host.tell(0.5, f"reading the labels, {done} of {total}")

        return torch.from_numpy(states.rows(labels, cast("TextReader", loaded.adapter).embed, tell))

    def forget(self, host: Host) -> None:
        """Drop what is in memory for a model that leaves it."""
        self._states.pop(host, None)

    @property
    def _cache(self) -> Path:
        from platformdirs import user_cache_path

        return self._folder or user_cache_path("dinox-mcp") / "labels"


class _Start(NamedTuple):
    """What the first turn with the model gives: the first part's findings, and what the other parts need.

    It does not hold the model, which may have to leave memory between two parts.
    """

    model: str
    notes: list[str]
    state: ImageState
    parts: list[list[int]]
    found: list[Found]


async def find(turn: Turn, labels: Sequence[str], embeddings: Embeddings, state: ImageState | None = None) -> Answer:
    """Ask for all labels, part by part where the model cannot read them at once; others come in between."""

    def find_part(loaded: Loaded, state: ImageState, part: Sequence[int]) -> list[Found]:
        asked = [labels[place] for place in part]
        rows = embeddings.rows(turn.host, loaded, asked)
        found = loaded.adapter.find(state, asked, rows, turn.min_score, masks=turn.masks)
        return [Found(part[one.label], one.score, one.bbox, one.mask) for one in found]

    def begin(loaded: Loaded, state: ImageState) -> _Start:
        parts = loaded.adapter.chunks(labels)
        notes = [*loaded.notes]
        if cut := [labels[place] for place in loaded.adapter.overlong(labels)]:
            notes.append(f"the model reads only the beginning of {quoted(cut)}; shorter labels are read whole")
        return _Start(loaded.name, notes, state, parts, find_part(loaded, state, parts[0]))

    start = await turn.ask(begin, state=state, quick=len(labels) <= _QUICK)
    found, parts = start.found, start.parts
    for number, part in enumerate(parts[1:], start=2):
        await turn.call.progress(0.6 + 0.4 * (number - 1) / len(parts), f"part {number} of {len(parts)}")
        found += await turn.ask(partial(find_part, part=part), state=start.state)
    notes = start.notes
    if len(parts) > 1:
        notes.append(f"the labels were asked for in {len(parts)} parts, as the model reads so many at a time")
    return Answer(start.model, labels, found, notes)
