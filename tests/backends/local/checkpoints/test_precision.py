"""A shorter precision is used where it is faster and finds the same, which is tried once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dinox_mcp.backends import processor
from dinox_mcp.backends.local.checkpoints import precision
from dinox_mcp.backends.local.checkpoints.precision import Trial, decide, decision, difference, doubt, is_known
from dinox_mcp.backends.local.models.base import Interrupted, RawDetection

FOUND = [
    RawDetection(0, 0.9, (10, 10, 50, 50)),
    RawDetection(1, 0.8, (600, 10, 900, 500)),
    RawDetection(0, 0.1, (10, 600, 50, 900)),
]
AGAIN = RawDetection(0, 0.89, (12, 10, 50, 52))


IMAGES = precision._images  # `conftest` gives the tests others


class Machine:
    """A machine on which both ways take these seconds a pass, one value for each load, and find this."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, exact_s: list[float], short_s: list[float]) -> None:
        self.found: dict[bool, list[RawDetection] | Exception] = {False: FOUND, True: FOUND}
        self.loads: list[bool] = []
        self.now = 0.0
        self._seconds = {False: list(exact_s), True: list(short_s)}
        self._pace = 0.0
        monkeypatch.setattr(precision, "_find", self._find)
        monkeypatch.setattr(precision, "trim", lambda: None)  # takes long beside large libraries

    def __call__(self, short: bool) -> Any:  # noqa: ANN401 - what `_find` gets
        self.loads.append(short)
        self._pace = self._seconds[short].pop(0)
        return short

    def _find(self, model: bool, _image: object) -> list[RawDetection]:
        self.now += self._pace
        found = self.found[model]
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def trial(tmp_path: Path) -> Callable[[Machine], Trial]:
    return lambda machine: Trial("int8", tmp_path / "decisions" / "a.json", lambda: machine.now)


def test_a_way_that_is_clearly_faster_is_chosen_after_one_round(
    monkeypatch: pytest.MonkeyPatch, trial: Callable[[Machine], Trial]
) -> None:
    machine = Machine(monkeypatch, [3.0], [1.0])
    assert decide(machine, trial(machine)) is None
    assert machine.loads == [False, True]


def test_a_way_that_is_hardly_faster_is_not(monkeypatch: pytest.MonkeyPatch, trial: Callable[[Machine], Trial]) -> None:
    machine = Machine(monkeypatch, [1.0], [1.0])
    assert decide(machine, trial(machine)) == "this machine is hardly faster in int8 (1.0 times)"
    assert machine.loads == [False, True]


@pytest.mark.parametrize(
    ("exact_s", "short_s", "faster"),
    [
        ([3.0, 3.0], [2.0, 1.0], True),  # what held up the first pass in int8 did not hold up the second
        ([3.0, 2.0, 2.0], [2.0, 2.0, 2.0], False),
        ([3.0, 3.0, 3.0], [2.0, 2.0, 2.0], True),  # as close in each round: the last one counts
    ],
)
def test_what_is_close_is_measured_again_and_the_best_counts(
    monkeypatch: pytest.MonkeyPatch,
    trial: Callable[[Machine], Trial],
    exact_s: list[float],
    short_s: list[float],
    faster: bool,
) -> None:
    machine = Machine(monkeypatch, exact_s, short_s)
    assert (decide(machine, trial(machine)) is None) == faster
    assert len(machine.loads) > 2


def test_what_is_close_is_not_measured_for_long(
    monkeypatch: pytest.MonkeyPatch, trial: Callable[[Machine], Trial]
) -> None:
    monkeypatch.setattr(precision, "_PATIENCE_S", -1.0)
    machine = Machine(monkeypatch, [3.0], [2.0])
    assert decide(machine, trial(machine)) is None
    assert machine.loads == [False, True]


def test_the_test_images_are_as_large_as_the_input_of_models_and_differ() -> None:
    one, other = IMAGES()
    assert one.size == other.size == (1280, 960)
    assert one.convert("L").entropy() > 4
    assert one != other


