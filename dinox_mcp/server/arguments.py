"""A server that answers wrong arguments in one line: what is wrong, the value, and what there is."""

from collections.abc import Callable, Iterable
from reprlib import Repr
from typing import TYPE_CHECKING, Any

from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server import MCPServer
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ResourceError, ToolError, UnexpectedResourceError, UnexpectedToolError
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from mcp.types import INTERNAL_ERROR, CallToolResult, InputRequiredResult, Tool
from pydantic import AnyUrl, ValidationError

from dinox_mcp.errors import BusyError, InputError
from dinox_mcp.server.bodies import caller_label
from dinox_mcp.server.clean import clean_line
from dinox_mcp.server.middleware import bound_names, log_outcome
from dinox_mcp.server.names import check_names
from dinox_mcp.server.normalize import normalize
from dinox_mcp.server.outbox import Outbox
from dinox_mcp.server.schemas import slim

if TYPE_CHECKING:
    from dinox_mcp.schema import Need

_SHORT = Repr()  # shows a value in a message without walking through all of it
_SHORT.maxstring = _SHORT.maxother = 80
_EMPTY: tuple[object, ...] = (None, "", [], {})


class PlainSpokenServer(MCPServer):
    """Refuses arguments that no tool has, and says what is wrong with others in one line instead of a report.

    Tools that no backend can serve are not listed: `needs` says what a tool takes, `answers` what the backends can do.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - those of the SDK's server
        super().__init__(*arguments, **options)
        self.needs: dict[str, Need] = {}
        self.answers: Callable[[], frozenset[Need]] = frozenset
        self.outbox = Outbox()
        self.clean: Callable[[str], str] = clean_line
        """Makes the text of an error harmless for who reads it."""
        self.middleware.append(log_outcome)
        self.middleware.append(bound_names)
        self.middleware.append(self._make_room)

    async def serve_streams(
        self,
        read_stream: MemoryObjectReceiveStream[SessionMessage | Exception],
        write_stream: MemoryObjectSendStream[SessionMessage],
    ) -> None:
        """Serve one client over a pair of streams until it leaves."""
        server = self._lowlevel_server
        await server.run(read_stream, write_stream, server.create_initialization_options())

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
        if schema is None:
            return await super().call_tool(name, arguments, context)  # says that there is no such tool
        try:
            known = normalize(arguments, schema)
            check_names((one for one, value in arguments.items() if value not in _EMPTY), schema["properties"])
            return await super().call_tool(name, known, context)
        except InputError as error:
            raise ToolError(self.clean(f"{name}: {error}")) from None
        except UnexpectedToolError:
            raise  # it says nothing of what happened
        except ToolError as error:
            refused = error.__cause__
            text = explain(name, refused) if isinstance(refused, ValidationError) else str(error)
            # Without its cause, or the SDK would list all that is wrong a second time, for its log.
            raise ToolError(self.clean(text)) from None

    async def read_resource(
        self, uri: AnyUrl | str, context: Context[Any, Any] | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        """Read a resource.

        Raises:
            ResourceError: there is none, or it cannot be read.
        """
        try:
            return await super().read_resource(uri, context)
        except UnexpectedResourceError:
            raise
        except ResourceError as error:
            raise type(error)(self.clean(str(error))) from None

    async def _make_room(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Make pictures at full size only while those that were made before are read."""
        if ctx.method != "resources/read":
            return await call_next(ctx)
        try:
            async with self.outbox.making(caller_label(ctx.request.scope) if ctx.request else ""):
                return await call_next(ctx)
        except BusyError as error:
            raise MCPError(INTERNAL_ERROR, str(error)) from None


def explain(tool: str, error: ValidationError) -> str:
    """Say the first thing that is wrong; of a union's several complaints, all that it would have taken."""
    problems = error.errors(include_url=False, include_context=False)
    first = problems[0]
    argument = str(first["loc"][0])
    if first["type"] == "missing" and len(first["loc"]) == 1:
        return f"{tool} needs the argument {argument!r}, which is missing"
    same = [problem for problem in problems if problem["loc"][0] == argument]
    wanted = " or ".join(dict.fromkeys(_wanted(problem["msg"]) for problem in same))
    where = "".join(f"[{part}]" for part in first["loc"][1:] if isinstance(part, int))
    if first["type"] in ("missing", "extra_forbidden"):
        where += f".{first['loc'][-1]}"
    got = "" if first["type"] == "value_error" else f" (got {_SHORT.repr(first['input'])})"
    return f"{tool}: {argument}{where}: {wanted}{got}"


def _wanted(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[0].lower() + message[1:]
