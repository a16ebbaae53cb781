"""The demo: starts the server as an assistant's host would, asks it about a picture, and shows the answer.

python examples/demo.py [PICTURE [PROMPT ...]]
"""

import asyncio
import os
import sys
from pathlib import Path

from mcp import Client, StdioServerParameters
from mcp.types import ImageContent, TextContent

HERE = Path(__file__).resolve().parent
SAMPLE = HERE / "sample.png"
OUT = HERE.parent / "out"


async def main(picture: Path, prompts: list[str]) -> None:
    """Detect, print the reply that a model would read, and write the picture that it would see."""
    environment = os.environ | {"IMAGE_STORAGE_DIRECTORY": str(OUT)}
    if picture == SAMPLE:  # it shows what needs neither a key nor a model to download
        environment.setdefault("DINOX_MCP_BACKEND", "embedded")
    server = StdioServerParameters(command=sys.executable, args=["-m", "dinox_mcp"], env=environment)
    async with Client(server) as client:
        tools = await client.list_tools()
        print(f"The server offers {', '.join(tool.name for tool in tools.tools)}.\n")

        image = {"image": str(picture)}
        if prompts:
            reply = await client.call_tool("detect_objects", image | {"prompts": prompts})
        else:
            reply = await client.call_tool("detect_prompt_free", image)
        print_text(reply.content)
        if reply.is_error or reply.structured_content is None:
            sys.exit(1)

        shown = await client.call_tool("visualize", {"result": reply.structured_content["result_id"]})
        print()
        print_text(shown.content)
        seen = next(block for block in shown.content if isinstance(block, ImageContent))
        print(f"The model sees a picture of {len(seen.data) * 3 // 4 // 1024} KB.")


def print_text(content: object) -> None:
    """Print the text of a reply."""
    for block in content if isinstance(content, list) else []:
        if isinstance(block, TextContent):
            print(block.text)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    asyncio.run(main(Path(arguments[0]).resolve() if arguments else SAMPLE, arguments[1:]))