def test_a_decision_is_made_once(monkeypatch: pytest.MonkeyPatch, trial: Callable[[Machine], Trial]) -> None:
    machine = Machine(monkeypatch, [1.0], [1.0])
    first = decide(machine, trial(machine))
    machine.loads.clear()
    assert decide(machine, trial(machine)) == first
    assert machine.loads == []


def test_a_damaged_decision_is_made_again(monkeypatch: pytest.MonkeyPatch, trial: Callable[[Machine], Trial]) -> None:
    machine = Machine(monkeypatch, [3.0, 3.0], [1.0, 1.0])
    known = trial(machine).known
    decide(machine, trial(machine))
    known.write_text("{", "utf-8")
    assert not is_known(known)
    assert decide(machine, trial(machine)) is None
    assert is_known(known)


def test_another_processor_release_or_format_decides_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = {decision(tmp_path, "int8", "weights", "1.0"), decision(tmp_path, "int8", "weights", "1.1")}
    monkeypatch.setattr(processor, "name", lambda: "another")
    files.add(decision(tmp_path, "int8", "weights", "1.0"))
    monkeypatch.setattr(precision, "_FORMAT", "another")
    files.add(decision(tmp_path, "int8", "weights", "1.0"))
    assert len(files) == 4


def test_a_way_that_finds_otherwise_is_refused_however_fast(
    monkeypatch: pytest.MonkeyPatch, trial: Callable[[Machine], Trial]
) -> None:
    machine = Machine(monkeypatch, [9.0], [1.0])
    machine.found[True] = FOUND[:-1]
    assert (decide(machine, trial(machine)) or "").startswith("int8 moves this model's boxes")


def test_a_way_that_fails_is_refused(monkeypatch: pytest.MonkeyPatch, trial: Callable[[Machine], Trial]) -> None:
    machine = Machine(monkeypatch, [9.0], [1.0])
    machine.found[True] = RuntimeError("an operator is not implemented")
    assert decide(machine, trial(machine)) == "int8 fails (RuntimeError)"


def test_a_way_that_ended_the_program_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, trial: Callable[[Machine], Trial]
) -> None:
    machine = Machine(monkeypatch, [9.0], [1.0])
    kept: list[str | None] = []
    monkeypatch.setattr(precision, "_measure", lambda *_, **__: kept.append(doubt(trial(machine).known)) or ([], 1.0))
    decide(machine, replace(trial(machine), may_crash=True))
    assert kept[0] == "its trial ended the program"
    assert doubt(trial(machine).known) != kept[0]


@pytest.mark.parametrize("may_crash", [True, False])
def test_a_cancelled_trial_decides_nothing(
    monkeypatch: pytest.MonkeyPatch, trial: Callable[[Machine], Trial], may_crash: bool
) -> None:
    machine = Machine(monkeypatch, [9.0], [1.0])
    machine.found[True] = Interrupted()
    with pytest.raises(Interrupted):
        decide(machine, replace(trial(machine), may_crash=may_crash))
    assert not is_known(trial(machine).known)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({}, None),
        ({"bbox": (12.5, 10, 50, 41)}, None),
        ({"bbox": (25, 10, 50, 50)}, "moves this model's boxes (by 15 pixels of 1280"),
        ({"label": 1}, "moves this model's boxes (by 850 pixels of 1280"),
        ({"score": 0.89}, None),
        ({"score": 0.8}, "changes this model's scores (by 0.10"),
    ],
)
def test_what_counts_as_the_same(change: dict[str, Any], complaint: str | None) -> None:
    changed = [replace(FOUND[0], **change), *FOUND[1:]]
    assert (difference(FOUND, changed) or "").endswith("on a test image)" if complaint else "")
    assert (complaint or "") in (difference(FOUND, changed) or "")


def test_of_two_boxes_that_overlap_and_are_equally_sure_either_may_be_shown() -> None:
    turned = [replace(AGAIN, score=0.9), replace(FOUND[0], score=0.89), *FOUND[1:]]
    assert difference([*FOUND, AGAIN], turned) is None


def test_an_object_more_is_a_difference() -> None:
    more = [*FOUND, RawDetection(0, 0.7, (1000, 10, 1100, 100))]
    assert "moves this model's boxes" in (difference(FOUND, more) or "")
    assert "moves this model's boxes" in (difference(more, FOUND) or "")
