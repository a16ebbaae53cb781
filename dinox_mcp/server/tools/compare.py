"""The tool that compares two images: it replies with data and with text."""

from collections.abc import Iterator
from typing import NotRequired, Unpack, cast

from mcp.types import CallToolResult
from typing_extensions import TypedDict  # pydantic reads those of `typing` from Python 3.12 on

from dinox_mcp.compare.comparison import Change, Comparison
from dinox_mcp.detector import Detector
from dinox_mcp.server import parameters as p
from dinox_mcp.server.protocol import DetectionServer, tool
from dinox_mcp.server.replies import edges, reply
from dinox_mcp.server.requests import RequestContext
from dinox_mcp.server.texts import count, plain, quote
from dinox_mcp.server.tools.detection import LARGE, options_of
from dinox_mcp.store import uris
from dinox_mcp.types.text import printable

MOST_LISTED = 60
"""Changes that a reply lists; the resource of the comparison has all of them."""


class ChangeData(TypedDict):
    """One change: its boxes are in pixels of each image, `shift` is [right, down] in pixels of the second."""

    id: int
    kind: str
    label: NotRequired[str]
    before: list[float]
    after: list[float]
    score: NotRequired[float]
    object_before: NotRequired[int]
    object_after: NotRequired[int]
    text_before: NotRequired[str]
    text_after: NotRequired[str]
    shift: NotRequired[list[float]]


class ComparisonData(TypedDict):
    """The changes between two images; `counts` are those of each label in the first and the second image."""

    comparison_id: str
    changes: list[ChangeData]
    kinds: dict[str, int]
    counts: dict[str, list[int]]
    omitted: NotRequired[int]
    registered: bool
    result_before: str
    result_after: str
    notes: NotRequired[list[str]]


def register(mcp: DetectionServer, detector: Detector) -> None:
    """Add the tool."""

    @tool(mcp, "Compare two images", reply=ComparisonData, meta=LARGE)
    async def compare_images(
        before: p.Before,
        after: p.After,
        ctx: RequestContext,
        prompts: p.ComparedPrompts = None,
        **options: Unpack[p.CompareOptions],
    ) -> CallToolResult:
        """Compare two images of one scene: what appeared, disappeared, moved, or reads differently.

        For "what changed", "which packages were taken", two screenshots. Camera and light may differ.
        """
        comparison = await detector.compare(before, after, prompts, **options_of(ctx, detector, options))
        return reply("\n".join(comparison_lines(comparison)), _data(comparison), ComparisonData)


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    """Write a comparison: counts, a line for each change, what was not compared, and what to do next."""
    found = ", ".join(f"{number} {kind}" for kind, number in comparison.counts.items()) or "no change"
    moved = "the camera moved: registered" if comparison.registered == "homography" else "the camera did not move"
    yield f"Compared two images: {found} ({moved}, {comparison.agreement:.0%} of the details agree)"
    counts = _counts(comparison)
    if counts:
        yield "Before > after: " + ", ".join(f"{plain(label)} {old}>{new}" for label, (old, new) in counts.items())
    if comparison.changes:
        yield "number what label score [box before] [box after], each in pixels of its image:"
        yield from map(change_line, comparison.changes[:MOST_LISTED])
    if left := _left_out(comparison):
        yield f"{left} more changes in the resource {_uri(uris.COMPARISON, comparison)}"
    if comparison.outside:
        yield f"Not compared, as the other image does not show that part: {count(comparison.outside)}"
    if comparison.doubtful:
        yield f"Detected in one image only, with the same pixels in both, so no change: {count(comparison.doubtful)}"
    yield from (f"Note: {printable(note)}" for note in comparison.notes)
    yield (
        f"Comparison id: {comparison.comparison_id}. Result ids: before {comparison.before.result_id}, after "
        f"{comparison.after.result_id}. To check it: "
        f'visualize(image="{_uri(uris.SIDE_BY_SIDE, comparison)}")'
    )


def change_line(change: Change) -> str:
    """Write one change in a line."""
    label = plain(change.label) if change.label else "part of the image"
    score = "" if change.score is None else f" {change.score:.2f}"
    boxes = " ".join(f"[{','.join(f'{edge:.0f}' for edge in box)}]" for box in (change.before, change.after))
    shift = ""
    if change.shift:
        (x, y) = change.shift
        shift = f" by {abs(x):.0f} {'right' if x >= 0 else 'left'}, {abs(y):.0f} {'down' if y >= 0 else 'up'}"
    old, new = change.text_before, change.text_after
    read = f"{quote(old)} >{quote(new)}" if old != new and old and new else quote(new or old)
    return f"{change.id} {change.kind} {label}{score} {boxes}{shift}{read}"


def _data(comparison: Comparison) -> ComparisonData:
    return {
        "comparison_id": comparison.comparison_id,
        "changes": [_change(change) for change in comparison.changes[:MOST_LISTED]],
        "kinds": comparison.counts,
        "counts": {label: list(pair) for label, pair in _counts(comparison).items()},
        "registered": comparison.registered == "homography",
        "result_before": comparison.before.result_id,
        "result_after": comparison.after.result_id,
        "omitted": _left_out(comparison),
        "notes": [printable(note) for note in comparison.notes],
    }


def _change(change: Change) -> ChangeData:
    data = change.model_dump(exclude_none=True)
    data["before"], data["after"] = edges(change.before), edges(change.after)
    if change.score is not None:
        data["score"] = round(change.score, 2)
    return cast("ChangeData", data)


def _counts(comparison: Comparison) -> dict[str, tuple[int, int]]:
    before, after = comparison.before.counts, comparison.after.counts
    return {label: (before.get(label, 0), after.get(label, 0)) for label in {**before, **after}}


def _left_out(comparison: Comparison) -> int:
    return comparison.omitted + max(0, len(comparison.changes) - MOST_LISTED)


def _uri(template: str, comparison: Comparison) -> str:
    return template.replace("{comparison_id}", comparison.comparison_id)
