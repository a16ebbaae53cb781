"""Prompts from the names of categories, and back from labels to categories."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from dinox_mcp.errors import InputError
from dinox_mcp.evaluation.labelled import Category

_QUALIFIER = re.compile(r"\(([^()]*)\)")


def clean(name: str, *, qualified: bool = False) -> str:
    """Write the name of a category as a prompt: `baseball_bat` becomes "baseball bat".

    What is in parentheses is left out: "bow_(weapon)" becomes "bow", or "bow weapon" if `qualified`.
    """
    spaced = _QUALIFIER.sub(r" \1 " if qualified else " ", name.replace("_", " "))
    words = " ".join(spaced.split())
    return words[:-1].rstrip() if words.find(".") == len(words) - 1 else words


class Vocabulary:
    """The prompts of categories.

    Two names that would be equal keep what is in their parentheses. A prompt that several categories still share
    stands for each of them. With synonyms, each category also has those that no other one has.

    Args:
        categories: the categories, by position.
        synonyms: use their synonyms too.

    Raises:
        InputError: a category has no name.
    """

    def __init__(self, categories: Sequence[Category], *, synonyms: bool = False) -> None:
        short = Counter(clean(one.name).casefold() for one in categories)
        self._prompts: list[tuple[str, ...]] = []
        for one in categories:
            prompt = clean(one.name)
            if short[prompt.casefold()] > 1 or not prompt:
                prompt = clean(one.name, qualified=True)
            if not prompt:
                raise InputError(f"a category has the name {one.name!r}, which cannot be a prompt; name it by a noun")
            self._prompts.append((prompt,))
        if synonyms:
            self._add_synonyms(categories)
        self._categories: dict[str, list[int]] = defaultdict(list)
        for place, prompts in enumerate(self._prompts):
            for prompt in prompts:
                self._categories[prompt.casefold()].append(place)

    def __len__(self) -> int:
        return len(self._prompts)

    def prompts(self, categories: Iterable[int]) -> tuple[str, ...]:
        """List the prompts of some categories, each once."""
        named = {prompt.casefold(): prompt for place in categories for prompt in self._prompts[place]}
        return tuple(named.values())

    def categories(self, label: str) -> Sequence[int]:
        """Give the positions of the categories that a label stands for."""
        return self._categories.get(label.casefold(), ())

    @property
    def shared(self) -> list[str]:
        """The prompts that stand for several categories."""
        return [prompt for prompt, categories in self._categories.items() if len(categories) > 1]

    def _add_synonyms(self, categories: Sequence[Category]) -> None:
        further = [dict.fromkeys(clean(name) for name in one.synonyms) for one in categories]
        names = Counter(prompt.casefold() for prompts in self._prompts for prompt in prompts)
        everywhere = Counter(name.casefold() for one in further for name in one)
        for place, own in enumerate(further):
            unique = [name for name in own if name and everywhere[name.casefold()] == 1 and not names[name.casefold()]]
            self._prompts[place] += tuple(unique)
