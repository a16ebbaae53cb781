"""The nouns that are looked for where no prompts are given, and which of them are kinds of others."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from dinox_mcp.errors import SettingsError

MAX_NOUNS = 5000


@dataclass(frozen=True)
class Vocabulary:
    """Nouns to ask for, the name that each is answered with, and the broader names of each name.

    `nouns` and `names` go together: a synonym is a noun of its own and is answered with the name of its thing.
    """

    nouns: tuple[str, ...]
    names: tuple[str, ...]
    broader: dict[str, frozenset[str]]

    def is_kind_of(self, narrow: str, broad: str) -> bool:
        """Tell whether everything called `narrow` could be called `broad`."""
        return broad in self.broader.get(narrow, ())


def built_in() -> Vocabulary:
    """Read the built-in vocabulary."""
    return parse(files(__package__).joinpath("vocabulary.txt").read_text(encoding="utf-8"), "vocabulary.txt")


def read(path: Path) -> Vocabulary:
    """Read a user's own vocabulary; the head of the built-in `vocabulary.txt` describes the format.

    Raises:
        SettingsError: the file cannot be read, is empty or is none.
    """
    remedy = "give a UTF-8 text file with one noun a line, or unset it"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise SettingsError(f"DINOX_MCP_VOCABULARY: {path} cannot be read ({reason}); {remedy}") from None
    try:
        return parse(text, str(path))
    except ValueError as error:
        raise SettingsError(f"DINOX_MCP_VOCABULARY: {error}; {remedy}") from None


def parse(text: str, source: str) -> Vocabulary:
    """Read a vocabulary from text.

    Raises:
        ValueError: there is no noun, one stands there twice, or there are too many.
    """
    names: dict[str, str] = {}
    broader: dict[str, frozenset[str]] = {}
    above: list[tuple[int, list[str]]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.partition("#")[0].rstrip().expandtabs(2)
        things = [nouns for part in content.split(",") if (nouns := _nouns(part))]
        if not things:
            continue
        depth = len(content) - len(content.lstrip())
        while above and above[-1][0] >= depth:
            above.pop()
        if above and len(above[-1][1]) > 1:
            raise ValueError(f"{source} line {number} is indented below several nouns; give the broader one its line")
        for nouns in things:
            if twice := next((noun for noun in nouns if noun in names), None):
                raise ValueError(f"{source} line {number}: {twice!r} stands there twice")
            names.update(dict.fromkeys(nouns, nouns[0]))
            broader[nouns[0]] = frozenset(name for _, [name] in above)
        above.append((depth, [nouns[0] for nouns in things]))
    if not 1 <= len(names) <= MAX_NOUNS:
        raise ValueError(f"{source} has {len(names)} nouns, not 1 to {MAX_NOUNS}")
    return Vocabulary(tuple(names), tuple(names.values()), broader)


def _nouns(part: str) -> list[str]:
    """Read a thing's name and its synonyms."""
    return list(dict.fromkeys(noun for synonym in part.split("=") if (noun := " ".join(synonym.split()))))
