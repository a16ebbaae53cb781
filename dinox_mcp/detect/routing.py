"""Which backend answers which part of a request, with which model and thresholds.

With `auto`, each prompt goes to the backend that answers it best here and now. What is read exactly (text, codes,
markers) goes to the backend that reads it, at no cost. All else goes to the most preferred backend that knows it. A
backend that the settings name, or that has the named model, is used alone. Only capabilities decide: this module
knows no backend's name.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from dinox_mcp.backends.base import Capabilities, Fit, Selective
from dinox_mcp.backends.registry import Backends
from dinox_mcp.detect import capabilities
from dinox_mcp.detect.thresholds import LabelScores
from dinox_mcp.errors import DinoxError, UnsupportedError
from dinox_mcp.types.detection import Detection, DetectionRequest, Need, Output

_FEW_LABELS = 12
_FEW_PROMPTS = 5
_FEW_MODELS = 2


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a request that one backend answers.

    Attributes:
        backend: the name of the backend.
        request: this part of the request, with the model and thresholds filled in.
        given: the same as the caller gave it, without what was filled in.
        exact: it has only prompts that the backend reads exactly.
        scores: thresholds of labels, where the settings name some for this backend and the caller gave none.
    """

    backend: str
    request: DetectionRequest
    given: DetectionRequest
    exact: bool = False
    scores: LabelScores | None = field(default=None, compare=False)

    def min_score_of(self, found: Detection, model: str) -> float:
        """Give the threshold of a detection, which `model` found."""
        own = self.scores.of(found) if self.scores is not None and self.scores.holds_for(model) else None
        return self.request.min_score if own is None else own


@dataclass(frozen=True, slots=True)
class Plan:
    """A request in parts.

    Attributes:
        request: the full request, with the thresholds and the model of the first part.
        parts: the part of each backend.
        notes: what the result must say, such as which preferred backend is not ready.
        notes_if_missing: the same if nothing is found for a prompt of the first part.
    """

    request: DetectionRequest
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()
    notes_if_missing: tuple[str, ...] = ()

    @property
    def main(self) -> Part:
        """The part that is not read exactly, if there is one."""
        return self.parts[0]

    @property
    def backend(self) -> str:
        """The names of the backends, joined as in results."""
        return " + ".join(dict.fromkeys(part.backend for part in self.parts))

    def including(self, include: frozenset[Output]) -> "Plan":
        """Give the same plan with other outputs, without checking which backend can give them."""

        def change(request: DetectionRequest) -> DetectionRequest:
            return request.model_copy(update={"include": include})

        parts = (replace(part, request=change(part.request), given=change(part.given)) for part in self.parts)
        return replace(self, request=change(self.request), parts=tuple(parts))


