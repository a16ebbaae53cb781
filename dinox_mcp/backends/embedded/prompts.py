"""What prompts mean: things to read, kinds of objects, faces and hands, or words to find in the text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from dinox_mcp.backends.base import Fit
from dinox_mcp.backends.embedded import vocabulary
from dinox_mcp.backends.embedded.kinds import KINDS, Sense, sense
from dinox_mcp.backends.embedded.vocabulary import Kind
from dinox_mcp.types.text import quoted_text


class BodyPart(StrEnum):
    """Parts of persons that have detectors of their own."""

    FACE = "face"
    HAND = "hand"


LABELS = (*KINDS, *BodyPart, *vocabulary.LABELS)
"""The closed vocabulary; prompts may also be words of the text."""

_DESCRIBING = frozenset(
    {"human", "left", "right", "visible", "raised", "open", "bare", "smiling", "happy", "young", "old"}
)
"""Words that may come before a part of the body; words for persons may, too."""


@dataclass(frozen=True, slots=True)
class Targets:
    """What to find for a request, and the label of each.

    Attributes:
        read: The labels of what is read exactly.
        kinds: The labels of objects by COCO's name of their kind.
        parts: The labels of faces and hands.
        quoted: The words of prompts in quotes, which are searched in the text.
        others: The words of prompts with another meaning, which are searched in the text, too.
        unsearched: Prompts whose objects have the label of another prompt.
        notes: Notes for the caller.
    """

    read: Mapping[Kind, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[BodyPart, str] = field(default_factory=dict)
    quoted: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)
    unsearched: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def needs_reading(self) -> bool:
        """Whether codes, markers or text have to be read."""
        return bool(self.read or self.quoted or self.others)


def fit(prompt: str) -> Fit:
    """Return how well a prompt can be answered.

    A word such as "sign", which finds every line of text, is known but not exact: another backend may distinguish
    signs from other text.
    """
    if quoted_text(prompt) or (vocabulary.meaning(prompt) and not vocabulary.is_vague(prompt)):
        return Fit.EXACT
    known = vocabulary.meaning(prompt) or _part(prompt) or sense(prompt)
    return Fit.KNOWN if known else Fit.WORDS


def understand(prompts: Sequence[str] | None) -> Targets:
    """Find the targets of prompts; None means everything except faces and hands."""
    if prompts is None:
        return Targets(read=vocabulary.understand(vocabulary.EVERYTHING).labels, kinds={kind: kind for kind in KINDS})
    read: list[str] = []
    senses: dict[str, Sense] = {}
    parts: dict[BodyPart, str] = {}
    quoted: dict[str, str] = {}
    others: dict[str, str] = {}
    covered_parts: list[str] = []
    part_notes: list[str] = []
    for prompt in prompts:
        if words := quoted_text(prompt):
            quoted[prompt] = words
        elif vocabulary.meaning(prompt):
            read.append(prompt)
        elif part := _part(prompt):
            if parts.setdefault(part, prompt) != prompt:
                covered_parts.append(prompt)
                part_notes.append(f"'{prompt}' is covered by '{parts[part]}': each {part} is listed once")
            elif _is_narrower(prompt, part):
                part_notes.append(f"{prompt}: found as {part}; the embedded backend cannot tell which are '{prompt}'")
        elif known := sense(prompt):
            senses[prompt] = known
        else:
            others[prompt] = prompt
    labelled = vocabulary.understand(read)
    kinds, covered, notes = _label_kinds(senses)
    return Targets(
        read=labelled.labels,
        kinds=kinds,
        parts=parts,
        quoted=quoted,
        others=others,
        unsearched=(*labelled.covered, *covered, *covered_parts),
        notes=(*labelled.notes, *notes, *part_notes),
    )


def _label_kinds(senses: Mapping[str, Sense]) -> tuple[dict[str, str], list[str], list[str]]:
    """Label each kind with the prompt that names it best.

    An exact word is better than one that is narrower than the kind, and one for few kinds better than one for many.
    If several prompts are all narrower than a kind, the model cannot distinguish them, and the kind's own name is the
    label.

    Returns:
        The label of each kind, the prompts that are not a label, and notes.
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
    noted = {prompt for claims in mixed.values() for prompt in claims}
    for prompt in senses:
        kinds = " or ".join(sorted(senses[prompt].kinds, key=KINDS.index))
        if prompt in noted:
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
    """Read "face", "people's faces", "left hand" or "hands of a child", but not "clock face"."""
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
