"""The tool for videos: it replies with text and a contact sheet."""

from contextlib import suppress
from functools import partial

from mcp.types import CallToolResult

from dinox_mcp.detector import Detector
from dinox_mcp.errors import NotFoundError
from dinox_mcp.server import parameters as p
from dinox_mcp.server.protocol import DetectionServer, tool
from dinox_mcp.server.replies import image_reply
from dinox_mcp.server.requests import RequestContext, caller_of
from dinox_mcp.server.texts import named, plain
from dinox_mcp.server.tools.detection import LARGE, options_of
from dinox_mcp.store import uris
from dinox_mcp.types.text import printable
from dinox_mcp.types.video import Track, VideoResult, clock
from dinox_mcp.video.detect import EVERY_S

MAX_TRACKS = 100


def register(mcp: DetectionServer, detector: Detector) -> None:
    """Add the tool."""
    saves = detector.settings.output_folder is not None and detector.settings.transport == "stdio"

    @tool(mcp, "Detect and follow in a video", meta=LARGE, read_only=not saves)
    async def detect_video(
        video: p.Video,
        ctx: RequestContext,
        prompts: p.VideoPrompts = None,
        min_score: p.MinScore = None,
        every_s: p.EveryS = EVERY_S,
        start_s: p.StartS = 0.0,
        end_s: p.EndS = None,
        max_calls: p.MaxCalls = None,
        include: p.Include = (),
        model: p.Model = None,
    ) -> CallToolResult:
        """Find and follow things in a video: the different ones, when each comes and goes, where it moves.

        Each key frame is a call to the backend.
        """
        options = options_of(ctx, detector, {"include": include, "min_score": min_score, "model": model})
        result = await detector.detect_video(
            video, prompts, every_s=every_s, start_s=start_s, end_s=end_s, max_calls=max_calls, **options
        )
        sheet = None
        with suppress(NotFoundError):
            read = partial(detector.videos.file, result.result_id, "sheet", caller_of(ctx).tenant)
            sheet = await detector.draw(read)
        return image_reply(describe(result, saves=saves), sheet)


def describe(result: VideoResult, *, saves: bool) -> str:
    """Write a result as text: counts, peaks, one line for each track, the calls it took, and its files."""
    video = result.video
    counts = ", ".join(f"{number} {plain(label)}" for label, number in result.counts.items()) or "nothing"
    size = f"{video.width}x{video.height}, {video.fps:.4g} frames a second"
    lines = [
        f"Followed through {video.duration_s:.1f} s of video ({size}): {counts}",
        *(
            f"Most {plain(label)} at a time: {peak.count}, first at {clock(peak.time_s)}"
            for label, peak in result.peaks.items()
            if peak.count
        ),
    ]
    if result.tracks:
        lines.append("number label score from-to seen-in-key-frames way [start box]>[end box] in pixels of the video:")
        lines += [_line(track) for track in result.tracks[:MAX_TRACKS]]
    if (left := len(result.tracks) - MAX_TRACKS) > 0:
        lines.append(f"{left} more tracks in the resource {uris.VIDEO}")
    if not result.complete:
        lines.append("Stopped before the end: this covers the part that was searched")
    lines += [f"Note: {printable(note)}" for note in result.notes]
    calls = result.calls
    lines.append(
        f"By backend {result.backend}, model {result.model}, a key frame every {result.every_s:.3g} s, {calls.made} "
        f"calls ({calls.planned} planned), {calls.memory} from the cache. The image shows key frames."
    )
    lines.append(f"Result id: {result.result_id}. Resources: {_resources(result)}")
    if saves and result.files.video:
        lines.append(f"Saved: {result.files.video}")
    return "\n".join(lines)


def _line(track: Track) -> str:
    score = "" if track.score is None else f" {track.score:.2f}"
    start, end = (",".join(f"{edge:.0f}" for edge in box) for box in (track.path.start, track.path.end))
    texts = named(category=track.category, caption=track.caption, text=track.text)
    return (
        f"{track.id} {plain(track.label)}{score} {clock(track.first_s)}-{clock(track.last_s)} {track.seen} "
        f"{track.path.direction} [{start}]>[{end}]{texts}"
    )


def _resources(result: VideoResult) -> str:
    root = uris.VIDEO.replace("{result_id}", result.result_id)
    files = {"sheet": "sheet.jpg", "video": "annotated.mp4", "frames": "frames.jsonl"}
    there = [f"/{name}" for part, name in files.items() if getattr(result.files, part)]
    return f"{root}, and below it {', '.join(there)}" if there else root
