"""The kinds of everyday objects that a detector with a closed vocabulary knows, and which of them a prompt means.

A prompt is read as an English noun phrase. Its head is the last word before a preposition or a participle: "red car"
and "car in the rain" mean cars. The words for the kinds of COCO are in `kind_words`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from dinox_mcp.backends.kind_words import KINDS, NARROWER, OTHER_THINGS, SAME, WIDER

_LONGEST = 4  # words of the longest entry
_ENOUGH = 64  # words of a prompt that are read


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Quantifiers and similar words, which do not change the meaning at the beginning.
_FILLER = _listed(
    "a an the all any every each some of this that these those my your his her its our their both many most several "
    "few more other another multiple various different visible total how count one two three four five six seven eight "
    "nine ten twelve"
)
# Before "of", these count or gather what follows: "pair of scissors". In the singular.
_MEASURES = _listed(
    "pair bunch slice piece group flock herd crowd number count set row stack pile heap lot plenty dozen couple line "
    "queue fleet pack team family swarm type kind sort breed variety collection hundred thousand cluster litter load"
)
# Before "of", these are not objects of their own: "bag of crisps", "ball of wool", "bed of roses", "table of contents".
_HEAPS = frozenset({"bag", "ball", "bed", "table"})
# What follows these describes or negates what comes before.
_PREPOSITIONS = _listed(
    "in on at with without by near beside besides behind under underneath beneath below above over from to for of off "
    "between among against along across around round through into onto upon atop toward towards within amid during "
    "opposite past before after about that who whom whose which where when while is are was were has have as than "
    "no not non nor except but holding wearing"
)
# These do so after a known object; elsewhere they describe what follows: "a car parked", but "a parked car".
_AFTERTHOUGHTS = _listed(
    "sitting standing lying laying walking running sleeping flying waiting moving grazing swimming playing looking "
    "facing eating hanging resting floating jumping driving parked seated dressed "
    "next close closest nearest nearby alone together outside inside outdoors indoors full"
)
# After a person, other participles do so, too, but not these, which are nouns: "pedestrian crossing".
_NOUNS_IN_ING = _listed(
    "building clothing painting drawing meeting wedding changing ceiling crossing training parking gathering fitting "
    "bedding dressing washing briefing"
)
_PARTICIPLE = re.compile(r"[^\W\d_]{3,}ing")
_PAST_PARTICIPLE = re.compile(r"[^\W\d_]{4,}ed")

_IRREGULAR = {
    "people": "person",
    "men": "man",
    "children": "child",
    "mice": "mouse",
    "geese": "goose",
    "oxen": "ox",
    "knives": "knife",
    "calves": "calf",
    "wives": "wife",
    "thieves": "thief",
    "busses": "bus",
}
_IRREGULAR_ENDING = re.compile(f"(?:{'|'.join(_IRREGULAR)})$")
_ENDING_OF_NOUNS = re.compile(r"(?:ies?|(?<=[sxzo])es?|(?<=[cs]h)es?|(?<![su])s)$")

_ENDING_OF_NAMES = re.compile(r"['\u2019\u02bc]s\b|\(e?s\)")  # "dog's", "dog(s)"
_TOKEN = re.compile(r"[^\W_]+|[,;/&+]")
_COLOUR = re.compile(r"\borange and (?=(?:white|black|brown|gr[ea]y|red|green|blue|yellow|pink|purple)\b)")
_EVERYWHERE = re.compile(
    r"(?: visible| seen| shown)? (?:in|on|from) (?:the |this |my |an? )?"
    r"(?:image|picture|photo|photograph|scene|frame|shot|screenshot|view)$"
)


@dataclass(frozen=True, slots=True)
class Sense:
    """What a prompt means: kinds of the model; it may be narrower than what is found for it, as "man" for persons."""

    kinds: frozenset[str]
    narrower: bool = False


class Lexicon:
    """The words for a detector's kinds: what they mean by their `key_of`, or None if they only end like another."""

    def __init__(self, senses: Mapping[str, Sense | None]) -> None:
        self._senses = senses

    def sense(self, prompt: str) -> Sense | None:
        """Return what a prompt means, in any case, spelling and number; None if it does not mean any of the kinds."""
        found: list[Sense] = []
        skipped = False
        for words in self._alternatives(prompt):
            if found and words[0] in _PREPOSITIONS | _AFTERTHOUGHTS:
                skipped = True  # "a dog, sitting"
                break
            one, described = self._read(words)
            if one:
                found.append(one)
            elif found or described:
                return None  # finding a part of what the prompt means would look like all of it
            else:
                skipped = True  # "black and white cat"
            if described:
                break
        if not found:
            return None
        return Sense(frozenset().union(*(one.kinds for one in found)), skipped or any(one.narrower for one in found))

    def _alternatives(self, prompt: str) -> Iterator[Sequence[str]]:
        """Split a prompt at "and", "or", and marks with this meaning; yield the words of each part."""
        tokens = _TOKEN.findall(_ENDING_OF_NAMES.sub("", prompt.casefold()))[:_ENOUGH]
        text = " ".join("and" if token == "or" or not token.isalnum() else token for token in tokens)  # noqa: S105 - a word
        text = _EVERYWHERE.sub("", _COLOUR.sub("", text))
        if key_of(text.split()) in self._senses:
            yield text.split()  # an entry that contains "and"
            return
        for part in re.split(r"\band\b", text):
            if part.strip():
                yield part.split()

    def _read(self, words: Sequence[str]) -> tuple[Sense | None, bool]:
        """Read one noun phrase; return what it means, and whether a description follows its head."""
        words = self._bare(words)
        if key_of(words) in self._senses:
            return self._senses[key_of(words)], False
        if words and words[0] in _PREPOSITIONS:
            return None, True
        end = next((index for index in range(1, len(words)) if self._ends(words, index)), len(words))
        noun, described = words[:end], end < len(words)
        if described and words[end] == "of":
            if _root(noun[-1]) in _MEASURES:
                inner, described = self._read(words[end + 1 :])
                return (replace(inner, narrower=inner.narrower or len(noun) > 1) if inner else None), described
            if _root(noun[-1]) in _HEAPS:
                return None, True
        found = self._head(noun)
        return (replace(found, narrower=True) if found and described else found), described

    def _bare(self, words: Sequence[str]) -> Sequence[str]:
        """Remove quantifiers from the front, but not from an entry: "two wheeler"."""
        for index, word in enumerate(words):
            if not (word in _FILLER or word.isdecimal()) or key_of(words[index:]) in self._senses:
                return words[index:]
        return ()

    def _ends(self, words: Sequence[str], index: int) -> bool:
        """Return whether the word at an index begins a description of what comes before it."""
        word, following = words[index], words[index + 1] if index + 1 < len(words) else ""
        if word in _PREPOSITIONS:
            return True
        acting = _PARTICIPLE.fullmatch(word) is not None
        if acting and following in _FILLER:
            return True  # "hand lifting a cup"
        known = self._head(words[:index])
        if known is None:
            return False
        if word in _AFTERTHOUGHTS or (_PAST_PARTICIPLE.fullmatch(word) and following in _PREPOSITIONS):
            return True
        return acting and known.kinds == {"person"} and word not in _NOUNS_IN_ING

    def _head(self, words: Sequence[str]) -> Sense | None:
        """Look up the longest known end of a noun phrase: "ice cream cake" is a cake, "hot dog" is not a dog."""
        for length in range(min(_LONGEST, len(words)), 0, -1):
            key = key_of(words[-length:])
            if key in self._senses:
                found = self._senses[key]
                return replace(found, narrower=found.narrower or length < len(words)) if found else None
        return None