class Router:
    """Makes plans of requests, for the backends of one detector; `scores` are thresholds of labels."""

    def __init__(self, backends: Backends, scores: LabelScores | None = None) -> None:
        self._backends = backends
        self._scores = scores

    def plan(
        self,
        request: DetectionRequest,
        *,
        caller_has_key: bool = False,
        thorough: bool = True,
        needs: frozenset[Need] = frozenset(),
    ) -> Plan:
        """Divide a request into parts, check that each can be answered, and fill in models and thresholds.

        Args:
            request: what the caller wants.
            caller_has_key: the caller brought an API key.
            needs: what a backend must be able to do besides what the request itself needs.
            thorough: choose the model that takes longer and finds more, where there is one. Tiles never get it:
                objects in them are large enough for the quick one.

        Raises:
            UnsupportedError: a part cannot be answered; the message says which backend can.
            InputError: there is no such model.
            SettingsError: there is no such backend.
        """
        divided = self._parts(request, request.needs | needs, caller_has_key=caller_has_key)
        parts = tuple(self._prepared(one, needs, caller_has_key=caller_has_key, thorough=thorough) for one in divided)
        main = parts[0]
        filled = {name: getattr(main.request, name) for name in ("model", "min_score", "iou_threshold")}
        full = main.request if len(parts) == 1 else request.model_copy(update=filled)
        fallbacks = tuple(self._fallbacks(main, caller_has_key=caller_has_key))
        unused = () if self._scores is None else tuple(self._unused_scores(self._scores, request, parts))
        if fallbacks and main.given.prompts and self._knows(main.backend, main.given):
            return Plan(full, parts, unused, notes_if_missing=fallbacks)
        return Plan(full, parts, (*fallbacks, *unused))

    def instead(self, part: Part, *, caller_has_key: bool) -> Part | None:
        """Give the same part for a less preferred backend that knows all of it, or None where there is none.

        There is none for a model that the caller named, and for examples, which mean something else to another model.
        """
        usable, given = self._usable(caller_has_key=caller_has_key), part.given
        if part.backend not in usable or given.model is not None or given.examples:
            return None
        for name in usable[usable.index(part.backend) + 1 :]:
            if (
                self._knows(name, given)
                and self._answers(name, given, given.needs)
                and self._gives(name, given.include)
            ):
                thorough = part.request.model is not None or self._able(part.backend).thorough is None
                other = Part(name, given, given)
                return self._prepared(other, frozenset(), caller_has_key=caller_has_key, thorough=thorough)
        return None

    def describers(
        self, include: frozenset[Output], main: str, *, caller_has_key: bool
    ) -> dict[str, frozenset[Output]]:
        """Choose the backend for each output of given boxes; outputs that none gives are left to `main`.

        Text is read by the backend that reads exactly, unless `main` gives captions or categories of the boxes too and
        text with them.
        """
        describing = self._describing(main, caller_has_key=caller_has_key)
        reads_along = bool({"caption", "category"} & include) and "text" in describing[main]
        shares: dict[str, frozenset[Output]] = {}
        for output in sorted(include):
            able = [name for name, outputs in describing.items() if output in outputs] or [main]
            if output == "text" and not reads_along:
                able.sort(key=lambda name: not self._able(name).reads)
            shares[able[0]] = shares.get(able[0], frozenset()) | {output}
        return shares

    def explain(self, unknown: Sequence[str], plan: Plan, *, found: bool, caller_has_key: bool) -> str:
        """Say which prompts no backend knows, and what would find them; `found`: objects of other prompts were found.

        Raises:
            UnsupportedError: nothing was found, and no backend knows any of the prompts.
        """
        backend = plan.main.backend
        labels = self._backends.get(backend).capabilities(plan.main.request.model).labels or ()
        shown = ", ".join(f"'{prompt[:40]}'" for prompt in unknown[:_FEW_PROMPTS])
        more = f" and {len(unknown) - _FEW_PROMPTS} more" if len(unknown) > _FEW_PROMPTS else ""
        known = ", ".join(labels[:_FEW_LABELS])
        rest = f" and {len(labels) - _FEW_LABELS} more kinds, listed at dinox://backends" * (len(labels) > _FEW_LABELS)
        models = [model.name for model in self._backends.get(backend).models() if model.capabilities.labels is None]
        open_models = [f"pass model {' or '.join(map(repr, models[:_FEW_MODELS]))}"] if models else []
        remedy = ", or ".join((*open_models, *self._backends.remedies(caller_has_key=caller_has_key)))
        searched = any(self._fit(part.backend, unknown[0]) == Fit.WORDS for part in plan.parts)
        note = (
            f"the backend {backend} cannot find {shown}{more}: it knows {known}{rest}"
            f"{', and the image has no such words either' if searched else ''}"
            f"{f'; for anything else {remedy}' if remedy else ''}"
        )
        if not found and set(unknown) == set(plan.request.prompts or ()):
            raise UnsupportedError(note)
        return note

    def _parts(self, request: DetectionRequest, needs: frozenset[Need], *, caller_has_key: bool) -> list[Part]:
        usable = self._usable(caller_has_key=caller_has_key)
        if request.model is not None or not usable:
            usable = [self._backends.choose(caller_has_key=caller_has_key, model=request.model)]
        if len(usable) == 1:
            return [Part(usable[0], request, request)]
        able = [name for name in usable if self._answers(name, request, needs)] or usable
        able.sort(key=lambda name: not self._gives(name, request.include))  # stable: preference decides among equals
        if request.prompts is not None and request.caption is None:
            return self._by_prompt(request, able)
        parts = [Part(able[0], request, request)]
        if request.needs == {"prompt-free detection"}:
            read = set(self._able(able[0]).reads)
            for name in usable:
                if labels := [label for label in self._able(name).reads if label not in read]:
                    parts.append(_read(name, labels, request))
                    read.update(labels)
        return parts

    def _usable(self, *, caller_has_key: bool) -> list[str]:
        """List the backends that may answer; with `auto`, without those that do not load."""
        usable = self._backends.usable(caller_has_key=caller_has_key)
        return [name for name in usable if not self._backends.auto or self._loads(name)]

    def _loads(self, name: str) -> bool:
        try:
            self._able(name)
        except DinoxError:
            return False
        return True

    def _by_prompt(self, request: DetectionRequest, able: Sequence[str]) -> list[Part]:
        """Give each prompt to the backend that it fits best; of equals, the first."""
        shares: dict[tuple[bool, str], list[str]] = {}
        for prompt in request.prompts or ():
            fits = {name: self._fit(name, prompt) for name in able}
            best = max(able, key=lambda name: fits[name])
            shares.setdefault((fits[best] == Fit.EXACT, best), []).append(prompt)
        if len({name for _, name in shares}) == 1:  # one backend: one part
            (exact, name), *rest = shares
            return [Part(name, request, request, exact=exact and not rest)]
        parts = []
        for (exact, name), prompts in sorted(shares.items(), key=lambda share: share[0][0]):
            share = request.model_copy(update={"prompts": tuple(prompts)})
            parts.append(_read(name, prompts, request) if exact else Part(name, share, share))
        return parts

    def _prepared(self, part: Part, needs: frozenset[Need], *, caller_has_key: bool, thorough: bool) -> Part:
        backend, request = self._backends.get(part.backend), part.request
        describing = self._describing(part.backend, caller_has_key=caller_has_key) if request.include else {}
        described = frozenset[Output]().union(*describing.values())
        capabilities.check(request, backend, self._backends, request.needs | needs, described)
        able = backend.capabilities(request.model)
        if thorough and able.thorough and request.model is None and request.tiles == 1 and not request.examples:
            request = request.model_copy(update={"model": able.thorough})
            able = backend.capabilities(able.thorough)
        fits = self._scores is not None and self._scores.backend == part.backend and _takes_scores(request)
        scores = self._scores if fits else None
        return replace(part, request=_with_thresholds(request, able), scores=scores)

    @staticmethod
    def _unused_scores(scores: LabelScores, request: DetectionRequest, parts: Sequence[Part]) -> Iterable[str]:
        """Say so where thresholds of labels are for another backend than those that answer."""
        if _takes_scores(request) and not parts[0].exact and all(part.scores is None for part in parts):
            yield scores.unused(f"the backend {scores.backend}", parts[0].backend)

    def _fallbacks(self, main: Part, *, caller_has_key: bool) -> Iterable[str]:
        """Explain why a preferred backend that is partly set up is not used."""
        order = self._backends.preferred
        if not self._backends.auto or main.exact or main.given.model is not None or main.backend not in order:
            return
        unready = self._backends.unready(caller_has_key=caller_has_key)
        for name in order[: order.index(main.backend)]:
            if name in unready and unready[name].installed:
                yield f"the backend {name} is not ready, so {main.backend} answered: {unready[name].remedy}"

    def _knows(self, name: str, request: DetectionRequest) -> bool:
        return all(self._fit(name, prompt) >= Fit.KNOWN for prompt in request.prompts or ())

    def _describing(self, main: str, *, caller_has_key: bool) -> dict[str, frozenset[Output]]:
        """List the backends that may describe given boxes, with the outputs of each; `main` comes first.

        A backend that the settings name is used alone, except for text, which another one reads at no cost.
        """
        if self._backends.auto:
            names = dict.fromkeys((main, *self._usable(caller_has_key=caller_has_key)))
            return {name: self._describes(name) for name in names}
        ready = self._backends.ready(caller_has_key=caller_has_key)
        readers = [name for name in ready if self._loads(name) and self._able(name).reads]
        text = {name: self._describes(name) & frozenset[Output]({"text"}) for name in readers}
        return {main: self._describes(main)} | {name: outputs for name, outputs in text.items() if name != main}

    def _able(self, name: str) -> Capabilities:
        return self._backends.get(name).capabilities()

    def _describes(self, name: str) -> frozenset[Output]:
        return capabilities.describes(self._backends.get(name))

    def _answers(self, name: str, request: DetectionRequest, needs: frozenset[Need]) -> bool:
        made_by = {example.embedding.backend for example in request.examples if example.embedding}
        return made_by <= {name} and needs <= self._able(name).answers

    def _gives(self, name: str, include: frozenset[Output]) -> bool:
        return include - {"text"} <= self._able(name).outputs | self._describes(name)

    def _fit(self, name: str, prompt: str) -> Fit:
        backend = self._backends.get(name)
        if isinstance(backend, Selective):
            return backend.fit(prompt)
        able = backend.capabilities()
        if _is_among(prompt, able.reads):
            return Fit.EXACT
        return Fit.KNOWN if able.labels is None or _is_among(prompt, able.labels) else Fit.NOT


def _is_among(prompt: str, labels: Iterable[str]) -> bool:
    return prompt.casefold() in map(str.casefold, labels)


def _read(name: str, labels: Sequence[str], request: DetectionRequest) -> Part:
    """Make a part of labels that are read exactly, which have nothing else to describe."""
    read = request.model_copy(update={"prompts": tuple(labels), "include": frozenset()})
    return Part(name, read, read, exact=True)


def _takes_scores(request: DetectionRequest) -> bool:
    """Return whether thresholds of labels hold for a request: it has none, no examples and no description."""
    return "min_score" not in request.model_fields_set and not request.examples and request.description is None


def _with_thresholds(request: DetectionRequest, able: Capabilities) -> DetectionRequest:
    """Fill in the model's own thresholds where the caller gave none; they are not those for examples."""
    if request.examples:
        return request
    own = {"min_score": able.min_score, "iou_threshold": able.iou_threshold}
    return request.model_copy(
        update={name: value for name, value in own.items() if name not in request.model_fields_set}
    )
