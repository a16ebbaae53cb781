"""What was checked: one `Check` for each thing, the JSON document of all, and what this machine can detect now."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Literal

from pydantic import SecretStr

from dinox_mcp import __version__
from dinox_mcp.backends import registry
from dinox_mcp.errors import DinoxError
from dinox_mcp.settings import Settings, environment_name
from dinox_mcp.types.extras import extras_command

Status = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """One checked thing.

    Attributes:
        area: The heading that it belongs to, as "Backends".
        status: "ok", "note" (something is missing that not everybody needs) or "problem".
        remedy: What to do about it, a command where possible.
    """

    area: str
    name: str
    status: Status
    finding: str
    remedy: str | None = None


def document(checks: Sequence[Check]) -> dict[str, object]:
    """Return the JSON document of a report."""
    return {"version": __version__, "ok": not problems(checks), "checks": [asdict(check) for check in checks]}


def problems(checks: Sequence[Check]) -> int:
    """Count the problems."""
    return sum(check.status == "problem" for check in checks)


_AREA = "What can be detected"
_EMBEDDED = {
    "objects": "80 kinds of everyday things",
    "bodies": "body poses",
    "faces": "faces",
    "hands": "hands",
    "text": "text",
    "codes": "codes and markers",
}
"""What the embedded backend detects, by the names of the checks of its models."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What can be detected now.

    Attributes:
        works: What, in words.
        open: The backends that detect anything that is named.
        step: The one step that makes it possible to detect anything that is named; None where it is.
    """

    works: tuple[str, ...]
    open: tuple[str, ...]
    step: str | None


def abilities(settings: Settings, broken: Collection[str] = ()) -> Abilities:
    """Find out what can be detected; `broken` names the checks of the embedded backend that failed."""
    backends = registry.Backends(settings)
    usable = backends.usable()
    anything = tuple(name for name in usable if _is_open(backends, name))
    embedded = _embedded(broken) if "embedded" in usable else ()
    works = ((f"anything that is named ({', '.join(anything)})",) if anything else ()) + embedded
    return Abilities(works, anything, None if anything else _step(settings, backends))


def summarize(settings: Settings, checks: Collection[Check], keys: Mapping[str, SecretStr]) -> Iterator[Check]:
    """Summarize a report, given the checks of the embedded backend, and the keys in hosts' files by their names."""
    found = abilities(settings, {check.name for check in checks if check.status == "problem"})
    if found.works:
        yield Check(_AREA, "works now", "ok", ", ".join(found.works))
    else:
        yield Check(_AREA, "works now", "problem", "nothing", found.step)
    if keys and not found.open:
        hosts = ", ".join(keys)
        yield Check(_AREA, "with a key", "ok", f"anything that is named, in {hosts}, whose file has a key")
    elif not found.open:
        missing = "anything else that is named, described in a sentence or named in a caption"
        yield Check(_AREA, "one step away", "note", missing, found.step)


def _embedded(broken: Collection[str]) -> tuple[str, ...]:
    """List what the embedded backend detects; the checks after a broken one of its group are not made."""
    lost = set(broken)
    if "packages" in lost:
        return ()
    if "objects" in lost:
        lost |= set(_EMBEDDED) - {"text", "codes"}
    return tuple(found for name, found in _EMBEDDED.items() if name not in lost)


def _is_open(backends: registry.Backends, name: str) -> bool:
    try:
        able = backends.get(name).capabilities()
    except DinoxError:
        return False  # a check of its own reports it
    return able.labels is None and "text prompts" in able.answers


def _step(settings: Settings, backends: registry.Backends) -> str:
    """Return the command, the nearest to what is installed already."""
    if not backends.auto:
        return f"set {environment_name('backend')}=auto"
    from dinox_mcp.backends import local
    from dinox_mcp.backends.local.checkpoints.presets import default_model

    pull = "dinox-mcp pull"
    with suppress(DinoxError):  # of a setting that a check of its own reports
        pull = f"dinox-mcp pull {default_model(settings)}"
    if local.has_torch() or local.runs_without_torch(settings):
        return pull
    return f"{extras_command(['local'])} && {pull}"
