"""The demo: starts the server as an assistant's host would, asks it about two pictures, and shows the answers.

python examples/demo.py [PICTURE [PROMPT ...]]
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
Question = tuple[str, dict[str, Any]]

QUESTIONS: list[Question] = [
    ("detect_objects", {"image": str(PHOTO), "prompts": ["person", "face"], "include": ["pose"]}),
    ("detect_objects", {"image": str(SAMPLE), "prompts": ["text", "QR code", "barcode", "marker"]}),
]


async def main(questions: list[Question], *, offline: bool) -> None:
    """Ask each question, print the reply that a model would read, and write the picture that it would see."""
    environment = os.environ | {"IMAGE_STORAGE_DIRECTORY": str(OUT)}
    if offline:  # show what needs neither a key nor a download
        environment.setdefault("DINOX_MCP_BACKEND", "embedded")
    server = StdioServerParameters(command=sys.executable, args=["-m", "dinox_mcp"], env=environment)
    async with Client(server) as client:
        tools = await client.list_tools()
        print(f"The server offers {', '.join(tool.name for tool in tools.tools)}.")
        for tool, arguments in questions:
            await ask(client, tool, arguments)


async def ask(client: Client, tool: str, arguments: dict[str, Any]) -> None:
    """Detect, and show what was found."""
    print(f"\n{tool}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})")
    reply = await client.call_tool(tool, arguments)
    print_text(reply)
    if reply.is_error or reply.structured_content is None:
        sys.exit(1)

    shown = await client.call_tool("visualize", {"result": reply.structured_content["result_id"]})
    print()
    print_text(shown)
    seen = next(block for block in shown.content if isinstance(block, ImageContent))
    print(f"The model sees a picture of {len(seen.data) * 3 // 4 // 1024} KB.")


def print_text(reply: CallToolResult) -> None:
    """Print the text of a reply."""
    for block in reply.content:
        if isinstance(block, TextContent):
            print(block.text)


def question(picture: str, prompts: list[str]) -> Question:
    """Ask for the prompts in a picture, or without prompts for everything."""
    image = {"image": str(Path(picture).resolve())}
    return ("detect_objects", image | {"prompts": prompts}) if prompts else ("detect_prompt_free", image)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    asyncio.run(main([question(arguments[0], arguments[1:])] if arguments else QUESTIONS, offline=not arguments))
