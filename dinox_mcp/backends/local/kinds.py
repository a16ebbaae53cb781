"""Closed vocabularies: the kinds that a model was trained for, and which of them a prompt means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from itertools import islice
from typing import Any

from dinox_mcp.backends.base import Fit
from dinox_mcp.backends.kind_words import KINDS
from dinox_mcp.backends.kinds import Lexicon, Sense, coco, entries, key_of, label_kinds, words_of

_UNUSED = frozenset({"", "none", "n/a", "background"})
"""Names of columns that are not kinds."""
_MOST, _LONGEST = 5000, 80
"""Kinds that are read, and letters of each name: a configuration may be anybody's."""
_VOCABULARIES = 8
"""Lexicons that are kept: making one of 365 kinds takes 25 ms."""


@dataclass(frozen=True)
class Words:
    """The kinds of Objects365.

    Attributes:
        labels: The label of each kind, by the name that checkpoints have for it, in lower case.
        same: The words that mean the same as each label.
        narrower: The words that mean less.
        wider: The words that mean several labels.
    """

    labels: Mapping[str, str]
    same: Mapping[str, Sequence[str]]
    narrower: Mapping[str, Sequence[str]]
    wider: Mapping[str, frozenset[str]]


@cache
def objects365() -> Words:
    """Read the kinds of Objects365; comments in the file describe its format."""
    text = files(__package__).joinpath("objects365.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    labels: dict[str, str] = {}
    same: dict[str, list[str]] = {}
    narrower: dict[str, list[str]] = {}
    wider: dict[str, frozenset[str]] = {}
    for line in lines:
        words, colon, several = line.partition(": ")
        if colon:
            wider |= dict.fromkeys(words.split(", "), frozenset(several.split(", ")))
            continue
        name, _, described = line.partition(" = ")
        alike, _, less = (described or name).partition("; ")
        label, *_ = same_words = alike.split(", ")
        labels[name], same[label], narrower[label] = label, same_words, [word for word in less.split(", ") if word]
    return Words(labels, same, narrower, wider)


def labels_in(config: Mapping[str, Any]) -> dict[int, str]:
    """Return the label of each column of scores that is a kind, by the `id2label` of a `config.json`.

    The names of COCO and Objects365 are tidied: "tvmonitor" is "tv", and "Dinning Table" is "dining table".
    """
    given = config.get("id2label")
    named = islice(given.items(), _MOST) if isinstance(given, dict) else ()
    columns = {int(column): " ".join(str(name).split())[:_LONGEST] for column, name in named if str(column).isdecimal()}
    names = {column: columns[column] for column in sorted(columns) if columns[column].casefold() not in _UNUSED}
    tidy = _of_coco(names) or {column: _tidy(name) for column, name in names.items()}
    return tidy if len(set(tidy.values())) == len(names) else names


def of_data_set(name: str | None) -> tuple[str, ...] | None:
    """Return the labels of models that were trained with COCO or Objects365; None for any noun."""
    return {"COCO": KINDS, "Objects365": tuple(objects365().labels.values())}.get(name or "")


def _of_coco(names: Mapping[int, str]) -> dict[int, str] | None:
    """Name kinds as COCO does, if these are its 80 in any spelling."""
    meant = {column: coco().sense(name) for column, name in names.items()}
    kinds = {column: next(iter(one.kinds)) for column, one in meant.items() if one and len(one.kinds) == 1}
    return kinds if len(kinds) == len(names) and set(kinds.values()) == set(KINDS) else None


def _tidy(name: str) -> str:
    known = objects365().labels
    return known.get(name.casefold(), name.replace("_", " "))


def fit(prompt: str, labels: Sequence[str] | None) -> Fit:
    """Return how well a model with these labels can find a prompt; None for any noun."""
    return Fit.KNOWN if labels is None or _sense(prompt, tuple(labels)) else Fit.NOT


@dataclass(frozen=True, slots=True)
class Targets:
    """What to find for prompts.

    Attributes:
        kinds: The label in results of each of the model's labels that is meant.
        unknown: Prompts that mean none of them.
        covered: Prompts whose objects have the label of another prompt.
        notes: Notes for the caller.
    """

    kinds: Mapping[str, str]
    unknown: tuple[str, ...] = ()
    covered: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def understand(prompts: Sequence[str] | None, labels: Sequence[str]) -> Targets:
    """Find what prompts mean to a model with these labels; None means all of them."""
    if prompts is None:
        return Targets({label: label for label in labels})
    senses = {prompt: _sense(prompt, tuple(labels)) for prompt in prompts}
    known = {prompt: one for prompt, one in senses.items() if one}
    kinds, covered, notes = label_kinds(known, labels, "the model")
    return Targets(kinds, tuple(one for one in senses if one not in known), tuple(covered), tuple(notes))


def _sense(prompt: str, labels: tuple[str, ...]) -> Sense | None:
    sense = _lexicon(labels).sense(prompt)
    exact = next((label for label in labels if label.casefold() == prompt.strip().casefold()), None)
    return Sense(frozenset({exact})) if exact and (sense is None or sense.narrower) else sense


@lru_cache(_VOCABULARIES)
def _lexicon(labels: tuple[str, ...]) -> Lexicon:
    """Make the words for some labels: their own, those of COCO and those of Objects365, as far as they are there."""
    of_coco = set(labels) <= set(KINDS)
    more = Words({}, {}, {}, {}) if of_coco else objects365()
    same = {_key(word): label for label in labels for word in (*more.same.get(label, ()), label)}
    less = {_key(word): label for label in labels for word in (*more.narrower.get(label, ()), *label.split("/"))}
    own = less | same
    senses = dict(entries({kind: own[_key(kind)] for kind in KINDS if _key(kind) in own}))
    senses |= {key: Sense(frozenset({label}), narrower=True) for key, label in less.items()}
    senses |= {key: Sense(frozenset({label})) for key, label in same.items()}
    wider = {word: several.intersection(labels) for word, several in more.wider.items()}
    senses |= {_key(word): Sense(several) for word, several in wider.items() if several}
    senses.pop("", None)  # labels that are too long for a prompt
    return Lexicon(senses)


def _key(name: str) -> str:
    return key_of(words_of(name))
