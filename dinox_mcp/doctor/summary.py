"""The end of the report: what can be found here, what cannot, and the one command that changes it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from pydantic import SecretStr

from dinox_mcp.backends import registry
from dinox_mcp.doctor.report import Check, Status
from dinox_mcp.errors import DinoxError
from dinox_mcp.settings import Settings, environment_name

_AREA = "What can be found"
_EMBEDDED = {
    "objects": "80 kinds of everyday things",
    "bodies": "body poses",
    "faces": "faces",
    "hands": "hands",
    "text": "text",
    "codes": "codes and markers",
}
"""What the embedded backend finds, by the check that says whether it can."""


def check(settings: Settings, checks: Sequence[Check], keys: Mapping[str, SecretStr]) -> Iterator[Check]:
    """Say it, of what the earlier `checks` have found; `keys` are those in the files of hosts, by their names."""
    backends = registry.Backends(settings)
    usable = backends.usable()
    anything = [name for name in usable if _finds_anything(backends, name)]
    broken = {one.name for one in checks if one.area == "Embedded" and one.status == "problem"}
    exactly = [] if "embedded" not in usable or "packages" in broken else _without(broken)
    can = ([f"anything that is named ({', '.join(anything)})"] if anything else []) + exactly
    status: Status = "ok" if can else "problem"
    yield Check(_AREA, "here", status, ", ".join(can) or "nothing", None if can else _remedy(settings, backends))
    if keys and not anything:
        yield Check(_AREA, "with a key", "ok", f"anything that is named, in {', '.join(keys)}, whose file has a key")
    elif not anything:
        missing = "anything else that is named, described in a sentence or told in a caption"
        yield Check(_AREA, "not here", "note", missing, _remedy(settings, backends))


def _without(broken: set[str]) -> list[str]:
    """List what the embedded backend finds; without its file of objects, the checks behind it are not made."""
    lost = broken | (set(_EMBEDDED) - {"text", "codes"} if "objects" in broken else set())
    return [what for name, what in _EMBEDDED.items() if name not in lost]


def _finds_anything(backends: registry.Backends, name: str) -> bool:
    try:
        able = backends.get(name).capabilities()
    except DinoxError:
        return False  # which a check of its own says
    return able.labels is None and "text prompts" in able.answers


def _remedy(settings: Settings, backends: registry.Backends) -> str:
    """Give the one command that changes it, the nearest to what is here already."""
    if not backends.auto:
        return f"set {environment_name('backend')}=auto, and run the doctor again"
    from dinox_mcp.backends.local import abilities, extra

    pull = "dinox-mcp pull"
    with suppress(DinoxError):  # of a setting that a check of its own complains about
        pull = f"dinox-mcp pull {abilities.default(settings)}"
    if extra.installed():
        return pull
    return f"pip install 'dinox-mcp[local]' && {pull}"
