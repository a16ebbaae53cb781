"""openai-agents: what its agents send a model."""

import json

from agents import Agent, RunContextWrapper
from agents.mcp import MCPServer, MCPServerStdio, MCPServerStreamableHttp
from agents.mcp.util import MCPUtil
from agents.tool_context import ToolContext
from job import Json, Seen, fill, run


async def work(job: Json) -> tuple[list[Json], list[Seen]]:
    """Call the tools as an agent's loop does."""
    answers: list[Seen] = []
    async with _server(job["server"]) as server:
        agent = Agent("loopback", mcp_servers=[server])
        context: RunContextWrapper[None] = RunContextWrapper(context=None)
        tools = {
            tool.name: tool
            for tool in await MCPUtil.get_function_tools(
                server, convert_schemas_to_strict=False, run_context=context, agent=agent
            )
        }
        for number, (name, arguments) in enumerate(job["calls"]):
            words = json.dumps(fill(arguments, answers))
            own = ToolContext(context=None, tool_name=name, tool_call_id=str(number), tool_arguments=words)
            answers.append(_seen(await tools[name].on_invoke_tool(own, words)))
    declared = [
        {"name": tool.name, "description": tool.description, "parameters": tool.params_json_schema}
        for tool in tools.values()
    ]
    return declared, answers


def _server(server: Json) -> MCPServer:
    if "url" in server:
        return MCPServerStreamableHttp({"url": server["url"]}, client_session_timeout_seconds=120)
    return MCPServerStdio(server, client_session_timeout_seconds=120)


def _seen(output: object) -> Seen:
    seen = Seen()
    for part in output if isinstance(output, list) else [output]:
        if isinstance(part, str):
            seen.add_text(part)
        elif part["type"] == "image":
            seen.add_picture(part["image_url"])
        else:
            seen.add_text(part["text"])
    return seen


run("openai-agents", work)
