"""Sentences that callers write, and the noun phrases in them."""

from collections.abc import Iterator
from itertools import pairwise

from dinox_mcp.errors import InputError

MAX_SENTENCE_LENGTH = 1000
_MODIFIERS = ("JJ", "VBN", "NN")
_OPENERS = ("DT", "PRP$", "CD")
# Heads that name a place or a quantity, not a thing that can be boxed.
_NO_THINGS = frozenset(
    (
        *("background", "bottom", "center", "centre", "corner", "edge", "foreground", "front", "left", "middle"),
        *("rear", "right", "side", "top"),
        *("bunch", "couple", "group", "kind", "lot", "lots", "number", "pair", "piece", "pieces", "sort", "type"),
        *("image", "photo", "photograph", "picture", "scene", "view"),
    )
)
_QUANTIFIERS = frozenset(("few", "many", "more", "most", "other", "others", "several", "some", "various"))


def parse_sentence(sentence: str, name: str) -> str:
    """Bring a sentence to one line.

    Raises:
        InputError: it is empty or too long; `name` says which argument it was.
    """
    line = " ".join(sentence.split())
    if not line:
        raise InputError(f"{name} is empty; write one sentence in English, as in 'the man in red left of the car'")
    if len(line) > MAX_SENTENCE_LENGTH:
        raise InputError(f"{name} has {len(line)} characters, more than {MAX_SENTENCE_LENGTH}; write a shorter one")
    return line


def noun_phrases(caption: str) -> tuple[str, ...]:
    """List the noun phrases of an English caption in its own spelling, each once, without articles and numbers.

    Words are told apart by TextBlob's tagger, which knows a lexicon and guesses the rest.

    Raises:
        InputError: there is none.
    """
    phrases = {phrase.casefold(): phrase for phrase in _chunks(caption)}
    if not phrases:
        raise InputError(
            f"no noun phrase was found in the caption {caption[:80]!r}; name the things in it as phrases, as in "
            '["man", "red shirt"]'
        )
    return tuple(phrases.values())


def _chunks(caption: str) -> Iterator[str]:
    from textblob.en import tag as tagged  # a second of imports that nobody else needs

    chunk: list[tuple[str, str]] = []
    opened = False  # by an article or the like, and without a noun so far: "the parked ...", "a stop ..."
    words = [*tagged(caption), (".", ".")]
    for (word, tag), (_, following) in pairwise([*words, (".", ".")]):
        quantifies = word.casefold() in _QUANTIFIERS
        verb = tag == "NNS" and following in _OPENERS and bool(chunk)  # "a dog chases the cat" has no "dog chases"
        if not (quantifies or verb) and (tag.startswith(_MODIFIERS) or (tag.startswith("VB") and opened)):
            chunk.append((word, tag))
            opened = opened and not tag.startswith("NN")
        else:
            yield from _phrase(chunk)
            chunk = []
            opened = tag in _OPENERS or quantifies


def _phrase(chunk: list[tuple[str, str]]) -> Iterator[str]:
    """Take a run of modifiers and nouns up to its last noun, if that is a thing."""
    while chunk and not chunk[-1][1].startswith("NN"):
        chunk = chunk[:-1]
    if chunk and chunk[-1][0].casefold() not in _NO_THINGS:
        yield " ".join(word for word, _ in chunk)
