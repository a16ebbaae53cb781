"""Writes the pages that are generated: `python -m docs.reference`; a test compares.

`tools.md` is what the server itself declares: its tools with their full schemas, its resources and its prompts.
`settings.md` follows the settings class, and `api.md` the docstrings of the public names.
"""

import asyncio
from pathlib import Path
from typing import Any, get_args

from mcp.types import Prompt, ResourceTemplate, Tool
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from dinox_mcp.detector import Detector
from dinox_mcp.server.app import build_server
from dinox_mcp.settings import Settings, environment_name
from docs.api import api

HERE = Path(__file__).resolve().parent
_GENERATED = "<!-- Written by python -m docs.reference: change the source, not this page. -->"
_BOUNDS = {"gt": "above {}", "ge": "{} or more", "lt": "below {}", "le": "at most {}"}


def pages() -> dict[str, str]:
    """Write the pages, by name."""
    return {
        "tools.md": asyncio.run(_tools()),
        "settings.md": _settings(),
        "api.md": api(_GENERATED),
    }


async def _tools() -> str:
    settings = Settings(backend="dinox", api_key=SecretStr("any"))  # nothing is sent to list the tools
    async with Detector(settings) as detector:
        server = build_server(detector)
        tools = await server.all_tools()
        server.fill("resources")
        server.fill("prompts")
        templates = await server.list_resource_templates()
        prompts = await server.list_prompts()
    return "\n".join(
        (
            "# Tools, resources and prompts",
            "",
            _GENERATED,
            "",
            "These are the tools with everything that they accept. Parameters without a default have to be given.",
            "Assistants get a shorter list: each parameter is described once, in the first tool that has it, and what",
            "no backend here can do is left out: `description` takes a key or a local model.",
            "",
            *(_tool(tool, replies=tool.name in server.replies) for tool in tools),
            "## Resources",
            "",
            "What a result leaves behind, by address. Hosts read them; so does the viewer.",
            "",
            "| address | type | |",
            "|---|---|---|",
            *(_resource(one) for one in templates),
            "| `dinox://backends` | application/json | Backends, their models, and what each can do. |",
            "| `dinox://prompts` | application/json | The saved visual prompts; over stdio only. |",
            "",
            "## Prompts",
            "",
            "Recipes that a person picks in the host's menu.",
            "",
            "| prompt | asks for | |",
            "|---|---|---|",
            *(_prompt(one) for one in prompts),
            "",
        )
    )


def _tool(tool: Tool, *, replies: bool) -> str:
    schema = tool.input_schema
    required = schema.get("required", ())
    rows = [_parameter(name, part, required, schema) for name, part in schema["properties"].items()]
    return "\n".join(
        (
            f"## {tool.name}",
            "",
            f"*{tool.title}.* {tool.description or ''}",
            "",
            _effects(tool, replies=replies),
            "",
            "| parameter | type | default | |",
            "|---|---|---|---|",
            *rows,
            "",
        )
    )


def _effects(tool: Tool, *, replies: bool) -> str:
    hints = tool.annotations
    effect = "Reads only." if hints is not None and hints.read_only_hint else "Writes and deletes on this machine."
    return effect + (" The reply has structured content." if replies else "")


def _parameter(name: str, part: dict[str, Any], required: list[str], schema: dict[str, Any]) -> str:
    default = "" if name in required else _code(part["default"]) if part.get("default") not in (None, []) else "none"
    text = _cell(part.get("description", ""))
    if "maximum" in part and f"to {part['maximum']}" not in text:
        text += f" {part['minimum']} to {part['maximum']}."
    return f"| `{name}` | {_type(part, schema)} | {default} | {text} |"


def _type(part: dict[str, Any], schema: dict[str, Any]) -> str:
    """Describe a JSON type."""
    if "$ref" in part:
        known = schema["$defs"][part["$ref"].rpartition("/")[2]]
        return f"object with {', '.join(_code(name) for name in known['properties'])}"
    if "anyOf" in part:
        return " or ".join(_type(one, schema) for one in part["anyOf"] if one != {"type": "null"})
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    if part.get("type") == "array":
        if part.get("minItems") is not None and part.get("minItems") == part.get("maxItems"):
            return f"{part['minItems']} numbers"
        return f"list of {_type(part['items'], schema)}"
    return str(part["type"])


def _resource(one: ResourceTemplate) -> str:
    return f"| `{one.uri_template}` | {one.mime_type} | {_cell(one.description or '')} |"


def _prompt(one: Prompt) -> str:
    arguments = ", ".join(f"`{part.name}`" for part in one.arguments or ())
    return f"| {one.title} | {arguments} | {_cell(one.description or '')} |"


def _settings() -> str:
    rows = [_setting(name, field) for name, field in Settings.model_fields.items()]
    return "\n".join(
        (
            "# Settings",
            "",
            _GENERATED,
            "",
            "Each option is an environment variable; in Python it is a field of `Settings`, here in brackets. Hosts",
            "pass variables in the `env` of their configuration; `dinox-mcp install HOST --env NAME=VALUE` writes them",
            "there. A wrong value is one line on stderr and exit status 2. A `DINOX_MCP_` name that is no option",
            "brings a warning. Names, `true` and `false` may be written in any case, and a path may begin with `~`.",
            "",
            "- `AUTH_TOKEN`, the name of the vendor's server, is taken where `DINOX_MCP_TOKEN` is not set.",
            "- For captions and text, the cloud gets the picture at its own size, as small letters do not survive",
            "  being shrunk. If `DINOX_MCP_UPLOAD_MAX_SIDE` is set, no picture is larger than that.",
            "",
            "| variable | default | values | |",
            "|---|---|---|---|",
            *rows,
            "",
        )
    )


def _setting(name: str, field: FieldInfo) -> str:
    default = "" if field.default in (None, (), SecretStr("")) else f"`{field.default}`"
    text = f"{_cell(field.description or '')} (`{name}`)"
    return f"| `{environment_name(name)}` | {default} | {_values(field)} | {text} |"


def _values(field: FieldInfo) -> str:
    """Describe the values that an option accepts."""
    choices = [value for value in get_args(field.annotation) if isinstance(value, str)]
    if choices:
        return ", ".join(f"`{value}`" for value in choices)
    if field.annotation is bool:
        return "`true`, `false`"
    bounds = [
        text.format(getattr(rule, key))
        for rule in field.metadata
        for key, text in _BOUNDS.items()
        if getattr(rule, key, None) is not None
    ]
    return ", ".join(bounds)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _code(value: object) -> str:
    return f"`{value}`"


if __name__ == "__main__":
    for page, content in pages().items():
        (HERE / page).write_text(content)
