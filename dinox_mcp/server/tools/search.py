"""The tool for many images: it replies with text and a contact sheet."""

import os
from collections.abc import Iterator

from mcp.types import CallToolResult

from dinox_mcp.batch.search import SearchOptions
from dinox_mcp.batch.summary import FoundImage, SearchResult, on_sheet
from dinox_mcp.detector import Detector
from dinox_mcp.server import parameters as p
from dinox_mcp.server.protocol import DetectionServer, tool
from dinox_mcp.server.replies import image_reply
from dinox_mcp.server.requests import RequestContext, caller_of, progress_of
from dinox_mcp.server.texts import per_label, plain, quote
from dinox_mcp.server.tools.detection import LARGE, offered
from dinox_mcp.store import uris
from dinox_mcp.types.text import number_of, printable

BUDGET_S = 40.0
"""Seconds of a call that are for detecting: with the sheet it is below 45, and hosts give up after 60."""
SHEET_S = 4.0
"""Seconds for loading the images of the sheet again, which may be on the web."""
CONFIRM_ABOVE = 10
"""Calls to a paid backend that a search may make before its reply has said how many there will be."""
_MOST_FAILURES = 10


def register(mcp: DetectionServer, detector: Detector) -> None:
    """Add the tool."""

    @tool(mcp, "Search many images", meta=LARGE)
    async def search_images(
        ctx: RequestContext,
        images: p.Images = None,
        prompts: p.SearchPrompts = None,
        examples: p.Examples = (),
        min_score: p.MinScore = None,
        model: p.Model = None,
        job: p.Job = None,
    ) -> CallToolResult:
        """Find which images of a folder hold what: counts, best first, on a sheet.

        A call takes 45 s at most; the next continues its job.
        """
        caller = caller_of(ctx)
        options = SearchOptions(
            model=offered(model, detector, caller),
            job=job,
            budget_s=BUDGET_S,
            confirm_above=CONFIRM_ABOVE,
            caller=caller,
            progress=progress_of(ctx),
        )
        if min_score is not None:
            options["min_score"] = min_score
        result = await detector.search(images or (), prompts, examples, **options)
        sheet = await detector.searches.sheet(result, caller, budget_s=SHEET_S)
        return image_reply("\n".join(_lines(result)), sheet)


def _lines(result: SearchResult) -> Iterator[str]:
    yield from _state(result)
    if result.images:
        root = _root([found.image for found in result.images])
        below = f", below {printable(root)}" if root else ""
        yield f"number image{below}: count label best score"
        yield from (_line(place, found, root) for place, found in enumerate(result.images, start=1))
    if (left := result.found - len(result.images)) > 0:
        yield f"{left} more images hold objects: resource {uris.JOB.replace('{job}', result.job)}"
    if result.failed:
        yield f"{number_of(result.failed, 'image')} without an answer:"
        yield from (printable(one.line) for one in result.failures[:_MOST_FAILURES])
    if result.copies:
        yield f"{number_of(result.copies, 'image')} have the bytes of another one: detected in once, counted each time"
    yield from (f"Note: {printable(note)}" for note in result.notes)
    model = f", model {result.model}" if result.model else ""
    detected = number_of(result.detected, "image")
    yield f"By backend {result.backend}{model}; detected in {detected} in this call. Job: {result.job}"
    if shown := on_sheet(result):
        places = ", ".join(str(place) for place, _ in shown)
        yield f"The sheet shows {places}. To go on with one: detect_objects with its path."


def _state(result: SearchResult) -> Iterator[str]:
    """Say how far the search is, and how it goes on."""
    left = result.total - result.done
    what = f" for {', '.join(map(plain, result.prompts))}" if result.prompts else ""
    total, counts = number_of(result.total, "image"), per_label(result.counts)
    yield f"Searched {result.done} of {total}{what}: objects in {result.found}{counts}"
    again = f'call search_images(job="{result.job}")'
    if result.stopped:
        yield f"STOPPED, {number_of(left, 'image')} left: {printable(result.stopped)}. Then {again} to continue"
    elif result.unconfirmed:
        yield f"NOT BEGUN, nothing is spent: up to {result.calls} calls to {result.backend}. If that is meant, {again}"
    elif left:
        cost = f", up to {result.calls} calls to {result.backend}" if result.calls else ""
        yield f"NOT FINISHED, {number_of(left, 'image')} left{cost}: {again} to continue"


def _line(place: int, found: FoundImage, root: str) -> str:
    name = printable(found.image[len(root) :])
    counts = ", ".join(
        f"{number} {plain(label)} {found.best[label]:.2f}" if label in found.best else f"{number} {plain(label)}"
        for label, number in found.counts.items()
    )
    return f"{place} {name}: {counts}{quote(found.text or None)}{' (a copy)' if found.copy_of_another else ''}"


def _root(names: list[str]) -> str:
    """Give the folder that all files are below, so that a line need not repeat it; empty for anything else."""
    if not all(os.path.isabs(name) for name in names):  # noqa: PTH117 - a name, not a file
        return ""
    try:
        return os.path.commonpath([os.path.dirname(name) for name in names]).rstrip(os.sep) + os.sep  # noqa: PTH120 - names
    except ValueError:  # on several drives of Windows
        return ""
