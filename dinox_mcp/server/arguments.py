"""A server that answers wrong arguments in one line, and tool schemas without what no model needs."""

from collections.abc import Callable, Collection, Iterable
from difflib import get_close_matches
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
from dinox_mcp.server.normalize import normalize
from dinox_mcp.server.outbox import Outbox
from dinox_mcp.server.requests import bound_names, log_outcome
from dinox_mcp.types.text import clean_line

if TYPE_CHECKING:
    from dinox_mcp.types.detection import Need


_LONGEST = 60
"""Characters of a name that may be a near miss; longer ones are not compared, as that takes time."""
_CLOSE = 0.82
"""Similarity from which on a name is taken for a misspelt one: minscore is, action is no caption."""
_OTHER_NAMES = {
    "prompts": ("classes", "classnames", "categories", "queries", "textprompt"),
    "min_score": ("threshold", "score", "confidence", "conf", "minconfidence", "scorethreshold", "confidencethreshold"),
    "iou_threshold": ("iou", "nms", "nmsthreshold"),
    "max_objects": ("limit", "topk", "maxresults", "maxdetections"),
    "bbox": ("box", "boundingbox", "rect"),
    "boxes": ("bboxes", "regions", "boundingboxes"),
    "result": ("resultid",),
    "object": ("objectid", "objectnumber"),
    "image": ("imagepath", "imageurl", "imageuri"),
}
"""Words that other vision tools have for our arguments, folded."""


def check_names(given: Iterable[str], known: Collection[str]) -> None:
    """Refuse the first name that is almost one of the tool's own; names unlike any of them are left to be ignored.

    Raises:
        InputError: there is one; the message says which it may stand for.
    """
    for name in given:
        if name not in known and (meant := _nearest(name, known)):
            raise InputError(
                f"there is no argument {name!r}; its arguments are {', '.join(known)}; did you mean {meant!r}?"
            )


def _nearest(name: str, known: Collection[str]) -> str | None:
    if len(name) > _LONGEST:
        return None
    folded = {_fold(one): one for one in known}
    word = _fold(name)
    for one, others in _OTHER_NAMES.items():
        if one in known and word in others:
            return one
    close = get_close_matches(word, folded, n=1, cutoff=_CLOSE)
    return folded[close[0]] if close else None


def _fold(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "")


Schema = dict[str, Any]


def slim(schema: Schema) -> Schema:
    """Leave out titles, which repeat names, and of optional properties that they may be null: they may be absent."""
    lean: Schema = {}
    for name, value in schema.items():
        if name == "properties":
            lean[name] = {key: _property(part) for key, part in value.items()}
        elif name == "$defs":
            lean[name] = {key: slim(part) for key, part in value.items()}
        elif isinstance(value, dict):
            lean[name] = slim(value)
        elif isinstance(value, list):
            lean[name] = [slim(part) if isinstance(part, dict) else part for part in value]
        elif name != "title":
            lean[name] = value
    items = lean.get("prefixItems", [])
    if items and all(item == items[0] for item in items):  # four numbers: some hosts know no tuples
        lean["items"] = lean.pop("prefixItems")[0]
    return lean


def _property(schema: Schema) -> Schema:
    lean = slim(schema)
    choices = lean.get("anyOf", [])
    if {"type": "null"} in choices and lean.get("default", "") is None:
        del lean["default"]
        left = [choice for choice in choices if choice != {"type": "null"}]
        if len(left) == 1:
            del lean["anyOf"]
            return {**left[0], **lean}
        lean["anyOf"] = left
    return lean


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
