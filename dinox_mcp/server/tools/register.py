"""How a tool is added: titled, described by its docstring, annotated for hosts that ask before they call."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from mcp.types import ToolAnnotations

from dinox_mcp.server.arguments import PlainSpokenServer
from dinox_mcp.server.viewer import viewer_meta
from dinox_mcp.types.detection import Need

T = TypeVar("T", bound=Callable[..., Any])
LARGE = {"anthropic/maxResultSizeChars": 200_000} | viewer_meta()
"""Metadata of tools whose answers may be long, and are shown to the user by hosts that can."""


def tool(
    mcp: PlainSpokenServer,
    title: str,
    *,
    needs: Need | None = None,
    meta: dict[str, Any] | None = None,
    structured_output: bool | None = None,
    read_only: bool = True,
    destructive: bool = False,
) -> Callable[[T], T]:
    """Add a tool, described by its docstring without the indentation of its source.

    Where it `needs` something that no backend can do, it is not listed.
    """

    def add(function: T) -> T:
        if needs is not None:
            mcp.needs[function.__name__] = needs
        return mcp.tool(
            title=title,
            description=inspect.getdoc(function),
            annotations=ToolAnnotations(
                read_only_hint=read_only, destructive_hint=destructive, idempotent_hint=True, open_world_hint=True
            ),
            meta=meta,
            structured_output=structured_output,
        )(function)

    return add
