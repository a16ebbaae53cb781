"""`dinox-mcp detect`: its flags and arguments: which are images, which are prompts, and what an example is.

What it does with them is in `cli/detections.py`, which takes a second to import.
"""

import argparse
import glob
import os
import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import cast

from dinox_mcp.cli.terminal import add_common_flags, begin, flags, number
from dinox_mcp.detect.options import MAX_OBJECTS, Options
from dinox_mcp.detect.visual_prompts import VisualPrompt
from dinox_mcp.errors import DinoxError, InputError
from dinox_mcp.images.formats import READABLE_SUFFIXES
from dinox_mcp.images.sources import CLIPBOARD, LATEST, without_page
from dinox_mcp.types.detection import MAX_TILES, OUTPUTS
from dinox_mcp.types.text import split_at_commas
from dinox_mcp.video.source import SUFFIXES as VIDEO_SUFFIXES

_EPILOG = """\
An argument is an image if it is a URL, ends like one (.jpg .png .webp …), is an existing path with a slash in it
(./photo) or a pattern that matches files; every other argument is a prompt. Without prompts, everything that the
backend knows is detected.

Of a PDF, the first page is the image, or the third of report.pdf#page=3. The first argument may be "clipboard", for the
image that was copied. latest:FOLDER is the newest image of a folder.

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
        "arguments", nargs="+", type=nonempty, metavar="IMAGE_OR_PROMPT", help="images, and what to find in them"
    )
    detect.add_argument("--out", metavar="PATH", help="write the annotated image here: a .jpg, a .png, or a folder")
    detect.add_argument("--html", metavar="FILE", help="write a page that shows the results in any browser")
    detect.add_argument("--open", action="store_true", help="show such a page in the browser now")
    detect.add_argument("--json", action="store_true", help="print one line of JSON for each image")
    add_request_flags(detect)
    _add_video_flags(detect)
    add_common_flags(detect, argparse.SUPPRESS)


def run(options: argparse.Namespace) -> None:
    """Detect and print; exit with status 1 where an image could not be answered."""
    from dinox_mcp.cli.detections import detect_all

    if not detect_all(begin(options), options):
        sys.exit(1)


def add_request_flags(command: argparse.ArgumentParser) -> None:
    """Add the flags that say what is detected in an image."""
    group = add_option_flags(command, listed=100)
    group.add_argument(
        "--like",
        type=example,
        action="append",
        metavar="EXAMPLE",
        help="find objects like an example: X1,Y1,X2,Y2 or X,Y in the image, X1,Y1,X2,Y2@OTHER.jpg, or the name of a "
        "saved prompt; LABEL=... names the objects; may be repeated",
    )
    group.add_argument(
        "--not-like",
        type=partial(example, negative=True),
        action="append",
        dest="like",
        metavar="EXAMPLE",
        help="... but not like this one",
    )
    group.add_argument(
        "--describe", metavar="SENTENCE", help='find the object that a sentence describes: "the man left of the car"'
    )


def add_option_flags(command: argparse.ArgumentParser, listed: int) -> "argparse._ArgumentGroup":
    """Add the flags of the options of a detection, in a group of their own; `listed` objects are listed by default."""
    group = command.add_argument_group("request")
    add_model_flags(group)
    group.add_argument(
        "--iou-threshold",
        type=number(float, 0, 1),
        metavar="T",
        help="overlap above which boxes are one (the model's own)",
    )
    group.add_argument(
        "--max-objects",
        type=number(int, 1, MAX_OBJECTS),
        metavar="N",
        help=f"objects to list at most of an image ({listed})",
    )
    group.add_argument(
        "--include",
        type=_outputs,
        default=(),
        metavar="OUTPUT,...",
        help="more about each object: masks, pose, hands, caption, category, text",
    )
    group.add_argument("--masks", action="store_true", help="the same as --include masks")
    return group


def add_model_flags(command: "argparse._ActionsContainer", *, tiles: bool = True) -> None:
    """Add --min-score and --model, and --tiles where the command has it."""
    command.add_argument(
        "--min-score", type=number(float, 0, 1), metavar="S", help="lowest score, 0 to 1 (the model's own)"
    )
    command.add_argument("--model", metavar="NAME", help="model of the backend to use")
    if tiles:
        most = number(int, 1, MAX_TILES)
        wanted = "also detect in N parts along the long side (1)"
        command.add_argument("--tiles", type=most, default=1, metavar="N", help=wanted)


def add_like_flag(command: "argparse._ActionsContainer") -> None:
    """Add --like, for examples in images that are named with them."""
    command.add_argument(
        "--like",
        type=example,
        action="append",
        default=[],
        metavar="EXAMPLE",
        help="find objects like an example: X1,Y1,X2,Y2@IMAGE, or the name of a saved prompt; LABEL=... names the "
        "objects; may be repeated",
    )


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


def nonempty(text: str) -> str:
    """Read an argument that is an image or a prompt."""
    if not text.strip():
        raise argparse.ArgumentTypeError("an argument is empty; name an image, or what to find in it")
    return text


def _outputs(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if unknown := sorted(set(names) - set(OUTPUTS)):
        raise argparse.ArgumentTypeError(f"{unknown[0]!r:.80} is not an output; choose from {', '.join(OUTPUTS)}")
    return names


def example(text: str, *, negative: bool = False) -> VisualPrompt:
    """Read the argument of a flag that is an example."""
    try:
        return parse_example(text, negative=negative)
    except DinoxError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


# ruff: noqa: PTH110, PTH111, PTH207
# os.path returns False where pathlib raises: a name too long, a folder that may not be entered, an unknown home.


_SEPARATOR = re.compile(f"([{re.escape(os.sep + (os.altsep or ''))}]+)")
_WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]|\\\\[^\\]")
"""How an absolute path begins on Windows: `C:\\` or `\\\\server`."""


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate images and videos from prompts; patterns become the files that they match, sorted."""
    sources: list[str] = []
    prompts: list[str] = []
    for argument in arguments:
        if _is_source(argument) or (argument == CLIPBOARD and argument is arguments[0]):
            sources.append(argument)
        elif matches := _matches(argument):
            sources.extend(matches)
        elif _ends_like_a_source(argument):
            sources.append(argument)
        else:
            prompts.extend(split_at_commas(argument))
    return sources, prompts


