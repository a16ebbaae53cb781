"""What was looked at and found, for people and for programs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Literal

from dinox_mcp import __version__

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
