"""Who calls, and what a caller writes (prompts, sentences, options), checked and made a request."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self, TypedDict

from pydantic import SecretStr, ValidationError

from dinox_mcp.backends.base import Call, Progress, silent
from dinox_mcp.errors import InputError
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.detection import DetectionRequest, Output
from dinox_mcp.types.text import one_line, split_at_commas_and_dots

MAX_OBJECTS = 1000
DEFAULT_OBJECTS = 100  # that a result lists at most, where `max_objects` is left out
MAX_PROMPTS = 300
MAX_PROMPT_LENGTH = 300
MAX_TEXT_LENGTH = MAX_PROMPTS * (MAX_PROMPT_LENGTH + 2)  # of all prompts together, with separators
MAX_SENTENCE_LENGTH = 1000
_PROMPT_FREE = "<prompt_free>"  # what the vendor's own server calls a request without prompts


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller; callers of different `tenant` see nothing of each other."""

    tenant: str = ""
    api_key: SecretStr | None = None

    @classmethod
    def with_key(cls, api_key: str) -> Self:
        """Make a caller who brings a DINO-X key; the tenant is a digest of it, so that no store keeps the key."""
        digest = hashlib.sha256(b"dinox-mcp tenant\0" + api_key.encode()).hexdigest()
        return cls(tenant=digest[:32], api_key=SecretStr(api_key))


OWNER = Caller()
"""Whoever runs the program, with the key of its settings."""


class CallOptions(TypedDict, total=False):
    """Who calls (by default whoever runs the program), and who hears of the progress."""

    caller: Caller
    progress: Progress


class Options(CallOptions, total=False):
    """The options of a detection.

    `min_score` and `iou_threshold` are from 0 to 1, by default the model's own. `max_objects` is 100 by default.
    `include` names further outputs, `model` one of the backend's models. With `tiles` above 1, the image is searched
    in that many overlapping parts along its long side too, which finds small objects. The local backend takes any
    folder and any repository of the hub for a `model` and downloads it: a program that passes on what strangers write
    must accept only the models that `Backends.describe` lists, as the MCP server does.
    """

    min_score: float
    iou_threshold: float
    max_objects: int
    include: Iterable[Output]
    model: str | None
    tiles: int


def make_request(prompts: str | Sequence[str] | None, options: Options, **more: object) -> DetectionRequest:
    """Check prompts and options, and make a request of them.

    Args:
        prompts: labels, or one string that lists them; None finds everything.
        options: what the caller chose.
        more: further fields of the request.

    Raises:
        InputError: one of them is wrong; the message says which.
    """
    known = {name: value for name, value in options.items() if name in DetectionRequest.model_fields}
    most = max_objects(options)
    if not 1 <= most <= MAX_OBJECTS:
        raise InputError(f"max_objects is {most}; choose 1 to {MAX_OBJECTS}")
    if "include" in options:
        known["include"] = frozenset(options["include"])
    try:
        labels = None if prompts is None or is_prompt_free(prompts) else parse_prompts(prompts)
        return DetectionRequest(prompts=labels, **known, **more)
    except ValidationError as error:
        problem = error.errors()[0]
        name = problem["loc"][0]
        raise InputError(f"{name}: {problem['input']!r:.80} is not valid; {problem['msg'].lower()}") from None


def make_call(options: CallOptions, pictures: Mapping[str, Picture] | None = None) -> Call:
    """Make what a backend learns of a call besides the request; `pictures` are those of the examples, by digest."""
    caller = caller_of(options)
    return Call(options.get("progress", silent), caller.api_key, caller.tenant, pictures or {})


def caller_of(options: CallOptions) -> Caller:
    """Give the caller that options name, by default whoever runs the program."""
    return options.get("caller", OWNER)


def max_objects(options: Options) -> int:
    """Give the number of objects that a result lists at most."""
    return options.get("max_objects", DEFAULT_OBJECTS)


def labels_of(request: DetectionRequest) -> list[str]:
    """List the labels that a request names; they count 0 where nothing is found."""
    if request.description is not None:
        return [request.description]
    examples = dict.fromkeys(one.label for one in request.examples if not one.negative)
    return [*(request.prompts or ()), *examples]


def is_prompt_free(prompts: str | Sequence[str] | None) -> bool:
    """Return whether nothing is named: no prompts at all, or the vendor's word for that."""
    if prompts is None:
        return True
    only = prompts if isinstance(prompts, str) else prompts[0] if len(prompts) == 1 else ""
    return len(only) <= MAX_PROMPT_LENGTH and only.strip().casefold() == _PROMPT_FREE


