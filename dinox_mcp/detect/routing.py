"""Which backend answers which part of a question, with which model and thresholds.

With `auto`, each prompt goes to the backend that answers it best here and now. What is read exactly (text, codes,
markers) goes to the backend that reads it, which costs nothing. All else goes to the most preferred backend that knows
it. A backend that the settings name, or that has the named model, is asked alone. Capabilities decide: no backend is
known by its name here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dinox_mcp.backends.base import Capabilities, Describer, Fit, Selective
from dinox_mcp.backends.registry import Backends
from dinox_mcp.detect import capabilities
from dinox_mcp.errors import DinoxError
from dinox_mcp.types import boxes
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections, Need, Output, Source

_SAME = 0.5
"""IoU above which two backends found one object."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a question: what one backend is asked.

    Attributes:
        backend: who is asked.
        request: what is asked, with the model and thresholds filled in.
        given: the same as the caller gave it, without what was filled in.
        exact: it asks only for what is read exactly.
    """

    backend: str
    request: DetectionRequest
    given: DetectionRequest
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """A question in parts. `request` is the whole of it, with the thresholds and the model of the first part."""

    request: DetectionRequest
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()

    @property
    def main(self) -> Part:
        """The part that is not read exactly, if there is one."""
        return self.parts[0]

    @property
    def backend(self) -> str:
        """Name the backends, as results do."""
        return " + ".join(dict.fromkeys(part.backend for part in self.parts))

    def including(self, include: frozenset[Output]) -> "Plan":
        """Ask for outputs, without another check of who can give them."""
        update = {"include": include}
        parts = tuple(
            replace(part, request=part.request.model_copy(update=update), given=part.given.model_copy(update=update))
            for part in self.parts
        )
        return replace(self, request=self.request.model_copy(update=update), parts=parts)


class Router:
    """Plans questions for the backends of one detector."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends

    def plan(
        self,
        request: DetectionRequest,
        *,
        caller_has_key: bool = False,
        thorough: bool = True,
        needs: frozenset[Need] = frozenset(),
    ) -> Plan:
        """Put a question into parts, check that each can be answered, and fill in models and thresholds.

        Args:
            request: what is asked.
            caller_has_key: the caller brought an API key.
            needs: what a backend must be able to do besides what the request itself takes.
            thorough: take the model that takes longer and finds more, where there is one. It is not taken for tiles, in
                which things are large enough for the quick one.

        Raises:
            UnsupportedError: a part cannot be answered; the message says who can.
            InputError: there is no such model.
            SettingsError: there is no such backend.
        """
        parts = self._parts(request, request.needs | needs, caller_has_key=caller_has_key)
        alone = len(parts) == 1
        prepared = tuple(
            self._prepared(part, needs, caller_has_key=caller_has_key, thorough=thorough) for part in parts
        )
        main = prepared[0].request
        filled = {name: getattr(main, name) for name in ("model", "min_score", "iou_threshold")}
        whole = main if alone else request.model_copy(update=filled)
        return Plan(whole, prepared, tuple(self._fallbacks(prepared[0], caller_has_key=caller_has_key)))

    def instead(self, part: Part, *, caller_has_key: bool) -> Part | None:
        """Give the same part for a less preferred backend that knows all of it, or None where there is none.

        There is none for a model that the caller named, and for examples, which mean something else to another model.
        """
        usable, given = self._usable(caller_has_key=caller_has_key), part.given
        if part.backend not in usable or given.model is not None or given.examples:
            return None
        for name in usable[usable.index(part.backend) + 1 :]:
            known = all(self._fit(name, prompt) >= Fit.KNOWN for prompt in given.prompts or ())
            if known and self._answers(name, given, given.needs) and self._gives(name, given.include):
                thorough = part.request.model is not None or self._able(part.backend).thorough is None
                other = Part(name, given, given)
                return self._prepared(other, frozenset(), caller_has_key=caller_has_key, thorough=thorough)
        return None

    def describers(
        self, include: frozenset[Output], main: str, *, caller_has_key: bool
    ) -> dict[str, frozenset[Output]]:
        """Say which backend is asked for which outputs of given boxes; those that none gives are left to `main`.

        Text is read by the backend that reads exactly, unless `main` says words of the boxes too and reads along.
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

    def remedies(self, *, caller_has_key: bool = False) -> list[str]:
        """Say in a line each, as commands, how to have the backends that cannot answer here and now."""
        remedies = [unready.remedy for unready in self._backends.unready(caller_has_key=caller_has_key).values()]
        if self._backends.auto:
            return remedies
        asks_one = "set DINOX_MCP_BACKEND to auto, as now one backend is asked alone"
        return [asks_one, *(f"then {remedy}" for remedy in remedies)]

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
        if len({name for _, name in shares}) == 1:  # one backend: one question
            (exact, name), *rest = shares
            return [Part(name, request, request, exact=exact and not rest)]
        parts = []
        for (exact, name), prompts in sorted(shares.items(), key=lambda share: share[0][0]):
            share = request.model_copy(update={"prompts": tuple(prompts)})
            parts.append(_read(name, prompts, request) if exact else Part(name, share, share))
        return parts

    def _prepared(self, part: Part, needs: frozenset[Need], *, caller_has_key: bool, thorough: bool) -> Part:
        backend, request = self._backends.get(part.backend), part.request
        described = frozenset[Output]().union(*self._describing(part.backend, caller_has_key=caller_has_key).values())
        capabilities.check(request, backend, self._backends, request.needs | needs, described)
        able = backend.capabilities(request.model)
        if thorough and able.thorough and request.model is None and request.tiles == 1 and not request.examples:
            request = request.model_copy(update={"model": able.thorough})
            able = backend.capabilities(able.thorough)
        return replace(part, request=_with_thresholds(request, able))

    def _fallbacks(self, main: Part, *, caller_has_key: bool) -> Iterable[str]:
        """Say why a backend that somebody has set up in part is passed over, unless the other knows all prompts."""
        order = self._backends.preferred
        if not self._backends.auto or main.exact or main.given.model is not None or main.backend not in order:
            return
        prompts = main.given.prompts or ()
        if prompts and all(self._fit(main.backend, prompt) >= Fit.KNOWN for prompt in prompts):
            return  # nothing is missing from the answer
        unready = self._backends.unready(caller_has_key=caller_has_key)
        for name in order[: order.index(main.backend)]:
            if name in unready and unready[name].installed:
                yield f"the backend {name} is not ready, so {main.backend} answered: {unready[name].remedy}"

    def _describing(self, main: str, *, caller_has_key: bool) -> dict[str, frozenset[Output]]:
        """Say which backends may say more of given boxes, and which outputs of each; `main` comes first.

        A backend that the settings name is asked alone, but for text, which another one reads at no cost.
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
        backend = self._backends.get(name)
        return backend.capabilities().describes if isinstance(backend, Describer) else frozenset()

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
        if prompt.casefold() in {label.casefold() for label in able.reads}:
            return Fit.EXACT
        known = able.labels is None or prompt.casefold() in {label.casefold() for label in able.labels}
        return Fit.KNOWN if known else Fit.NOT


