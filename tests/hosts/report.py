"""What a client showed of our server."""

from dataclasses import dataclass
from typing import Any

from tests.hosts.model.conversation import Declaration, Seen

Target = dict[str, Any]
"""How the server is reached: {"command", "args", "env"} or {"url"}."""


@dataclass(frozen=True)
class Report:
    """The tools as a client declares them to its model, and what the model sees of their answers."""

    version: str
    tools: list[Declaration]
    answers: list[Seen]
