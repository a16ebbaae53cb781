"""`dinox-mcp detect`: its flags. What it does with them is in `cli/detections.py`, which takes a second to import."""

import argparse
import sys

from dinox_mcp.cli.arguments import parse_example
from dinox_mcp.cli.options import COMMON, SERVING, add_common_flags, flags, load_settings, number, refuse
from dinox_mcp.detect.options import MAX_OBJECTS
from dinox_mcp.detect.visual_prompts import VisualPrompt
from dinox_mcp.errors import DinoxError
from dinox_mcp.types.detection import OUTPUTS

_EPILOG = """\
An argument is an image if it is a URL, ends like one (.jpg .png .webp …), is an existing path with a slash in it
(./photo) or a pattern that matches files; every other argument is a prompt. Without prompts, everything that the
backend knows is detected.

An argument that ends like a video (.mp4 .mov .mkv .webm …) is one: the backend detects in key frames, and the objects
are followed between them. --out is a folder then, for the annotated video, its objects frame by frame, a contact sheet
and the tracks. Ctrl-C keeps what is done.

exit status: 0 all images answered, 1 some not answered or results not written, 2 wrong usage or settings
"""


def add_flags(detect: argparse.ArgumentParser) -> None:
    """Add the description and the flags of `detect` to its parser."""
    detect.description = "Detect objects in images and videos, and print them as a table, as JSON, or draw them."
    detect.epilog = _EPILOG
    detect.set_defaults(run=run)
    detect.add_argument(
        "arguments", nargs="+", type=_nonempty, metavar="IMAGE_OR_PROMPT", help="images, and what to find in them"
    )
    detect.add_argument("--out", metavar="PATH", help="write the annotated image here: a .jpg, a .png, or a folder")
    detect.add_argument("--html", metavar="FILE", help="write a page that shows the results in any browser")
    detect.add_argument("--open", action="store_true", help="show such a page in the browser now")
    detect.add_argument("--json", action="store_true", help="print one line of JSON for each image")
    share = number(float, 0, 1)
    detect.add_argument("--min-score", type=share, metavar="S", help="lowest score, 0 to 1 (the model's own)")
    detect.add_argument(
        "--iou-threshold", type=share, metavar="T", help="overlap above which boxes are one (the model's own)"
    )
    detect.add_argument(
        "--max-objects", type=number(int, 1, MAX_OBJECTS), metavar="N", help="objects to list at most (100)"
    )
    _add_request_flags(detect)
    _add_video_flags(detect)
    add_common_flags(detect, argparse.SUPPRESS)


def run(options: argparse.Namespace) -> None:
    """Detect and print; exit with status 1 where an image could not be answered."""
    refuse(options, "detect", *SERVING)
    from dinox_mcp.cli.detections import detect_all

    # Whatever the transport is set to: a person at the command line may read files.
    if not detect_all(load_settings(transport="stdio", **flags(options, *COMMON)), options):
        sys.exit(1)


def _add_request_flags(detect: argparse.ArgumentParser) -> None:
    group = detect.add_argument_group("request")
    group.add_argument(
        "--include",
        type=_outputs,
        default=(),
        metavar="OUTPUT,...",
        help="more about each object: masks, pose, hands, caption, category, text",
    )
    group.add_argument("--masks", action="store_true", help="the same as --include masks")
    group.add_argument(
        "--like",
        type=_example,
        action="append",
        metavar="EXAMPLE",
        help="find objects like an example: X1,Y1,X2,Y2 or X,Y in the image, X1,Y1,X2,Y2@OTHER.jpg, or the name of a "
        "saved prompt; LABEL=... names the objects; may be repeated",
    )
    group.add_argument(
        "--not-like",
        type=_counterexample,
        action="append",
        dest="like",
        metavar="EXAMPLE",
        help="... but not like this one",
    )
    group.add_argument(
        "--describe", metavar="SENTENCE", help='find the object that a sentence describes: "the man left of the car"'
    )
    group.add_argument(
        "--tiles", type=number(int, 1, 8), default=1, metavar="N", help="also detect in N parts along the long side (1)"
    )
    group.add_argument("--model", metavar="NAME", help="model of the backend to use")


def _add_video_flags(detect: argparse.ArgumentParser) -> None:
    group = detect.add_argument_group("videos")
    group.add_argument(
        "--every",
        type=number(float, 0, 3600),
        metavar="S",
        help="seconds from one key frame to the next (0.5, or more so that --max-calls are enough)",
    )
    group.add_argument(
        "--max-calls",
        type=number(int, 1, 100_000),
        metavar="N",
        help="calls to the backend for one video at most (DINOX_MCP_VIDEO_MAX_CALLS)",
    )
    second = number(float, 0, 1_000_000)
    group.add_argument("--start", type=second, default=0.0, metavar="S", help="second to begin at")
    group.add_argument("--end", type=second, metavar="S", help="second to end at")


def _nonempty(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("an argument is empty; name an image, or what to find in it")
    return text


def _outputs(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if unknown := sorted(set(names) - set(OUTPUTS)):
        raise argparse.ArgumentTypeError(f"{unknown[0]!r:.80} is not an output; choose from {', '.join(OUTPUTS)}")
    return names


def _example(text: str, *, negative: bool = False) -> VisualPrompt:
    try:
        return parse_example(text, negative=negative)
    except DinoxError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _counterexample(text: str) -> VisualPrompt:
    return _example(text, negative=True)
