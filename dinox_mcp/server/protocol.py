"""The MCP server class: it lists tools in short, and answers each mistake in one line with a code and a remedy."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server import MCPServer
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ResourceError, ToolError, UnexpectedResourceError
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from mcp.types import INTERNAL_ERROR, CallToolResult, InputRequiredResult, TextContent, Tool
from pydantic import AnyUrl, ValidationError

from dinox_mcp.backends.base import Capabilities
from dinox_mcp.errors import BusyError, DinoxError, InputError
from dinox_mcp.server.arguments import check_names, explain, normalize
from dinox_mcp.server.bodies import caller_label
from dinox_mcp.server.declaration import short_tool
from dinox_mcp.server.outbox import Outbox
from dinox_mcp.server.requests import bound_names, log_outcome
from dinox_mcp.types.text import clean_line

if TYPE_CHECKING:
    from dinox_mcp.types.detection import Need

_REPLACED = {
    "ground_phrases": "detect_objects with caption=…",
    "find_by_description": "detect_objects with description=…",
    "delete_prompt": "save_prompt with delete=true",
    "detect-all-objects": "detect_prompt_free",
    "detect-objects-by-text": "detect_objects",
    "detect-human-pose-keypoints": 'detect_objects with prompts=["person"] and include=["pose"]',
    "visualize-detection-result": "visualize",
}
"""Names that tools had before, here or in the vendor's server, and what does the same now."""
_EMPTY: tuple[object, ...] = (None, "", [], {})


class DetectionServer(MCPServer):
    """An MCP server whose tools and errors are short.

    Attributes:
        needs: what a tool takes of a backend, by the tool's name; tools that no backend can serve are not listed.
        replies: the TypedDict of a tool's structured content, by the tool's name.
        capabilities: says what the backends can do now.
        contents: adds the tools, resources and prompts. It runs with the first request for any of them, so that the
            reply to `initialize` does not wait for their schemas.
        outbox: counts the replies that wait to be sent.
        clean: makes the text of an error safe for its reader.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - those of the SDK's server
        super().__init__(*arguments, **options)
        self.needs: dict[str, Need] = {}
        self.replies: dict[str, type] = {}
        self.capabilities: Callable[[], Capabilities] = Capabilities
        self.contents: Callable[[], None] | None = None
        self.outbox = Outbox()
        self.clean: Callable[[str], str] = clean_line
        self.middleware.append(log_outcome)
        self.middleware.append(bound_names)
        self.middleware.append(self._fill_first)
        self.middleware.append(self._limit_large_replies)

    async def serve_streams(
        self,
        read_stream: MemoryObjectReceiveStream[SessionMessage | Exception],
        write_stream: MemoryObjectSendStream[SessionMessage],
    ) -> None:
        """Serve one client over a pair of streams until it leaves."""
        server = self._lowlevel_server
        await server.run(read_stream, write_stream, server.create_initialization_options())

    async def list_tools(self) -> list[Tool]:
        """List the tools that can be served, with short schemas."""
        able = self.capabilities()
        said: set[tuple[str, str]] = set()
        return [
            short_tool(tool, self.replies.get(tool.name), able, said)
            for tool in await self.all_tools()
            if tool.name not in self.needs or self.needs[tool.name] in able.answers
        ]

    async def all_tools(self) -> list[Tool]:
        """List every tool with its full schema."""
        self._fill()
        return await super().list_tools()

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool.

        Returns:
            Its reply. For an error that the caller can act on: one line of text, with the error's `code` and `remedy`
            in `_meta`.

        Raises:
            UnexpectedToolError: there is a fault in this program.
        """
        schema = self._tool_input_schema(name)
        if schema is None:
            return self._refuse(await self._no_such_tool(name))
        try:
            known = normalize(arguments, schema)
            check_names((one for one, value in arguments.items() if value not in _EMPTY), schema["properties"])
        except InputError as error:
            return self._refuse(error, f"{name}: ")
        try:
            return await super().call_tool(name, known, context)
        except ToolError as error:
            reason = error.__cause__
            if isinstance(reason, ValidationError):
                return self._refuse(InputError(explain(reason)), f"{name}: ")
            if isinstance(reason, DinoxError):
                return self._refuse(reason, f"Error executing tool {name}: ")
            raise

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

    def _tool_input_schema(self, name: str) -> dict[str, Any] | None:
        """Give a tool's full schema; the SDK calls this before any middleware."""
        self._fill()
        return super()._tool_input_schema(name)

    def _fill(self) -> None:
        fill, self.contents = self.contents, None
        if fill is not None:
            fill()

    async def _fill_first(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        if ctx.method.startswith(("tools/", "resources/", "prompts/", "completion/")):
            self._fill()
        return await call_next(ctx)

    async def _no_such_tool(self, name: str) -> InputError:
        if name in _REPLACED:
            return InputError(f"there is no tool {name!r} any more; call {_REPLACED[name]}")
        known = ", ".join(tool.name for tool in await self.list_tools())
        return InputError(f"there is no tool {name[:80]!r}; the tools are {known}")

    def _refuse(self, error: DinoxError, where: str = "") -> CallToolResult:
        meta = {"code": error.code}
        if error.remedy:
            meta["remedy"] = self.clean(error.remedy)
        content = [TextContent(text=self.clean(f"{where}{error}"))]
        return CallToolResult(content=content, is_error=True, _meta=meta)

    async def _limit_large_replies(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Make images at full size only while those that were made before are read."""
        if ctx.method != "resources/read":
            return await call_next(ctx)
        try:
            async with self.outbox.making(caller_label(ctx.request.scope) if ctx.request else ""):
                return await call_next(ctx)
        except BusyError as error:
            raise MCPError(INTERNAL_ERROR, str(error)) from None
