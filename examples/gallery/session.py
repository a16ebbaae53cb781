"""A session with the server: the calls, and the last reply, image and result."""

import base64
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.types import ImageContent, TextContent

from dinox_mcp.detector import Detector
from dinox_mcp.server.app import build_server
from dinox_mcp.settings import Settings

_LINE = 84
_RESULT_ID = re.compile(r'(?:(?<=result=")|(?<=results/)|(?<=videos/)|(?<=Result id: ))[a-z0-9]{16}\b')


@dataclass
class Session:
    """Calls tools, and keeps calls and replies; images are named by files in `folder`."""

    client: Client
    folder: Path
    calls: list[str] = field(default_factory=list)
    answer: str = ""
    picture: bytes = b""
    result: dict[str, Any] = field(default_factory=dict)

    async def call(self, tool: str, **arguments: object) -> str:
        """Call a tool, and return its text.

        Raises:
            RuntimeError: It returned an error, which would be a fault of this gallery.
        """
        self.calls.append(written(tool, arguments))
        reply = await self.client.call_tool(tool, self._located(arguments))
        text = "\n".join(block.text for block in reply.content if isinstance(block, TextContent))
        if reply.is_error:
            raise RuntimeError(text)
        for block in reply.content:
            if isinstance(block, ImageContent):
                self.picture = base64.b64decode(block.data)
        if reply.structured_content is not None:
            self.result = reply.structured_content
        if tool not in {"visualize", "zoom"}:
            self.answer = text
        return text

    @property
    def result_id(self) -> str:
        """The id of the last result."""
        return str(self.result["result_id"])

    def _located(self, value: Any) -> Any:  # noqa: ANN401 - JSON
        """Replace names of images by paths, at any depth."""
        if isinstance(value, dict):
            return {
                name: str(self.folder / inner) if name in {"image", "video"} else self._located(inner)
                for name, inner in value.items()
            }
        return [self._located(inner) for inner in value] if isinstance(value, list) else value


@asynccontextmanager
async def server() -> AsyncIterator[Client]:
    """Start a server in this process, on the backend that needs neither key nor weights, and connect to it."""
    async with Detector(Settings(backend="embedded")) as detector, Client(build_server(detector)) as client:
        yield client


def timeless(text: str) -> str:
    """Replace the ids of results, which differ from run to run."""
    return _RESULT_ID.sub("…", text)


def written(tool: str, arguments: dict[str, object]) -> str:
    """Write a call as a page shows it: in one line, or where that is too long, in several."""
    parts = [f"{name}={_json(value)}" for name, value in arguments.items()]
    line = timeless(f"{tool}({', '.join(parts)})")
    if len(line) <= _LINE:
        return line
    parts = [f"{name}={_in_lines(value)}" for name, value in arguments.items()]
    return timeless(f"{tool}(\n" + "".join(f"    {part},\n" for part in parts) + ")")


def _in_lines(value: object) -> str:
    if not isinstance(value, list) or len(_json(value)) < _LINE:
        return _json(value)
    return "[\n" + "".join(f"        {_json(part)},\n" for part in value) + "    ]"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