def absolute(source: str) -> str:
    """Return the full path of a file, relative to the working folder; a URL and the clipboard stay as they are.

    A path that is full on Windows stays as it is, also under WSL, unless there is a file of this odd name here.
    """
    if source.startswith(LATEST):
        return LATEST + absolute(source[len(LATEST) :])
    if source == CLIPBOARD or _is_url(source) or (_WINDOWS_PATH.match(source) and not os.path.exists(source)):
        return source
    return os.path.abspath(os.path.expanduser(source))  # noqa: PTH100 - as above


def is_video(source: str) -> bool:
    """Return whether an image or video is a video, by its ending."""
    return Path(source.partition("?")[0]).suffix.lower() in VIDEO_SUFFIXES


def parse_example(text: str, *, negative: bool = False) -> VisualPrompt:
    """Read an example: [LABEL=]X1,Y1,X2,Y2[@IMAGE], [LABEL=]X,Y[@IMAGE], or [LABEL=]NAME of a saved prompt."""
    label, equals, rest = text.partition("=")
    region, _, image = (rest if equals else text).partition("@")
    named = label.strip() or None if equals else None
    parts = region.split(",")
    if len(parts) == 1 and not image:
        return VisualPrompt(saved=region.strip(), label=named, negative=negative)
    try:
        numbers = tuple(float(part) for part in parts)
        source = absolute(image) if image else None
        if len(numbers) == 4:  # noqa: PLR2004 - two corners
            return VisualPrompt(bbox=numbers, label=named, image=source, negative=negative)
        if len(numbers) == 2:  # noqa: PLR2004 - a point
            return VisualPrompt(point=numbers, label=named, image=source, negative=negative)
    except ValueError:
        pass
    raise InputError(
        f"{text!r:.80} is not an example; write X1,Y1,X2,Y2 or X,Y in pixels, with @IMAGE for another image and LABEL= "
        "before it for a name, or the name of a saved prompt"
    )


def request_options(options: argparse.Namespace) -> Options:
    """Collect the options of a detection, in an image or a video, from the flags."""
    chosen = Options(
        include=(*options.include, *(("masks",) if options.masks else ())), model=options.model, tiles=options.tiles
    )
    rest = flags(options, "max_objects", "min_score", "iou_threshold")
    return chosen | cast("Options", {name: value for name, value in rest.items() if value is not None})


def _is_source(argument: str) -> bool:
    """Return whether an argument is certainly an image, taken literally: a file name may look like a pattern."""
    if _is_url(argument) or (_WINDOWS_PATH.match(argument) and not glob.has_magic(argument)):
        return True
    argument = without_page(argument)
    named_as_path = os.sep in argument or bool(os.altsep and os.altsep in argument)
    return (named_as_path or _ends_like_a_source(argument)) and os.path.exists(os.path.expanduser(argument))


def _matches(argument: str) -> list[str]:
    """Return the files that a pattern matches; a folder of this very name counts literally, brackets and all."""
    if not glob.has_magic(argument):
        return []
    pattern = ""
    *folders, name = _SEPARATOR.split(os.path.expanduser(argument))
    for folder, separator in zip(folders[::2], folders[1::2], strict=True):
        literal = pattern + glob.escape(folder)
        pattern = (literal if glob.glob(literal) else pattern + folder) + separator
    return sorted(glob.glob(pattern + name, recursive=True))


def _ends_like_a_source(argument: str) -> bool:
    return Path(without_page(argument)).suffix.lower() in READABLE_SUFFIXES | VIDEO_SUFFIXES


def _is_url(argument: str) -> bool:
    return "://" in argument or argument.lower().startswith(("data:", "file:", LATEST))