def parse_prompts(prompts: str | Sequence[str]) -> tuple[str, ...]:
    """Read labels, each once, in the caller's order and spelling.

    Only a single string is split; each item of a list is one label.

    Raises:
        InputError: there are no labels, or too many or too long ones.
    """
    length = len(prompts) if isinstance(prompts, str) else sum(map(len, prompts))
    if length > MAX_TEXT_LENGTH:
        raise InputError(
            f"prompts has {length} characters, more than {MAX_TEXT_LENGTH}; use short nouns, or split them over calls"
        )
    labels: dict[str, str] = {}
    for label in split_at_commas_and_dots(prompts) if isinstance(prompts, str) else map(_label, prompts):
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


def _label(item: str) -> str:
    """Take an item as it is, without the full stop of a sentence: "U.S." keeps its own."""
    line = " ".join(item.split())
    return line[:-1].rstrip() if line.find(".") == len(line) - 1 else line


def parse_sentence(sentence: str, name: str) -> str:
    """Bring a sentence to one line.

    Raises:
        InputError: it is empty or too long; `name` says which argument it was.
    """
    line = one_line(sentence)
    if not line:
        raise InputError(f"{name} is empty; write one sentence in English, as in 'the man in red left of the car'")
    if len(line) > MAX_SENTENCE_LENGTH:
        raise InputError(f"{name} has {len(line)} characters, more than {MAX_SENTENCE_LENGTH}; write a shorter one")
    return line


_TOKEN = re.compile(r"\w[\w'’-]*|[^\w\s]")  # noqa: RUF001 - an apostrophe as typed


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OPENERS = _set(
    "a an the this that these those my your his her its our their one two three four five six seven eight nine ten "
    "few many more most other others several some various another each every all both no"
)
"""What begins a noun phrase and is not part of it."""
_BETWEEN = _set(
    "aboard about above across after against along among and around as at away be been before behind being below "
    "beneath beside besides between but by can could down during for from has have had he i if in inside into is it "
    "like may might near next not of off on onto or out outside over past she so than then there they through to "
    "toward towards under until up upon was we were what when where which while who whose will with within without "
    "would you are am does do did together nearby here very"
)
"""What stands between noun phrases."""
_VERBS = _set(
    "approach carries carry chase contain contains cover covers crosses drink drinks drives eat eats fly flies follow "
    "follows hang hangs hold holds jumps kick kicks lean leans leads lie lies looks overlook overlooks plays pose "
    "poses pull pulls push pushes reads ride rides runs sell sells sit sits sleep sleeps smile smiles stands talk "
    "talks throw throws wait waits walk walks watches wear wears works"
)
"""Forms of verbs that often follow a noun in captions and are seldom nouns themselves."""
_NOT_THINGS = _set(
    "background bottom center centre corner edge foreground front left middle rear right side top bunch couple group "
    "kind lot lots number pair piece pieces sort type image photo photograph picture scene view"
)
"""Nouns that name a position or a quantity, not an object that can be boxed."""
_NOUNS = _set(
    "ally anomaly assembly belly butterfly dragonfly family fly holly jelly lily awning bedding building ceiling "
    "clothing crossing duckling dumpling earring icing king lighting lightning lining painting parking pudding "
    "railing ring scaffolding sibling sling spring string swing thing wedding wing wiring"
)
"""Nouns that end like adverbs (-ly) and forms of verbs (-ing)."""


def noun_phrases(caption: str) -> tuple[str, ...]:
    """List the noun phrases of an English caption in its own spelling, each once, without articles and numbers.

    The caption is split at words that are not part of noun phrases. That is a guess: the calling model knows better
    and can pass the phrases. A tagger (TextBlob with NLTK) guesses a little better, but takes a second to import.

    Raises:
        InputError: there are none.
    """
    phrases = {phrase.casefold(): phrase for phrase in _phrases(_TOKEN.findall(caption))}
    if not phrases:
        raise InputError(
            f"no noun phrase was found in the caption {caption[:80]!r}; name the things in it as phrases, as in "
            '["man", "red shirt"]'
        )
    return tuple(phrases.values())


def _phrases(tokens: Sequence[str]) -> Iterator[str]:
    phrase: list[str] = []
    before = ""
    for token, after in pairwise([*tokens, ".", "."]):
        if _ends_phrase(before.casefold(), token.casefold(), after.casefold(), inside=bool(phrase)):
            if phrase and phrase[-1].casefold() not in _NOT_THINGS:
                yield " ".join(phrase)
            phrase = []
        else:
            phrase.append(token)
        before = token


def _ends_phrase(before: str, token: str, after: str, *, inside: bool) -> bool:
    """Return whether a token is not part of a noun phrase; `inside` says that a phrase has begun before it."""
    if not token[0].isalpha() or token in _OPENERS or token in _BETWEEN:
        return True
    if token.endswith("ly") and token not in _NOUNS:
        return True
    if token.endswith("ing") and token not in _NOUNS:
        return before not in _OPENERS  # "a washing machine", but "is holding a cup" and "people holding cups"
    before_phrase = after in _OPENERS and token.endswith(("s", "ed"))  # "a dog chases the cat"
    return inside and (token in _VERBS or before_phrase)
