"""Closed vocabularies of local models: labels by their configuration, and what prompts mean."""

import pytest

from dinox_mcp.backends.base import Fit
from dinox_mcp.backends.kind_words import KINDS
from dinox_mcp.backends.local import kinds
from dinox_mcp.backends.local.kinds import Targets, fit, labels_in, objects365, understand

OBJECTS365 = tuple(objects365().labels.values())
OF_VOC = {
    "motorcycle": "motorbike",
    "airplane": "aeroplane",
    "couch": "sofa",
    "potted plant": "pottedplant",
    "dining table": "diningtable",
    "tv": "tvmonitor",
}
"""How published checkpoints write some kinds of COCO."""


def config(*names: str) -> dict[str, object]:
    return {"id2label": {str(column): name for column, name in enumerate(names)}}


def test_the_kinds_of_coco_have_its_own_names() -> None:
    assert tuple(labels_in(config(*(OF_VOC.get(kind, kind) for kind in KINDS))).values()) == KINDS


def test_the_kinds_of_objects365_are_tidied_and_keep_their_columns() -> None:
    labels = labels_in(config("None", *(name.title() for name in objects365().labels)))
    assert list(labels) == list(range(1, 366))
    assert tuple(labels.values()) == OBJECTS365
    some = {1: "person", 35: "SUV", 38: "monitor/TV", 57: "wild bird", 99: "dining table", 365: "table tennis ball"}
    assert {column: labels[column] for column in some} == some


def test_each_kind_of_objects365_has_one_label_and_every_group_is_of_labels() -> None:
    assert len(set(OBJECTS365)) == 365
    assert frozenset().union(*objects365().wider.values()) <= set(OBJECTS365)


def test_other_labels_stay_as_they_are() -> None:
    assert labels_in(config("forklift_truck", "N/A", "Hard Hat")) == {0: "forklift truck", 2: "Hard Hat"}
    assert labels_in(config("sofa", "chair")) == {0: "sofa", 1: "chair"}


def test_two_kinds_never_get_one_label() -> None:
    assert labels_in(config("tea pot", "teapot")) == {0: "tea pot", 1: "teapot"}


@pytest.mark.parametrize("odd", [{}, {"id2label": None}, {"id2label": ["person"]}, {"id2label": {"x": "a", "-1": "b"}}])
def test_a_configuration_without_names_has_no_labels(odd: dict[str, object]) -> None:
    assert labels_in(odd) == {}


def test_every_kind_goes_by_its_label() -> None:
    senses = {label: kinds._sense(label, OBJECTS365) for label in OBJECTS365}
    assert [label for label, sense in senses.items() if not sense or label not in sense.kinds or sense.narrower] == []


@pytest.mark.parametrize(
    ("prompt", "expected", "narrower"),
    [
        ("two people", {"person"}, False),
        ("woman in a red coat", {"person"}, True),
        ("a pen", {"pen/pencil"}, True),
        ("television", {"monitor/TV"}, True),
        ("trash cans", {"trash bin"}, False),
        ("fridge", {"refrigerator"}, False),
        ("teddy bears", {"stuffed toy"}, True),
        ("sunglasses", {"glasses"}, True),
        ("hard hats", {"helmet"}, True),
        ("van", {"van"}, False),
        ("cars", {"car", "SUV", "sports car", "van"}, False),
        ("football", {"soccer ball", "american football"}, False),
        ("phones", {"cell phone", "telephone"}, False),
        ("dog or cat", {"dog", "cat"}, False),
        ("duck", {"duck"}, False),
    ],
)
def test_words_for_kinds_of_objects365(prompt: str, expected: set[str], narrower: bool) -> None:
    sense = kinds._sense(prompt, OBJECTS365)
    assert sense is not None
    assert (sense.kinds, sense.narrower) == (expected, narrower)


@pytest.mark.parametrize("prompt", ["unicorn", "window", "toy train station", "bird cage", ""])
def test_what_is_none_of_the_kinds_is_not_known(prompt: str) -> None:
    assert fit(prompt, OBJECTS365) == Fit.NOT


def test_labels_of_another_data_set_are_known_by_their_own_words_and_those_for_kinds_of_coco() -> None:
    labels = ("forklift truck", "person", "a label that has more than four words")
    assert [fit(prompt, labels) for prompt in ("forklift trucks", "workers", labels[2].upper())] == [Fit.KNOWN] * 3
    assert [fit(prompt, labels) for prompt in ("truck", "dog", "label")] == [Fit.NOT] * 3


def test_a_model_that_knows_any_noun_knows_all_prompts() -> None:
    assert fit("unicorn", None) == Fit.KNOWN


def test_a_configuration_of_anybody_is_bounded() -> None:
    labels = labels_in({"id2label": {str(column): f"{column} {'x' * 10_000}" for column in range(20_000)}})
    assert len(labels) == 5000
    assert max(map(len, labels.values())) == 80


def test_without_prompts_all_kinds_are_meant() -> None:
    assert understand(None, ("dog", "cat")) == Targets({"dog": "dog", "cat": "cat"})


def test_kinds_are_labelled_with_the_prompts_and_unknown_prompts_are_listed() -> None:
    targets = understand(("Doggy", "unicorn", "animals"), ("person", "dog", "cat"))
    assert targets.kinds == {"dog": "Doggy", "cat": "animals"}
    assert targets.unknown == ("unicorn",)
    assert targets.notes == ("'animals' does not count everything that it covers: dog is listed as 'Doggy'",)


def test_prompts_that_the_model_cannot_distinguish_share_the_name_of_the_kind() -> None:
    targets = understand(("man", "woman"), ("person", "dog"))
    assert targets.kinds == {"person": "person"}
    assert targets.covered == ("man", "woman")
    assert targets.notes == ("'man' and 'woman': found as person; the model cannot distinguish them",)
