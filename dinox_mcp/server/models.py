"""Which models a caller may choose: those that a backend lists, so that no assistant has others downloaded."""

from dinox_mcp.caller import Caller
from dinox_mcp.detector import Detector
from dinox_mcp.errors import InputError


def offered(model: str | None, detector: Detector, caller: Caller) -> str | None:
    """Give a model's name, as its backend writes it, if a caller may choose it.

    Of a backend that fetches models, callers over HTTP choose among those that are loaded, lest a stranger fill this
    machine's disk or memory.

    Raises:
        InputError: such a backend does not list it; the message says which it does.
    """
    model = (model or "").strip()
    if not model:
        return None
    name = detector.backends.choose(caller_has_key=caller.api_key is not None, model=model)
    backend = detector.backends.get(name)
    fetches = backend.capabilities().fetches
    offers = list(backend.models())
    if fetches and detector.settings.transport != "stdio":
        offers = [offer for place, offer in enumerate(offers) if offer.loaded or place == 0]
    listed = {offer.name.casefold(): offer.name for offer in offers}
    if fetches and model.casefold() not in listed:
        raise InputError(
            f"model {model[:80]!r} is none that may be chosen here; there are {', '.join(listed.values())} "
            "(whoever runs this server can set DINOX_MCP_MODEL to any other)"
        )
    return listed.get(model.casefold(), model)
