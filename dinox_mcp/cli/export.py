"""`dinox-mcp export`: detects in images, and makes crops, cut-outs, redacted copies or labels of what is found."""

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from dinox_mcp.cli import terminal
from dinox_mcp.cli.detect import absolute, add_request_flags, is_video, nonempty, split_arguments
from dinox_mcp.cli.terminal import add_common_flags, begin, number
from dinox_mcp.detect.options import MAX_OBJECTS
from dinox_mcp.errors import DinoxError, SettingsError
from dinox_mcp.export.options import (
    FORMATS,
    LABEL_FORMATS,
    MAX_PADDING,
    METHODS,
    PADDING,
    REDACTED_PADDING,
    SHAPES,
    Exported,
)

if TYPE_CHECKING:
    from dinox_mcp.settings import Settings

_EPILOG = """\
Images and prompts are told apart as by `dinox-mcp detect`. What is detected is exported:

  crops       each object, cut out by its box with a margin
  cutouts     each object, cut out by its mask where it has one, on a transparent background
  redacted    a copy of each image without the pixels of the objects, and without metadata;
              what the detection missed stays visible, so check the copy
  coco yolo voc cvat labelme labelstudio csv
              labels of all images; put them beside the images if the tool wants that

exit status: 0 everything exported, 1 some images not, 2 wrong usage or settings
"""
_LISTED = 20


def add_flags(export: argparse.ArgumentParser) -> None:
    """Add the description and the flags of `export` to its parser."""
    export.description = "Detect objects in images, and make files of them."
    export.epilog = _EPILOG
    export.set_defaults(run=run)
    export.add_argument(
        "arguments", nargs="+", type=nonempty, metavar="IMAGE_OR_PROMPT", help="images, and what to find in them"
    )
    export.add_argument("--as", dest="format", choices=FORMATS, required=True, help="what is made")
    export.add_argument(
        "--to", type=_folder, metavar="FOLDER", required=True, help="the folder for the files; it is made"
    )
    export.add_argument("--overwrite", action="store_true", help="replace files that exist")
    export.add_argument("--method", choices=METHODS, default="fill", help="how to redact (fill with black)")
    export.add_argument("--shape", choices=SHAPES, default="box", help="what to redact of an object (box)")
    export.add_argument(
        "--padding",
        type=number(float, 0, MAX_PADDING),
        metavar="SHARE",
        help=f"margin as a share of the object's size ({PADDING}; {REDACTED_PADDING} where it is redacted)",
    )
    export.add_argument("--json", action="store_true", help="print one line of JSON for each export")
    add_request_flags(export)
    add_common_flags(export, argparse.SUPPRESS)


def run(options: argparse.Namespace) -> None:
    """Detect and export; exit with status 1 where an image could not be answered."""
    from dinox_mcp.cli.detections import check_request

    images, prompts = split_arguments(options.arguments)
    if not images:
        raise SettingsError(f"none of {' '.join(options.arguments)!r:.80} is an image; name a file or a URL first")
    if videos := [one for one in images if is_video(one)]:
        raise SettingsError(f"{videos[0]!r:.80} is a video; name images")
    check_request(options, prompts)
    if options.max_objects is None and options.format == "redacted":
        options.max_objects = MAX_OBJECTS  # an object that is left out of the result would stay visible
    if not anyio.run(_export, begin(options), options, images, prompts):
        sys.exit(1)


async def _export(
    settings: "Settings", options: argparse.Namespace, images: Sequence[str], prompts: Sequence[str]
) -> bool:
    """Export what is found in the images; return False where one could not be answered.

    Labels are written together in the end; of all else, no more than one image is in memory.
    """
    from dinox_mcp.cli.detections import detect_image
    from dinox_mcp.cli.results import print_error
    from dinox_mcp.detector import Detector

    complete = True
    labelled = []
    async with Detector(settings) as detector:
        write = partial(
            detector.export,
            format=options.format,
            folder=options.to,
            method=options.method,
            shape=options.shape,
            padding=options.padding,
            overwrite=options.overwrite,
        )
        for image in images:
            try:
                result = await detect_image(detector, options, absolute(image), prompts)
                if options.format in LABEL_FORMATS:
                    labelled.append(result)
                else:
                    _print(await write(result), as_json=options.json)
            except SettingsError:
                raise
            except DinoxError as error:
                complete = False
                print_error(image, error, as_json=options.json)
        if labelled:
            _print(await write(labelled), as_json=options.json)
    return complete


def _print(exported: Exported, *, as_json: bool) -> None:
    if not as_json:
        terminal.write("".join(f"{terminal.printable(line)}\n" for line in exported.lines(_LISTED)))
        return
    data = {
        "format": exported.format,
        "folder": str(exported.folder),
        "files": exported.files,
        "counts": exported.counts,
        "notes": exported.notes,
    }
    terminal.write(json.dumps(data) + "\n")


def _folder(text: str) -> Path:
    try:
        return Path(nonempty(text)).expanduser().absolute()
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"no home is known for {text!r:.80}; write the full path") from None
