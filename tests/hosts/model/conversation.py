"""What hosts send to a model, whatever the dialect of its API."""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Json = dict[str, Any]
_RESULT_ID = re.compile(r'(?:"result_id": ?"|Result id: )([\w-]+)')


@dataclass(frozen=True)
class Call:
    """A tool that the model asks for; `{result}` in its arguments is the result_id it read last."""

    tool: str
    arguments: Mapping[str, Any]


@dataclass
class Seen:
    """What the model sees of a tool's answer."""

    text: str = ""
    pictures: list[bytes] = field(default_factory=list)

    def add_text(self, text: str) -> None:
        """Add a block of text."""
        self.text = f"{self.text}\n{text}" if self.text else text

    def encoded(self) -> list[str]:
        """Give the pictures in base64."""
        return [base64.b64encode(picture).decode() for picture in self.pictures]

    def add_picture(self, data: str) -> None:
        """Add a picture: base64, or a data: URI."""
        self.pictures.append(base64.b64decode(data.rpartition(",")[2]))


@dataclass(frozen=True)
class Declaration:
    """A tool of ours as the host declares it to the model."""

    name: str
    json: str

    @staticmethod
    def of(name: str, sent: Json) -> "Declaration":
        """Keep a declaration as it was sent."""
        return Declaration(name, json.dumps(sent, ensure_ascii=False, separators=(",", ":")))


class Dialect(Protocol):
    """One model API."""

    def speaks(self, path: str) -> bool:
        """Say whether a path belongs to this API's conversations."""

    def tools(self, body: Json) -> list[Declaration]:
        """Give our tools, by the names of the server."""

    def answers(self, body: Json) -> list[Seen]:
        """Give the answers of tools in the conversation, in order."""

    def call(self, call: Call, number: int) -> list[Json]:
        """Make the events with which the model asks for a tool."""

    def say(self, text: str) -> list[Json]:
        """Make the events with which the model answers in words."""

    def encode(self, events: Sequence[Json], *, stream: bool) -> tuple[str, bytes]:
        """Give content type and body."""


def fill(arguments: Mapping[str, Any], answers: Sequence[Seen]) -> Json:
    """Put in the result_id that the model last read."""
    ids = [found for answer in answers for found in _RESULT_ID.findall(answer.text)]
    last = ids[-1] if ids else "no-result-id-was-readable"
    return {name: last if value == "{result}" else value for name, value in arguments.items()}


def server_sent(events: Sequence[Json], *, named: bool) -> bytes:
    """Write server-sent events."""
    lines = [(f"event: {event['type']}\n" if named else "") + f"data: {json.dumps(event)}\n\n" for event in events]
    return "".join(lines).encode()
