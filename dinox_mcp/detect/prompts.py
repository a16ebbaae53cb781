"""What callers write as prompts: a list of labels, one string, or a sentence."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from dinox_mcp.errors import InputError

MAX_PROMPTS = 300
MAX_PROMPT_LENGTH = 300
MAX_TEXT_LENGTH = MAX_PROMPTS * (MAX_PROMPT_LENGTH + 2)
"""Characters of all prompts together, separators included."""
_PROMPT_FREE = "<prompt_free>"
_QUOTES = tuple((pair[0], pair[1]) for pair in ('""', "“”", "„“", "„”", "«»", "「」", "''", "‘’"))  # noqa: RUF001 - as typed
"""Quotation marks, an opening and a closing one each."""
# Quotes open only at the start of a label: 27" is a size. Each alternative reads a character a fixed number of times,
# whatever the text is: the possessive ++ and the look-behind before the dots keep a long run of dots linear.
_IN_QUOTES = " | ".join(f"{start}[^{start}{end}]*{end}" for start, end in _QUOTES)
_QUOTED = rf"""(?<![^\s,;、\uff0c\uff1b.]) (?: {_IN_QUOTES} ) (?!\w)"""
_COMMAS = r"[,;\n、\uff0c\uff1b]"
_DOTS = r"(?<!\.)\.++(?=\s|$) | (?<=[^\W\d_])\.(?=[^\W\d_])"
_AT_COMMAS = re.compile(f"{_QUOTED} | (?P<separator> {_COMMAS})", re.VERBOSE)
_AT_COMMAS_AND_DOTS = re.compile(f"{_QUOTED} | (?P<separator> {_COMMAS} | {_DOTS})", re.VERBOSE)


def is_prompt_free(prompts: str | Sequence[str] | None) -> bool:
    """Tell whether nothing is named: no prompts at all, or the vendor's old word for that."""
    if prompts is None:
        return True
    only = prompts if isinstance(prompts, str) else prompts[0] if len(prompts) == 1 else ""
    return len(only) <= MAX_PROMPT_LENGTH and only.strip().casefold() == _PROMPT_FREE


def split_prompts(text: str) -> list[str]:
    """Split one string at commas, semicolons, line ends and the dots of the vendor's form, but not inside quotes.

    Raises:
        InputError: it is too long.
    """
    _check_length(len(text))
    return [piece.strip(".") for piece in _split(text, _AT_COMMAS_AND_DOTS)]


def split_at_commas(text: str) -> list[str]:
    """Split one string at commas, semicolons and line ends, but not inside quotes; empty parts are left out."""
    return [piece for piece in _split(text, _AT_COMMAS) if piece]


def words_in_quotes(prompt: str) -> str:
    """Give the words of a prompt that is in quotes as a whole; empty where it is not."""
    text = prompt.strip()
    in_quotes = any(text.startswith(start) and text.endswith(end) for start, end in _QUOTES)
    return _one_line(text[1:-1]) if in_quotes else ""


def parse_prompts(prompts: str | Sequence[str]) -> tuple[str, ...]:
    """Read labels, each once, in the caller's order and spelling. Only a single string is split; items are whole.

    Raises:
        InputError: nothing is asked for, or too much.
    """
    if not isinstance(prompts, str):
        _check_length(sum(map(len, prompts)))
    pieces = split_prompts(prompts) if isinstance(prompts, str) else map(_whole, prompts)
    labels: dict[str, str] = {}
    for label in pieces:
        if label:
            labels.setdefault(label.casefold(), label)
    if not labels:
        raise InputError(
            'prompts is empty; name what to look for, as in ["person", "red car"], or call detect_prompt_free'
        )
    if len(labels) > MAX_PROMPTS:
        raise InputError(f"prompts has {len(labels)} labels, more than {MAX_PROMPTS}; split them over several calls")
    longest = max(labels.values(), key=len)
    if len(longest) > MAX_PROMPT_LENGTH:
        raise InputError(
            f"the prompt {longest[:40]!r}… has {len(longest)} characters, more than {MAX_PROMPT_LENGTH}; "
            "use short nouns"
        )
    return tuple(labels.values())


def _check_length(length: int) -> None:
    if length > MAX_TEXT_LENGTH:
        raise InputError(
            f"prompts has {length} characters, more than {MAX_TEXT_LENGTH}; use short nouns, or split them over calls"
        )


def _split(text: str, pattern: re.Pattern[str]) -> Iterator[str]:
    start = 0
    for match in pattern.finditer(text):
        if match["separator"]:
            yield _one_line(text[start : match.start()])
            start = match.end()
    yield _one_line(text[start:])


def _whole(item: str) -> str:
    """Take an item as it is, without the full stop of a sentence: "U.S." keeps its own."""
    line = _one_line(item)
    return line[:-1].rstrip() if line.find(".") == len(line) - 1 else line


def _one_line(text: str) -> str:
    return " ".join(text.split())


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