def words_of(name: str) -> list[str]:
    """Split the name of a kind into words, in lower case and without marks."""
    return [word for word in _TOKEN.findall(name.casefold()) if word.isalnum()]


def key_of(words: Sequence[str]) -> str:
    """Join words, as in "suit case" and "suitcase", and make them singular; "" if no entry is as long."""
    return _root("".join(words)) if len(words) <= _LONGEST else ""


def _root(noun: str) -> str:
    """Reduce singular and plural to one form, which may not be a word: "pony" for "ponies", "vas" for "vases"."""
    if noun == "glasses":
        return noun  # spectacles, unlike the plural of "wine glass"
    irregular = _IRREGULAR_ENDING.search(noun)
    if irregular:
        return _root(noun[: irregular.start()] + _IRREGULAR[irregular.group()])
    return _ENDING_OF_NOUNS.sub(lambda ending: "y" if ending.group().startswith("i") else "", noun)


def entries(labels: Mapping[str, str]) -> Iterator[tuple[str, Sense | None]]:
    """List the words for kinds of COCO, by their key, with what they mean; None if it is none that is known.

    `labels` says what a detector calls those kinds of COCO that it knows.
    """
    names = {kind: kind for kind in KINDS}
    for table in (names, SAME, WIDER, NARROWER):
        for kinds, words in table.items():
            known = frozenset(labels[kind] for kind in kinds.split(", ") if kind in labels)
            meaning = Sense(known, narrower=table is NARROWER) if known else None
            yield from ((key_of(word.split()), meaning) for word in words.split(",") if word.strip())
    yield from ((key_of(word.split()), None) for word in OTHER_THINGS.split(","))


