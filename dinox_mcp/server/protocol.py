"""The MCP server class: it declares tools, lists them in short, and reports each mistake in one line.

A tool is a typed function. Its full JSON schema, with ranges, defaults and all forms that are accepted, is what
arguments are read by. The list of tools shows a short one, as its tokens are in the context of every conversation.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar, get_args, get_type_hints

from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server import MCPServer
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context
from mcp.server.mcpserver import server as sdk
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError, ToolError, UnexpectedResourceError
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from mcp.types import INTERNAL_ERROR, CallToolResult, InputRequiredResult, TextContent, Tool, ToolAnnotations
from pydantic import AnyUrl, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from dinox_mcp.backends.base import Capabilities
from dinox_mcp.errors import BusyError, DinoxError, InputError, NotFoundError
from dinox_mcp.server.arguments import check_names, explain, normalize
from dinox_mcp.server.limits import Outbox, caller_label
from dinox_mcp.server.requests import bound_names, log_outcome
from dinox_mcp.types.detection import Need
from dinox_mcp.types.text import clean_line

T = TypeVar("T", bound=Callable[..., Any])
Schema = dict[str, Any]
NEEDS = "needs"
"""The key in a parameter's schema that names the `Need` without which the parameter is not listed."""
_LISTED = ("type", "enum", "items", "properties", "required")
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
        capabilities: returns what the backends can do now.
        contents: adds the "tools", "resources" or "prompts". Each runs with the first request for its kind, so that
            no reply waits for schemas that it does not need.
        outbox: counts the replies that wait to be sent.
        clean: makes the text of an error safe for its reader.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - those of the SDK's server
        with _without_log_by_rich():
            super().__init__(*arguments, **options)
        self.needs: dict[str, Need] = {}
        self.replies: dict[str, type] = {}
        self.capabilities: Callable[[], Capabilities] = Capabilities
        self.contents: dict[str, Callable[[], None]] = {}
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
        described: set[tuple[str, str]] = set()
        return [
            short_tool(tool, self.replies.get(tool.name), able, described)
            for tool in await self.all_tools()
            if tool.name not in self.needs or self.needs[tool.name] in able.answers
        ]

    async def all_tools(self) -> list[Tool]:
        """List every tool with its full schema."""
        self.fill("tools")
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
        except ResourceError as error:
            reason = error.__cause__
            if isinstance(reason, DinoxError):
                kind = ResourceNotFoundError if isinstance(reason, NotFoundError) else ResourceError
                raise kind(self.clean(str(reason))) from None
            if isinstance(error, UnexpectedResourceError):
                raise
            raise type(error)(self.clean(str(error))) from None

    def _tool_input_schema(self, name: str) -> dict[str, Any] | None:
        """Return a tool's full schema; the SDK calls this before any middleware."""
        self.fill("tools")
        return super()._tool_input_schema(name)

    def fill(self, kind: str) -> None:
        """Add what is in `contents` of a kind, unless it was added before."""
        if add := self.contents.pop(kind, None):
            add()

    async def _fill_first(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        self.fill(ctx.method.partition("/")[0])
        return await call_next(ctx)

    async def _no_such_tool(self, name: str) -> InputError:
        if name in _REPLACED:
            return InputError(f"there is no tool {name!r} here; call {_REPLACED[name]}")
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


@contextmanager
def _without_log_by_rich() -> Iterator[None]:
    """Keep the SDK from setting up a log by rich, whose import takes 4 % of the start: `serve` sets up another log."""
    names = vars(sdk)
    original = names.get("configure_logging")
    names["configure_logging"] = lambda *_, **__: None
    try:
        yield
    finally:
        names["configure_logging"] = original


def tool(
    mcp: DetectionServer,
    title: str,
    *,
    reply: type | None = None,
    needs: Need | None = None,
    meta: dict[str, Any] | None = None,
    read_only: bool = True,
    deletes: bool = False,
) -> Callable[[T], T]:
    """Add a tool to the server; its docstring is its description.

    Args:
        mcp: the server.
        title: what hosts show to their users.
        reply: the TypedDict of its structured content, for tools that have one.
        needs: the tool is not listed where no backend can do this.
        meta: `_meta` of the tool.
        read_only: it changes nothing on this machine.
        deletes: it may replace or delete something, so hosts let their user confirm each call.
    """

    def add(function: T) -> T:
        if needs is not None:
            mcp.needs[function.__name__] = needs
        if reply is not None:
            mcp.replies[function.__name__] = reply
        hints = ToolAnnotations(read_only_hint=read_only)
        if deletes or not read_only:
            hints = ToolAnnotations(read_only_hint=False, destructive_hint=deletes, idempotent_hint=True)
        return mcp.tool(
            title=title, description=inspect.getdoc(function), annotations=hints, meta=meta, structured_output=False
        )(spread(function))

    return add


def spread(function: T) -> T:
    """Return a function with `**options: Unpack[SomeTypedDict]` a signature with a parameter for each option.

    The default of a parameter is that of the `Field` in its annotation.
    """
    signature = inspect.signature(function, eval_str=True)
    parameters = list(signature.parameters.values())
    if parameters[-1].kind is inspect.Parameter.VAR_KEYWORD:
        (options,) = get_args(parameters.pop().annotation)
        for name, hint in get_type_hints(options, include_extras=True).items():
            (default,) = (part.default for part in get_args(hint) if isinstance(part, FieldInfo))
            one = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
            parameters.append(one)
        function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return function


def short_tool(tool: Tool, reply: type | None, able: Capabilities, described: set[tuple[str, str]]) -> Tool:
    """Make the form of a tool that is listed.

    Args:
        tool: the tool with its full schema.
        reply: the TypedDict of its structured content.
        able: what the backends can do; parameters and values that none of them serves are left out.
        described: names and descriptions of parameters in the tools before this one. A description is listed once;
            this adds those of the tool.
    """
    schema = short(tool.input_schema)
    given = able.describes if tool.name == "describe_regions" else able.describes | able.outputs
    for name, full in tool.input_schema["properties"].items():
        part = schema["properties"][name]
        if name == "include":
            part["items"]["enum"] = [output for output in part["items"]["enum"] if output in given]
        needed = full.get(NEEDS)
        if (needed is not None and needed not in able.answers) or (name == "include" and not part["items"]["enum"]):
            del schema["properties"][name]
            continue
        description = full.get("description", "")
        if (name, description) not in described:
            part["description"] = description
            described.add((name, description))
    output = _reply_schema(reply) if reply else None
    return tool.model_copy(update={"input_schema": schema, "output_schema": output})


@cache
def _reply_schema(reply: type) -> Schema:
    return short(TypeAdapter(reply).json_schema(), optional=False)


def short(schema: Schema, *, optional: bool = True) -> Schema:
    """Leave the types, names and required names of a JSON schema, without references.

    Of several forms that are accepted, the first is left. A fixed number of equal values becomes a list, as some hosts
    do not know tuples. Where not `optional`, only required properties are left: no host shows its model the schema of
    a reply, and clients that check a reply by it accept more properties.
    """
    definitions = schema.get("$defs", {})

    def shorten(part: Schema) -> Schema:
        if "$ref" in part:
            return shorten(definitions[part["$ref"].rpartition("/")[2]])
        if "anyOf" in part:
            return shorten(part["anyOf"][0])
        lean = {key: part[key] for key in _LISTED if key in part}
        if "properties" in lean:
            lean["properties"] = {
                name: shorten(one)
                for name, one in lean["properties"].items()
                if optional or name in part.get("required", ())
            }
        if "prefixItems" in part:
            lean["items"] = part["prefixItems"][0]
        if "items" in lean:
            lean["items"] = shorten(lean["items"])
        return lean

    return shorten(schema)
