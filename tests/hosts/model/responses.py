"""The Responses API, as Codex speaks it."""

import json
from collections.abc import Sequence

from tests.hosts.model.conversation import Call, Declaration, Json, Seen, server_sent

_NAMESPACE = "mcp__dinox"


class Responses:
    """The Responses API."""

    def speaks(self, path: str) -> bool:
        return path.partition("?")[0] == "/v1/responses"

    def tools(self, body: Json) -> list[Declaration]:
        ours = [tool for tool in body.get("tools", []) if tool.get("name") == _NAMESPACE]
        return [Declaration.of(tool["name"], tool) for group in ours for tool in group["tools"]]

    def answers(self, body: Json) -> list[Seen]:
        return [_seen(item) for item in body["input"] if item["type"] == "function_call_output"]

    def call(self, call: Call, number: int) -> list[Json]:
        item = {
            "type": "function_call",
            "id": f"fc_{number}",
            "call_id": f"call_{number}",
            "namespace": _NAMESPACE,
            "name": call.tool,
            "arguments": json.dumps(call.arguments),
        }
        return _response(item)

    def say(self, text: str) -> list[Json]:
        content = [{"type": "output_text", "text": text, "annotations": []}]
        return _response({"type": "message", "id": "msg_1", "role": "assistant", "content": content})

    def encode(self, events: Sequence[Json], *, stream: bool) -> tuple[str, bytes]:
        del stream  # Codex always streams
        return "text/event-stream", server_sent(events, named=True)


def _seen(item: Json) -> Seen:
    seen = Seen()
    output = item["output"]
    for part in [{"type": "input_text", "text": output}] if isinstance(output, str) else output:
        if part["type"] == "input_text":
            seen.add_text(part["text"])
        elif part["type"] == "input_image":
            seen.add_picture(part["image_url"])
    return seen


def _response(item: Json) -> list[Json]:
    usage = {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 10,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 20,
    }
    response = {"id": "resp_1", "object": "response", "status": "in_progress", "output": []}
    return [
        {"type": "response.created", "response": response},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {
            "type": "response.completed",
            "response": response | {"status": "completed", "output": [item], "usage": usage},
        },
    ]
