"""A server that answers wrong arguments in one line: what is wrong, the value, and what there is."""

from typing import TYPE_CHECKING, Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, InputRequiredResult, Tool
from pydantic import ValidationError

from dinox_mcp.server.schemas import slim

if TYPE_CHECKING:
    from collections.abc import Callable

    from dinox_mcp.schema import Need


class PlainSpokenServer(MCPServer):
    """Refuses arguments that no tool has, and says what is wrong with others in one line instead of a report.

    Tools that no backend can serve are not listed: `needs` says what a tool takes, `answers` what the backends can do.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - those of the SDK's server
        super().__init__(*arguments, **options)
        self.needs: dict[str, Need] = {}
        self.answers: Callable[[], frozenset[Need]] = frozenset

    async def list_tools(self) -> list[Tool]:
        """List the tools that can be served, with schemas as short as they can be."""
        answers = self.answers()
        return [
            tool.model_copy(
                update={
                    "input_schema": slim(tool.input_schema),
                    "output_schema": tool.output_schema and slim(tool.output_schema),
                }
            )
            for tool in await super().list_tools()
            if tool.name not in self.needs or self.needs[tool.name] in answers
        ]

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool.

        Raises:
            ToolError: the arguments or the call are wrong.
        """
        schema = self._tool_input_schema(name)
        known = list(schema["properties"]) if schema else []
        if schema and (unknown := sorted(arguments.keys() - set(known))):
            raise ToolError(f"{name} has no argument {unknown[0][:60]!r}; its arguments are {', '.join(known)}")
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                raise ToolError(explain(name, error.__cause__)) from error.__cause__
            raise


def explain(tool: str, error: ValidationError) -> str:
    """Say the first thing that is wrong; of a union's several complaints, all that it would have taken."""
    problems = error.errors(include_url=False)
    first = problems[0]
    argument = str(first["loc"][0])
    if first["type"] == "missing" and len(first["loc"]) == 1:
        return f"{tool} needs the argument {argument!r}, which is missing"
    same = [problem for problem in problems if problem["loc"][0] == argument]
    wanted = " or ".join(dict.fromkeys(problem["msg"][0].lower() + problem["msg"][1:] for problem in same))
    where = "".join(f"[{part}]" for part in first["loc"][1:] if isinstance(part, int))
    if first["type"] in ("missing", "extra_forbidden"):
        where += f".{first['loc'][-1]}"
    return f"{tool}: {argument}{where}: {wanted} (got {first['input']!r:.80})"
