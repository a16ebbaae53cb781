"""pydantic-ai: an agent whose model is the script."""

from typing import Any

from fastmcp.client.transports import ClientTransport, StdioTransport, StreamableHttpTransport
from job import Json, Seen, fill, run
from pydantic_ai import Agent, BinaryContent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    RetryPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel


async def work(job: Json) -> tuple[list[Json], list[Seen]]:
    """Run the agent; its model keeps what it was sent."""
    calls = job["calls"]
    answers: list[Seen] = []
    declared: list[Json] = []

    def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        answers[:] = _answers(messages)
        declared[:] = [
            {"name": tool.name, "description": tool.description, "parameters": tool.parameters_json_schema}
            for tool in info.function_tools
        ]
        if len(answers) == len(calls):
            return ModelResponse(parts=[TextPart("The script is at its end.")])
        name, arguments = calls[len(answers)]
        return ModelResponse(parts=[ToolCallPart(name, fill(arguments, answers))])

    tools: MCPToolset[Any] = MCPToolset(_transport(job["server"]), read_timeout=120, init_timeout=120)
    await Agent(FunctionModel(model), toolsets=[tools], retries=len(calls)).run("Follow the script.")
    return declared, answers


def _transport(server: Json) -> ClientTransport:
    return StreamableHttpTransport(server["url"]) if "url" in server else StdioTransport(**server)


def _answers(messages: list[ModelMessage]) -> list[Seen]:
    answers: list[Seen] = []
    for part in [part for message in messages for part in message.parts]:
        if isinstance(part, ToolReturnPart):
            answers.append(Seen())
            answers[-1].add_text(part.model_response_str())
            for file in part.files:
                answers[-1].pictures.append(file.data)
        elif isinstance(part, RetryPromptPart):
            answers.append(Seen())
            answers[-1].add_text(part.model_response())
        elif isinstance(part, UserPromptPart) and answers and not isinstance(part.content, str):
            answers[-1].pictures += [item.data for item in part.content if isinstance(item, BinaryContent)]
    return answers


run("pydantic-ai-slim", work)
