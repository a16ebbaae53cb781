"""What was checked: one `Check` for each thing, and the JSON document of all."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from dinox_mcp import __version__

Status = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """One checked thing.

    Attributes:
        area: The heading that it belongs to, as "Backends".
        name: What was checked.
        status: "ok", "note" (something is missing that not everybody needs) or "problem".
        finding: What was found, in part of a line.
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
