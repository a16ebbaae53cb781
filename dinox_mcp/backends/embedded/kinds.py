"""The kinds of everyday objects that can be detected, and which of them a prompt means.

A prompt is read as an English noun phrase. Its head is the last word before a preposition or a participle: "red car"
and "car in the rain" mean cars. The words are in `kind_words`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from dinox_mcp.backends.embedded.kind_words import KINDS, NARROWER, OTHER_THINGS, SAME, WIDER

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
    """What a prompt means.

    Attributes:
        kinds: The kinds of the model that the prompt means; at least one.
        narrower: The prompt means less than what is found for it: "man" finds every person.
    """

    kinds: frozenset[str]
    narrower: bool = False


def sense(prompt: str) -> Sense | None:
    """Return what a prompt means, in any case, spelling and number; None if it does not mean any of the kinds."""
    found: list[Sense] = []
    skipped = False
    for words in _alternatives(prompt):
        if found and words[0] in _PREPOSITIONS | _AFTERTHOUGHTS:
            skipped = True  # "a dog, sitting"
            break
        one, described = _read(words)
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


def _alternatives(prompt: str) -> Iterator[Sequence[str]]:
    """Split a prompt at "and", "or", and marks with this meaning; yield the words of each part."""
    tokens = _TOKEN.findall(_ENDING_OF_NAMES.sub("", prompt.casefold()))[:_ENOUGH]
    text = " ".join("and" if token == "or" or not token.isalnum() else token for token in tokens)  # noqa: S105 - a word
    text = _EVERYWHERE.sub("", _COLOUR.sub("", text))
    if _key(text.split()) in _lexicon():
        yield text.split()  # an entry that contains "and"
        return
    for part in re.split(r"\band\b", text):
        if part.strip():
            yield part.split()


def _read(words: Sequence[str]) -> tuple[Sense | None, bool]:
    """Read one noun phrase; return what it means, and whether a description follows its head."""
    words = _bare(words)
    if _key(words) in _lexicon():
        return _lexicon()[_key(words)], False
    if words and words[0] in _PREPOSITIONS:
        return None, True
    end = next((index for index in range(1, len(words)) if _ends(words, index)), len(words))
    noun, described = words[:end], end < len(words)
    if described and words[end] == "of":
        if _root(noun[-1]) in _MEASURES:
            inner, described = _read(words[end + 1 :])
            return (replace(inner, narrower=inner.narrower or len(noun) > 1) if inner else None), described
        if _root(noun[-1]) in _HEAPS:
            return None, True
    found = _head(noun)
    return (replace(found, narrower=True) if found and described else found), described


def _bare(words: Sequence[str]) -> Sequence[str]:
    """Remove quantifiers from the front, but not from an entry: "two wheeler"."""
    for index, word in enumerate(words):
        if not (word in _FILLER or word.isdecimal()) or _key(words[index:]) in _lexicon():
            return words[index:]
    return ()


def _ends(words: Sequence[str], index: int) -> bool:
    """Return whether the word at an index begins a description of what comes before it."""
    word, following = words[index], words[index + 1] if index + 1 < len(words) else ""
    if word in _PREPOSITIONS:
        return True
    acting = _PARTICIPLE.fullmatch(word) is not None
    if acting and following in _FILLER:
        return True  # "hand lifting a cup"
    known = _head(words[:index])
    if known is None:
        return False
    if word in _AFTERTHOUGHTS or (_PAST_PARTICIPLE.fullmatch(word) and following in _PREPOSITIONS):
        return True
    return acting and known.kinds == {"person"} and word not in _NOUNS_IN_ING


def _head(words: Sequence[str]) -> Sense | None:
    """Look up the longest known end of a noun phrase: "ice cream cake" is a cake, "hot dog" is not a dog."""
    for length in range(min(_LONGEST, len(words)), 0, -1):
        key = _key(words[-length:])
        if key in _lexicon():
            found = _lexicon()[key]
            return replace(found, narrower=found.narrower or length < len(words)) if found else None
    return None


def _key(words: Sequence[str]) -> str:
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


@cache
def _lexicon() -> dict[str, Sense | None]:
    return dict(_entries())


def _entries() -> Iterator[tuple[str, Sense | None]]:
    """List all words with their meanings; None for words that only look like one of the kinds."""
    names = {kind: kind for kind in KINDS}
    for table in (names, SAME, WIDER, NARROWER):
        for kinds, words in table.items():
            meaning = Sense(frozenset(kinds.split(", ")), narrower=table is NARROWER)
            yield from ((_key(word.split()), meaning) for word in words.split(",") if word.strip())
    yield from ((_key(word.split()), None) for word in OTHER_THINGS.split(","))
