"""An agent framework that calls the tools: Pydantic AI, here with a model that needs no key and calls each tool once.

    pip install "pydantic-ai-slim[mcp]"
    python examples/agent.py

Give a real model instead, as in `Agent("anthropic:claude-sonnet-4-5", toolsets=[eyes])`, and a request.
"""

import asyncio
import sys
from pathlib import Path

from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

SAMPLE = Path(__file__).resolve().parent / "sample.png"


def scripted(messages: list[ModelMessage], _info: AgentInfo) -> ModelResponse:
    """Act as the model: detect first, then repeat the reply."""
    last = messages[-1].parts[-1]
    if isinstance(last, ToolReturnPart):
        return ModelResponse(parts=[TextPart(f"The tool returned: {last.content}")])
    return ModelResponse(parts=[ToolCallPart("detect_prompt_free", {"image": str(SAMPLE)})])


async def main() -> None:
    """Run the agent on the sample image."""
    server = StdioTransport(command=sys.executable, args=["-m", "dinox_mcp"])
    async with MCPToolset(server) as eyes:
        agent = Agent(FunctionModel(scripted), toolsets=[eyes])
        result = await agent.run("What is written in the image?")
        print(result.output)


if __name__ == "__main__":
    asyncio.run(main())
