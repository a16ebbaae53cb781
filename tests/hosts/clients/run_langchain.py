"""langchain-mcp-adapters: what its tools give a model, as messages."""

from job import Json, Seen, fill, run
from langchain_core.messages import ToolMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools


async def work(job: Json) -> tuple[list[Json], list[Seen]]:
    """Call the tools in one session: without one, the client starts a server for each call."""
    server = job["server"]
    transport = {"transport": "http"} if "url" in server else {"transport": "stdio"}
    client = MultiServerMCPClient({"dinox": {**transport, **server}})
    answers: list[Seen] = []
    async with client.session("dinox") as session:
        tools = {tool.name: tool for tool in await load_mcp_tools(session)}
        for number, (name, arguments) in enumerate(job["calls"]):
            call = {"type": "tool_call", "id": str(number), "name": name, "args": fill(arguments, answers)}
            answers.append(_seen(await tools[name].ainvoke(call)))
    return [convert_to_openai_tool(tool)["function"] for tool in tools.values()], answers


def _seen(message: ToolMessage) -> Seen:
    seen = Seen()
    if isinstance(message.content, str):
        seen.add_text(message.content)
    for block in message.content_blocks if not isinstance(message.content, str) else []:
        if block["type"] == "text":
            seen.add_text(block["text"])
        elif block["type"] == "image":
            seen.add_picture(block["base64"])
    return seen


run("langchain-mcp-adapters", work)
