"""What was checked and found, for people and for programs, and the one command that gives more."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Literal

from pydantic import SecretStr

from dinox_mcp import __version__
from dinox_mcp.backends import registry
from dinox_mcp.errors import DinoxError
from dinox_mcp.settings import Settings, environment_name

Status = Literal["ok", "note", "problem"]
_MARKS = {"ok": "ok", "note": "note", "problem": "PROBLEM"}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what is said of it and, where it is not well, the remedy."""

    area: str
    name: str
    status: Status
    said: str
    remedy: str | None = None


def document(checks: Sequence[Check]) -> dict[str, object]:
    """Make the JSON document of a report."""
    return {"version": __version__, "ok": not _problems(checks), "checks": [asdict(check) for check in checks]}


def table(checks: Sequence[Check]) -> list[str]:
    """Make the lines of a report, by areas."""
    lines = [f"dinox-mcp {__version__}"]
    width = max((len(check.name) for check in checks), default=0)
    for area, inside in groupby(checks, key=lambda check: check.area):
        lines += ["", area]
        for check in inside:
            lines.append(f"  {_MARKS[check.status]:8}{check.name:{width}}  {check.said}")
            if check.remedy:
                lines.append(f"  {'':8}{'':{width}}  -> {check.remedy}")
    count = _problems(checks)
    return [*lines, "", f"{count} problem{'s' if count > 1 else ''}" if count else "all is well"]


def _problems(checks: Sequence[Check]) -> int:
    return sum(check.status == "problem" for check in checks)


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


def summarize(settings: Settings, checks: Sequence[Check], keys: Mapping[str, SecretStr]) -> Iterator[Check]:
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
