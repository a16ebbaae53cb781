"""The generateContent API, as Gemini CLI speaks it."""

import json
import re
from collections.abc import Iterator, Sequence

from tests.hosts.model.conversation import Call, Declaration, Json, Seen, server_sent

_PREFIX = "mcp_dinox_"


class Gemini:
    """The generateContent API."""

    def speaks(self, path: str) -> bool:
        return re.search(r":(?:streamG|g)enerateContent\b", path) is not None

    def tools(self, body: Json) -> list[Declaration]:
        groups = [group.get("functionDeclarations", []) for group in body.get("tools", [])]
        ours = [tool for group in groups for tool in group if tool["name"].startswith(_PREFIX)]
        return [Declaration.of(tool["name"].removeprefix(_PREFIX), tool) for tool in ours]

    def answers(self, body: Json) -> list[Seen]:
        """Give the answers; pictures come in the function's response, or as parts after it."""
        answers: list[Seen] = []
        for part in _parts(body):
            if "functionResponse" in part:
                response = part["functionResponse"]
                answers.append(Seen())
                answers[-1].add_text(_text(response["response"]))
                for inner in response.get("parts", []):
                    _add(answers[-1], inner)
            elif answers:
                _add(answers[-1], part)
        return answers

    def call(self, call: Call, number: int) -> list[Json]:
        wanted = {"id": f"call_{number}", "name": _PREFIX + call.tool, "args": call.arguments}
        return [_response({"functionCall": wanted})]

    def say(self, text: str) -> list[Json]:
        return [_response({"text": text})]

    def encode(self, events: Sequence[Json], *, stream: bool) -> tuple[str, bytes]:
        if stream:
            return "text/event-stream", server_sent(events, named=False)
        return "application/json", json.dumps(events[0]).encode()


def _parts(body: Json) -> Iterator[Json]:
    for content in body["contents"]:
        if content["role"] == "user":
            yield from content["parts"]


def _text(response: Json) -> str:
    return "\n".join(value if isinstance(value, str) else json.dumps(value) for value in response.values())


def _add(seen: Seen, part: Json) -> None:
    if "inlineData" in part:
        seen.add_picture(part["inlineData"]["data"])
    elif "text" in part:
        seen.add_text(part["text"])


def _response(part: Json) -> Json:
    return {
        "candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 10, "totalTokenCount": 20},
        "modelVersion": "loopback",
    }
