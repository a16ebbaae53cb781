"""The one check of what a backend can do; the error names a backend or model that can."""

from collections.abc import Callable
from contextlib import suppress

from dinox_mcp.backends.base import Backend, Capabilities, Describer, Follower, Priced
from dinox_mcp.backends.registry import Backends
from dinox_mcp.errors import DinoxError, InputError, UnsupportedError
from dinox_mcp.types.detection import DetectionRequest, Need, Output

_NOBODY = "no installed backend can"


def check(
    request: DetectionRequest,
    backend: Backend,
    backends: Backends,
    needs: frozenset[Need],
    described: frozenset[Output],
) -> None:
    """Refuse a request with its needs that a backend, or its named model, cannot answer.

    `described` are the outputs that some backend gives of boxes afterwards.

    Raises:
        UnsupportedError: it cannot; the message says which model or backend can.
        InputError: it has no such model.
    """
    able = backend.capabilities(request.model)
    who = f"the backend {backend.name}" + (f" with the model {request.model!r:.80}" if request.model else "")
    if unmet := sorted(needs - able.answers):
        remedy = _remedy(lambda other: needs <= other.answers, backend, backends)
        raise UnsupportedError(f"{who} cannot do {' and '.join(unmet)}; {remedy}; otherwise leave it out")
    include = request.include - described
    if missing := sorted(include - able.outputs - able.describes):

        def does(other: Capabilities) -> bool:
            return needs <= other.answers and include <= other.outputs | other.describes

        remedy = _remedy(does, backend, backends)
        raise UnsupportedError(f"{who} cannot do {' and '.join(missing)}; {remedy}; otherwise leave it out")


def describer(name: str, include: frozenset[Output], backends: Backends) -> Describer:
    """Give a backend that describes given boxes, and refuse outputs that it cannot give of them.

    Raises:
        UnsupportedError: it cannot; the message says which backend can.
    """
    backend = backends.get(name)
    able = describes(backend)
    if not isinstance(backend, Describer) or not include <= able:
        missing = sorted(include - able)
        remedy = _remedy(lambda other: include <= other.describes, backend, backends)
        if remedy == _NOBODY:
            remedy = f"detecting, {_remedy(lambda other: include <= other.outputs, backend, backends)}"
        raise UnsupportedError(
            f"the backend {name} cannot give {' and '.join(missing)} of given boxes; {remedy}; otherwise "
            f"include only {' and '.join(sorted(able)) or 'what a detection gives'}"
        )
    return backend


def describes(backend: Backend) -> frozenset[Output]:
    """List what a backend gives of given boxes."""
    return backend.capabilities().describes if isinstance(backend, Describer) else frozenset()


def check_calls(searches: int, backend: Backend, request: DetectionRequest, max_calls: int) -> None:
    """Refuse a request that could make more calls to the backend than are allowed.

    Raises:
        InputError: it could.
    """
    each = calls_of(backend, request)
    if searches * each > max_calls:
        tiles = f"tiles is {request.tiles}" if searches > 1 else ""
        examples = f"the backend {backend.name} searches for these examples in {each} calls" if each > 1 else ""
        raise InputError(
            f"{' and '.join(filter(None, (tiles, examples)))}, which takes {searches * each} calls to the backend, "
            f"more than the {max_calls} allowed; choose fewer, or raise DINOX_MCP_MAX_CALLS"
        )


def calls_of(backend: Backend, request: DetectionRequest) -> int:
    """Give the number of calls that one search takes, as the backend says."""
    return backend.calls(request) if isinstance(backend, Priced) else 1


def follower(name: str, backends: Backends, *, caller_has_key: bool) -> Follower:
    """Choose the backend that follows masks through a video: the named one or, with `auto`, another that is ready.

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
        f"the backend {backend.name} cannot follow masks through a video; {remedy}; otherwise leave masks out"
    )


def _remedy(able: Callable[[Capabilities], bool], backend: Backend, backends: Backends) -> str:
    """Name the model or backend that can."""

    def models(of: Backend) -> list[str]:
        return [model.name for model in of.models() if able(model.capabilities)]

    if own := models(backend):
        return f"pass model {' or '.join(map(repr, own[:3]))}"
    return _other(lambda other: bool(models(other)), backend, backends)


def _other(able: Callable[[Backend], bool], backend: Backend, backends: Backends) -> str:
    """Name the other backend that can, and how to make it ready."""

    def can(name: str) -> bool:
        try:
            return name != backend.name and able(backends.get(name))
        except DinoxError:
            return False

    others = list(filter(can, backends.names()))
    unready = backends.unready()
    how = [f" ({name}: {unready[name].remedy})" for name in others if name in unready]
    return f"the backend {' or '.join(others)} can{''.join(how)}" if others else _NOBODY
