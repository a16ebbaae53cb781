"""The demo: starts the server as an assistant's host would, calls it about two images, and shows the replies.

python examples/demo.py [IMAGE [PROMPT ...]]
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult, ImageContent, TextContent

HERE = Path(__file__).resolve().parent
PHOTO = HERE / "gallery" / "photos" / "astronaut.jpg"
SAMPLE = HERE / "sample.png"
OUT = HERE.parent / "out"
ToolCall = tuple[str, dict[str, Any]]

CALLS: list[ToolCall] = [
    ("detect_objects", {"image": str(PHOTO), "prompts": ["person", "face"], "include": ["pose"]}),
    ("detect_objects", {"image": str(SAMPLE), "prompts": ["text", "QR code", "barcode", "marker"]}),
]


async def main(calls: list[ToolCall], *, offline: bool) -> None:
    """Make each call, print the reply that a model reads, and save the image that it gets."""
    environment = os.environ | {"IMAGE_STORAGE_DIRECTORY": str(OUT)}
    if offline:  # show what needs neither a key nor a download
        environment.setdefault("DINOX_MCP_BACKEND", "embedded")
    server = StdioServerParameters(command=sys.executable, args=["-m", "dinox_mcp"], env=environment)
    async with Client(server) as client:
        tools = await client.list_tools()
        print(f"The server offers {', '.join(tool.name for tool in tools.tools)}.")
        for tool, arguments in calls:
            await call(client, tool, arguments)


async def call(client: Client, tool: str, arguments: dict[str, Any]) -> None:
    """Call a tool, then `visualize` for its result."""
    print(f"\n{tool}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})")
    reply = await client.call_tool(tool, arguments)
    print_text(reply)
    if reply.is_error or reply.structured_content is None:
        sys.exit(1)

    shown = await client.call_tool("visualize", {"result": reply.structured_content["result_id"]})
    print()
    print_text(shown)
    image = next(block for block in shown.content if isinstance(block, ImageContent))
    print(f"The model gets an image of {len(image.data) * 3 // 4 // 1024} KB.")


def print_text(reply: CallToolResult) -> None:
    """Print the text of a reply."""
    for block in reply.content:
        if isinstance(block, TextContent):
            print(block.text)


def call_for(image: str, prompts: list[str]) -> ToolCall:
    """Make the call for prompts in an image, or without prompts for everything."""
    arguments = {"image": str(Path(image).resolve())}
    return ("detect_objects", arguments | {"prompts": prompts}) if prompts else ("detect_prompt_free", arguments)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    asyncio.run(main([call_for(arguments[0], arguments[1:])] if arguments else CALLS, offline=not arguments))
