"""The tool that makes something of a result: crops, cut-outs, a redacted copy, or labels for other tools."""

from pathlib import Path
from typing import NotRequired

from mcp.types import CallToolResult
from typing_extensions import TypedDict  # pydantic reads those of `typing` from Python 3.12 on

from dinox_mcp.detector import Detector
from dinox_mcp.errors import InputError
from dinox_mcp.export.options import Exported
from dinox_mcp.server import parameters as p
from dinox_mcp.server.protocol import DetectionServer, tool
from dinox_mcp.server.replies import reply
from dinox_mcp.server.requests import RequestContext, caller_of, progress_of

_MAX_FILES, _MAX_LINES = 200, 20
"""Files that a reply lists as data and in its text; all of them are there."""


class ExportData(TypedDict):
    """What was exported: names of files in `folder`, or URIs of resources; `more` files are not listed."""

    format: str
    files: list[str]
    counts: dict[str, int]
    folder: NotRequired[str]
    more: NotRequired[int]
    notes: NotRequired[list[str]]


def register(mcp: DetectionServer, detector: Detector) -> None:
    """Add the tool."""
    writes = detector.settings.transport == "stdio"

    @tool(mcp, "Export objects", reply=ExportData, read_only=not writes, deletes=writes)
    async def export_objects(
        result: p.ExportedResult,
        format: p.ExportFormat,  # noqa: A002 - the name is part of the contract
        ctx: RequestContext,
        to: p.Folder = None,
        object: p.Numbers = (),  # noqa: A002 - the name is part of the contract
        labels: p.Labels = (),
        method: p.RedactMethod = "fill",
        shape: p.RedactShape = "box",
        padding: p.ExportPadding = None,
        overwrite: p.Overwrite = False,
    ) -> CallToolResult:
        """Make files of a result: crops, cut-outs, a redacted copy, or labels for training. Free."""
        await progress_of(ctx)(0.0, "exporting")
        exported = await detector.export(
            result,
            format,
            _folder(to, detector),
            caller=caller_of(ctx),
            objects=object,
            labels=labels,
            method=method,
            shape=shape,
            padding=padding,
            overwrite=overwrite,
        )
        return _reply(exported)


def _folder(to: str | None, detector: Detector) -> Path | None:
    """Choose the folder: the one that is given, or that of the settings; None for resources."""
    if detector.settings.transport != "stdio":
        if to is not None:
            raise InputError("to is given, but over HTTP no files are written; leave it out to get resources")
        return None
    if to is None:
        return detector.settings.output_folder
    from dinox_mcp.export.output import parse_folder  # with NumPy and OpenCV

    return parse_folder(to)


def _reply(exported: Exported) -> CallToolResult:
    listed = list(exported.files[:_MAX_FILES])
    data: ExportData = {
        "format": exported.format,
        "files": listed,
        "counts": exported.counts,
        "folder": str(exported.folder or ""),
        "more": len(exported.files) - len(listed),
        "notes": list(exported.notes),
    }
    return reply("\n".join(exported.lines(_MAX_LINES)), data, ExportData)
