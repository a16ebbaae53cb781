"""What a backend cannot do is refused before it is asked, with the name of what can."""

from collections.abc import Callable
from contextlib import suppress

from dinox_mcp.backends.base import Backend, Capabilities, Describer, Follower
from dinox_mcp.backends.registry import Backends
from dinox_mcp.errors import DinoxError, UnsupportedError
from dinox_mcp.types.detection import DetectionRequest, Need, Output

_NOBODY = "no installed backend can"


def check(
    request: DetectionRequest,
    backend: Backend,
    backends: Backends,
    needs: frozenset[Need],
    described: frozenset[Output],
) -> None:
    """Refuse a request that the backend, or the model that is named, cannot answer.

    Args:
        request: what is asked.
        backend: who is asked.
        backends: those that a remedy may name.
        needs: what the request takes.
        described: outputs that any backend gives of boxes, whoever found them.

    Raises:
        UnsupportedError: it cannot; the message says which model or backend can.
        InputError: it has no such model.
    """
    able = backend.capabilities(request.model)
    who = f"the backend {backend.name}" + (f" with the model {request.model!r:.80}" if request.model else "")
    if unmet := sorted(needs - able.answers):
        remedy = _remedy(lambda other: needs <= other.answers, backend, backends)
        raise UnsupportedError(f"{who} cannot do {' and '.join(unmet)}; {remedy}; otherwise ask without it")
    include = request.include - described
    if missing := sorted(include - able.outputs - able.describes):

        def does(other: Capabilities) -> bool:
            return needs <= other.answers and include <= other.outputs | other.describes

        remedy = _remedy(does, backend, backends)
        raise UnsupportedError(f"{who} cannot do {' and '.join(missing)}; {remedy}; otherwise ask without it")


def check_boxes(include: frozenset[Output], backend: Backend, backends: Backends) -> None:
    """Refuse to tell of given boxes what the backend cannot.

    Raises:
        UnsupportedError: it cannot; the message says which backend can.
    """
    able = backend.capabilities().describes if isinstance(backend, Describer) else frozenset[Output]()
    if missing := sorted(include - able):
        remedy = _remedy(lambda other: include <= other.describes, backend, backends)
        if remedy == _NOBODY:
            remedy = f"detecting, {_remedy(lambda other: include <= other.outputs, backend, backends)}"
        raise UnsupportedError(
            f"the backend {backend.name} cannot tell {' and '.join(missing)} of given boxes; {remedy}; otherwise ask "
            f"for {' and '.join(sorted(able)) or 'a detection instead'}"
        )


def follower(name: str, backends: Backends, *, caller_has_key: bool) -> Follower:
    """Choose who follows masks through a video: the backend of a name or, with `auto`, another that is ready.

    Raises:
        UnsupportedError: none of them can; the message says which backend can.
    """
    backend = backends.get(name)
    if isinstance(backend, Follower):
        return backend
    for other in backends.usable(caller_has_key=caller_has_key) if backends.auto else ():
        with suppress(DinoxError):  # one that does not load follows nothing
            if isinstance(able := backends.get(other), Follower):
                return able
    remedy = _other(lambda other: isinstance(other, Follower), backend, backends)
    raise UnsupportedError(
        f"the backend {backend.name} cannot follow masks through a video; {remedy}; otherwise ask without masks"
    )


def _remedy(able: Callable[[Capabilities], bool], backend: Backend, backends: Backends) -> str:
    """Say which model or backend can."""

    def models(of: Backend) -> list[str]:
        return [model.name for model in of.models() if able(model.capabilities)]

    if own := models(backend):
        return f"ask with model {' or '.join(map(repr, own[:3]))}"
    return _other(lambda other: bool(models(other)), backend, backends)


def _other(able: Callable[[Backend], bool], backend: Backend, backends: Backends) -> str:
    """Say which other backend can, and how to have it."""

    def can(name: str) -> bool:
        try:
            return name != backend.name and able(backends.get(name))
        except DinoxError:
            return False

    others = list(filter(can, backends.names()))
    unready = backends.unready()
    how = [f" ({name}: {unready[name].remedy})" for name in others if name in unready]
    return f"the backend {' or '.join(others)} can{''.join(how)}" if others else _NOBODY
