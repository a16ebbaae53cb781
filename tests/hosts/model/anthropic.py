"""The Messages API, as Claude Code and opencode speak it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.hosts.model.conversation import Call, Declaration, Json, Seen, server_sent


@dataclass(frozen=True)
class Anthropic:
    """The Messages API, of a host that puts a prefix before the names of our tools."""

    prefix: str

    def speaks(self, path: str) -> bool:
        return path.partition("?")[0] == "/v1/messages"

    def tools(self, body: Json) -> list[Declaration]:
        ours = [tool for tool in body.get("tools", []) if tool["name"].startswith(self.prefix)]
        return [Declaration.of(tool["name"].removeprefix(self.prefix), tool) for tool in ours]

    def answers(self, body: Json) -> list[Seen]:
        return [_seen(block) for block in _blocks(body) if block["type"] == "tool_result"]

    def call(self, call: Call, number: int) -> list[Json]:
        block = {"type": "tool_use", "id": f"toolu_{number}", "name": self.prefix + call.tool, "input": call.arguments}
        return [_message([block], "tool_use")]

    def say(self, text: str) -> list[Json]:
        return [_message([{"type": "text", "text": text}], "end_turn")]

    def encode(self, events: Sequence[Json], *, stream: bool) -> tuple[str, bytes]:
        if not stream:
            return "application/json", json.dumps(events[0]).encode()
        return "text/event-stream", server_sent(list(_streamed(events[0])), named=True)


def _blocks(body: Json) -> Iterator[Json]:
    for message in body["messages"]:
        if not isinstance(message["content"], str):
            yield from message["content"]


def _seen(result: Json) -> Seen:
    seen = Seen()
    content = result["content"]
    for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
        if part["type"] == "text":
            seen.add_text(part["text"])
        elif part["type"] == "image":
            seen.add_picture(part["source"]["data"])
    return seen


def _message(content: list[Json], stop_reason: str) -> Json:
    usage = {"input_tokens": 10, "output_tokens": 10}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "loopback",
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": usage,
    }


def _streamed(message: Json) -> Iterator[Json]:
    yield {"type": "message_start", "message": message | {"content": [], "stop_reason": None}}
    for index, block in enumerate(message["content"]):
        if block["type"] == "text":
            start, delta = block | {"text": ""}, {"type": "text_delta", "text": block["text"]}
        else:
            start = block | {"input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        yield {"type": "content_block_start", "index": index, "content_block": start}
        yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ended = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": ended, "usage": message["usage"]}
    yield {"type": "message_stop"}
