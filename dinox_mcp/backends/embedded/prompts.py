"""What prompts mean to this backend: what to read, kinds of objects, faces and hands, or words to find in the text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from dinox_mcp.backends.base import Fit
from dinox_mcp.backends.embedded import vocabulary
from dinox_mcp.backends.embedded.kinds import KINDS, Sense, sense
from dinox_mcp.backends.embedded.vocabulary import Kind
from dinox_mcp.detect.prompts import words_in_quotes


class BodyPart(StrEnum):
    """Parts of persons that have detectors of their own."""

    FACE = "face"
    HAND = "hand"


LABELS = (*KINDS, *BodyPart, *vocabulary.LABELS)
"""Everything that can be asked for, but for the words of a text."""

_DESCRIBING = frozenset(
    {"human", "left", "right", "visible", "raised", "open", "bare", "smiling", "happy", "young", "old"}
)
"""Words before a part of the body that leave it one; so do words for persons."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for, and the label of each.

    Attributes:
        read: Labels of what is read exactly.
        kinds: Labels of objects by COCO's name of their kind.
        parts: Labels of faces and hands.
        quoted: The words of prompts in quotes, which are looked for in the text.
        others: The words of prompts that mean none of these: they are looked for in the text, too.
        unsearched: Prompts whose objects have the label of another prompt.
        notes: What the caller should know about that.
    """

    read: Mapping[Kind, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[BodyPart, str] = field(default_factory=dict)
    quoted: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)
    unsearched: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def reads(self) -> bool:
        """Tell whether codes, markers or text are to be read."""
        return bool(self.read or self.quoted or self.others)


def fit(prompt: str) -> Fit:
    """Say how well a prompt can be looked for.

    A word such as "sign" that is answered with every line of text is known, but not read exactly: another backend may
    tell signs from other text.
    """
    if words_in_quotes(prompt) or (vocabulary.meaning(prompt) and not vocabulary.is_vague(prompt)):
        return Fit.EXACT
    known = vocabulary.meaning(prompt) or _part(prompt) or sense(prompt)
    return Fit.KNOWN if known else Fit.WORDS


def understand(prompts: Sequence[str] | None) -> Wanted:
    """Read prompts; None asks for everything but faces and hands."""
    if prompts is None:
        return Wanted(read=vocabulary.understand(vocabulary.EVERYTHING).labels, kinds={kind: kind for kind in KINDS})
    read: list[str] = []
    senses: dict[str, Sense] = {}
    parts: dict[BodyPart, str] = {}
    quoted: dict[str, str] = {}
    others: dict[str, str] = {}
    shadowed: list[str] = []
    part_notes: list[str] = []
    for prompt in prompts:
        if words := words_in_quotes(prompt):
            quoted[prompt] = words
        elif vocabulary.meaning(prompt):
            read.append(prompt)
        elif part := _part(prompt):
            if parts.setdefault(part, prompt) != prompt:
                shadowed.append(prompt)
                part_notes.append(f"'{prompt}' is covered by '{parts[part]}': each {part} is listed once")
            elif _is_narrower(prompt, part):
                part_notes.append(f"{prompt}: found as {part}; the embedded backend cannot tell which are '{prompt}'")
        elif known := sense(prompt):
            senses[prompt] = known
        else:
            others[prompt] = prompt
    labelled = vocabulary.understand(read)
    kinds, covered, notes = _label_kinds(senses)
    return Wanted(
        read=labelled.labels,
        kinds=kinds,
        parts=parts,
        quoted=quoted,
        others=others,
        unsearched=(*labelled.covered, *covered, *shadowed),
        notes=(*labelled.notes, *notes, *part_notes),
    )


def _label_kinds(senses: Mapping[str, Sense]) -> tuple[dict[str, str], list[str], list[str]]:
    """Give each kind the prompt that names it best as a label.

    An exact word comes before one that is narrower than the kind, and one for few kinds before one for many. Where
    only narrower words ask for a kind, the model cannot tell which of them an object is: it gets the kind's own name.

    Returns:
        The label of each kind, the prompts that label nothing, and notes.
    """
    ranked = sorted(senses, key=lambda prompt: (senses[prompt].narrower, len(senses[prompt].kinds)))
    labels: dict[str, str] = {}
    mixed: dict[str, list[str]] = {}
    for kind in sorted({kind for known in senses.values() for kind in known.kinds}, key=KINDS.index):
        claims = [prompt for prompt in ranked if kind in senses[prompt].kinds]
        if senses[claims[0]].narrower and len(claims) > 1:
            labels[kind], mixed[kind] = kind, claims
        else:
            labels[kind] = claims[0]
    used = set(labels.values())
    covered = [prompt for prompt in senses if prompt not in used]
    notes = [
        f"{' and '.join(map(repr, claims))}: found as {kind}; the embedded backend cannot tell them apart"
        for kind, claims in mixed.items()
    ]
    told = {prompt for claims in mixed.values() for prompt in claims}
    for prompt in senses:
        kinds = " or ".join(sorted(senses[prompt].kinds, key=KINDS.index))
        if prompt in told:
            continue
        if prompt in covered:
            others = dict.fromkeys(labels[kind] for kind in sorted(senses[prompt].kinds, key=KINDS.index))
            notes.append(f"'{prompt}' is covered by {' and '.join(map(repr, others))}: each object is listed once")
        elif taken := [kind for kind in sorted(senses[prompt].kinds, key=KINDS.index) if labels[kind] != prompt]:
            elsewhere = ", ".join(f"{kind} is listed as '{labels[kind]}'" for kind in taken)
            notes.append(f"'{prompt}' does not count everything that it covers: {elsewhere}")
        elif senses[prompt].narrower:
            notes.append(f"{prompt}: found as {kinds}; the embedded backend cannot tell which of them are '{prompt}'")
    return labels, covered, notes


def _part(prompt: str) -> BodyPart | None:
    """Read "face", "people's faces", "left hand" or "hands of a child"; "clock face" is none of a person."""
    words = [word for word in vocabulary.words_of(prompt) if word != "s"]  # the s of "person's"
    head, _, owner = " ".join(words).partition(" of ")
    *before, last = head.split() or [""]
    part = last.removesuffix("s")
    if part not in tuple(BodyPart) or not all(word in _DESCRIBING or _is_person(word) for word in before):
        return None
    return BodyPart(part) if not owner or _is_person(owner) else None


def _is_narrower(prompt: str, part: BodyPart) -> bool:
    return prompt.casefold().strip() not in (part, f"{part}s")


def _is_person(words: str) -> bool:
    known = sense(words)
    return known is not None and known.kinds == {"person"}