@cache
def coco() -> Lexicon:
    """Return the words for all kinds of COCO, by COCO's own names."""
    return Lexicon(dict(entries({kind: kind for kind in KINDS})))


def sense(prompt: str) -> Sense | None:
    """Return which kinds of COCO a prompt means; see `Lexicon.sense`."""
    return coco().sense(prompt)


def label_kinds(
    senses: Mapping[str, Sense], kinds: Sequence[str], detector: str
) -> tuple[dict[str, str], list[str], list[str]]:
    """Label each kind of object with the prompt that names it best.

    An exact word is better than one that is narrower than the kind, and one for few kinds better than one for many.
    If several prompts are all narrower than a kind, the model cannot distinguish them, and the kind's own name is the
    label.

    Args:
        senses: What each prompt means.
        kinds: All kinds of the detector, in its order.
        detector: What notes call it.

    Returns:
        The label of each kind, the prompts that are not a label, and notes.
    """
    places = {kind: place for place, kind in enumerate(kinds)}
    ranked = sorted(senses, key=lambda prompt: (senses[prompt].narrower, len(senses[prompt].kinds)))
    labels: dict[str, str] = {}
    mixed: dict[str, list[str]] = {}
    for kind in sorted({kind for known in senses.values() for kind in known.kinds}, key=places.__getitem__):
        claims = [prompt for prompt in ranked if kind in senses[prompt].kinds]
        if senses[claims[0]].narrower and len(claims) > 1:
            labels[kind], mixed[kind] = kind, claims
        else:
            labels[kind] = claims[0]
    covered = [prompt for prompt in senses if prompt not in labels.values()]
    notes = [
        f"{' and '.join(map(repr, claims))}: found as {kind}; {detector} cannot distinguish them"
        for kind, claims in mixed.items()
    ]
    noted = {prompt for claims in mixed.values() for prompt in claims}
    for prompt, known in senses.items():
        meant = sorted(known.kinds, key=places.__getitem__)
        if prompt in noted:
            continue
        if prompt in covered:
            notes.append(covered_note(prompt, (labels[kind] for kind in meant)))
        elif taken := [f"{kind} is listed as '{labels[kind]}'" for kind in meant if labels[kind] != prompt]:
            notes.append(f"'{prompt}' does not count everything that it covers: {', '.join(taken)}")
        elif known.narrower:
            found_as = " or ".join(meant)
            notes.append(f"{prompt}: found as {found_as}; {detector} does not know which of them are '{prompt}'")
    return labels, covered, notes


def covered_note(prompt: str, labels: Iterable[str], listed: str = "object") -> str:
    """Say that what a prompt means is listed under other labels."""
    others = " and ".join(f"'{label}'" for label in dict.fromkeys(labels))
    return f"'{prompt}' is covered by {others}: each {listed} is listed once"