def merge(plan: Plan, found: Sequence[tuple[Part, Detections]]) -> tuple[Detections, tuple[Part, ...]]:
    """Make one answer of those to the parts of a question.

    Where two backends found one object, that of the part that is read exactly stays.

    Returns:
        The answer, and for each of its objects the part that it answers.
    """
    exact = [one for part, answer in found if part.exact for one in answer.objects]
    pairs = [
        (one, part)
        for part, answer in found
        for one in answer.objects
        if part.exact or not any(_are_one(one, other) for other in exact)
    ]
    answers = [answer for _, answer in found]
    merged = Detections(
        model=" + ".join(dict.fromkeys(answer.model for answer in answers if answer.model)),
        objects=tuple(one for one, _ in pairs),
        notes=tuple(dict.fromkeys((*plan.notes, *(note for answer in answers for note in answer.notes)))),
        unsearched=tuple(prompt for answer in answers for prompt in answer.unsearched),
        unknown=tuple(prompt for answer in answers for prompt in answer.unknown),
        complete=all(answer.complete for answer in answers),
    )
    return merged, tuple(part for _, part in pairs)


def source(part: Part, answer: Detections) -> Source:
    """Say who answered a part of a question, with which thresholds."""
    labels = part.request.prompts
    if labels is None or part.exact:
        labels = tuple(dict.fromkeys(one.label for one in answer.objects))
    return Source(
        backend=part.backend,
        model=answer.model,
        labels=labels,
        min_score=part.request.min_score,
        iou_threshold=part.request.iou_threshold,
    )


def _read(name: str, labels: Sequence[str], request: DetectionRequest) -> Part:
    """Ask for what is read exactly, of which there is nothing more to say."""
    read = request.model_copy(update={"prompts": tuple(labels), "include": frozenset()})
    return Part(name, read, read, exact=True)


def _with_thresholds(request: DetectionRequest, able: Capabilities) -> DetectionRequest:
    """Fill in the model's own thresholds where the caller gave none; they are not those for examples."""
    if request.examples:
        return request
    own = {"min_score": able.min_score, "iou_threshold": able.iou_threshold}
    return request.model_copy(
        update={name: value for name, value in own.items() if name not in request.model_fields_set}
    )


def _are_one(one: Detection, other: Detection) -> bool:
    return one.label.casefold() == other.label.casefold() and boxes.iou(one.bbox, other.bbox) > _SAME
