"""The arguments of `dinox-mcp detect`: which are images, prompts and examples, and which files --out names."""

import glob
import os
import re
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from dinox_mcp.detect.options import Options
from dinox_mcp.detect.visual_prompts import VisualPrompt
from dinox_mcp.drawing.output import WRITABLE, stem_of
from dinox_mcp.errors import ImageError, InputError, SettingsError
from dinox_mcp.images.formats import SUFFIXES
from dinox_mcp.images.sources import parse_source
from dinox_mcp.types.text import split_at_commas
from dinox_mcp.video.output import ANNOTATED, OutputPaths
from dinox_mcp.video.source import SUFFIXES as VIDEO_SUFFIXES

# ruff: noqa: PTH110, PTH111, PTH112, PTH207
# os.path returns False where pathlib raises: a name too long, a folder that may not be entered, an unknown home.


_SEPARATOR = re.compile(f"([{re.escape(os.sep + (os.altsep or ''))}]+)")
_WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]|\\\\[^\\]")
"""How an absolute path begins on Windows: `C:\\` or `\\\\server`."""


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate images and videos from prompts; patterns become the files that they match, sorted."""
    sources: list[str] = []
    prompts: list[str] = []
    for argument in arguments:
        if _is_source(argument):
            sources.append(argument)
        elif matches := _matches(argument):
            sources.extend(matches)
        elif _ends_like_a_source(argument):
            sources.append(argument)
        else:
            prompts.extend(split_at_commas(argument))
    return sources, prompts


def absolute(source: str) -> str:
    """Return the full path of a file, relative to the working folder; a URL stays as it is.

    A path that is full on Windows stays as it is, also under WSL, unless there is a file of this odd name here.
    """
    if _is_url(source) or (_WINDOWS_PATH.match(source) and not os.path.exists(source)):
        return source
    return os.path.abspath(os.path.expanduser(source))  # noqa: PTH100 - as above


def is_video(source: str) -> bool:
    """Return whether an image or video is a video, by its ending."""
    return Path(source.partition("?")[0]).suffix.lower() in VIDEO_SUFFIXES


def output_paths(out: str | None, images: Sequence[str]) -> list[Path | None]:
    """Name the file of each annotated image: --out itself for one image, files in that folder for several.

    No file replaces an image, or another file.

    Raises:
        SettingsError: --out is not a .jpg, a .png or a folder, is an image, or is one file for several images.
    """
    if out is None:
        return [None] * len(images)
    if not out.strip():
        raise SettingsError("--out is empty; name a .jpg, a .png or a folder")
    path = Path(os.path.expanduser(out))
    if _names_folder(out, path):
        return [*_paths_in(path, images)]
    if path.suffix.lower() not in WRITABLE:
        raise SettingsError(f"--out {out} is neither .jpg nor .png; end the name with / where it is a folder")
    if len(images) > 1:
        raise SettingsError(f"--out {out} is one file for {len(images)} images; name a folder")
    if _is_one_of(_files(images), path):
        raise SettingsError(f"--out {out} is the image itself, which is not overwritten; choose another name")
    return [path]


def output_folder(out: str | None) -> Path | None:
    """Return the folder for the files of videos, None where --out is not given.

    Raises:
        SettingsError: --out is not a folder.
    """
    if out is None:
        return None
    path = Path(os.path.expanduser(out))
    if _names_folder(out, path):
        return path
    raise SettingsError(f"--out {out} is not a folder, as several files are written for a video; end the name with /")


def video_names(videos: Sequence[str], folder: Path | None) -> list[str]:
    """Name the files of each video after it, so that no file replaces a video or another file."""
    return _free_names(videos, lambda name: OutputPaths(folder or Path(), name).path(ANNOTATED))


def parse_example(text: str, *, negative: bool = False) -> VisualPrompt:
    """Read an example: [LABEL=]X1,Y1,X2,Y2[@IMAGE], [LABEL=]X,Y[@IMAGE], or [LABEL=]NAME of a saved prompt.

    Raises:
        InputError: The text has none of these forms.
    """
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


def request_options(options: Namespace) -> Options:
    """Collect the options of a detection, in an image or a video, from the flags."""
    chosen = Options(
        include=(*options.include, *(("masks",) if options.masks else ())),
        model=options.model,
        tiles=options.tiles,
    )
    if options.max_objects is not None:
        chosen["max_objects"] = options.max_objects
    if options.min_score is not None:
        chosen["min_score"] = options.min_score
    if options.iou_threshold is not None:
        chosen["iou_threshold"] = options.iou_threshold
    return chosen


def _names_folder(out: str, path: Path) -> bool:
    return os.path.isdir(path) or out.endswith(("/", os.sep)) or not path.suffix


def _paths_in(folder: Path, images: Sequence[str]) -> list[Path]:
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise SettingsError(f"--out {folder} is a file that is not a .jpg or .png; choose another name")

    def path_of(name: str) -> Path:
        return folder / f"{name}-annotated.jpg"

    return [path_of(name) for name in _free_names(images, path_of)]


def _free_names(sources: Sequence[str], path_of: Callable[[str], Path]) -> list[str]:
    """Name the output of each source after it, numbered where the file at `path_of(name)` is taken or a source."""
    files = _files(sources)
    names: list[str] = []
    taken: set[str] = set()  # in lower case, as some disks do not distinguish it
    for source in sources:
        stem = stem_of(source)
        for number in count(1):
            name = stem if number == 1 else f"{stem}-{number}"
            path = path_of(name)
            if path.name.casefold() not in taken and not _is_one_of(files, path):
                break
        names.append(name)
        taken.add(path.name.casefold())
    return names


def _is_source(argument: str) -> bool:
    """Return whether an argument is certainly an image, taken literally: a file name may look like a pattern."""
    if _is_url(argument) or (_WINDOWS_PATH.match(argument) and not glob.has_magic(argument)):
        return True
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
    return Path(argument).suffix.lower() in SUFFIXES | VIDEO_SUFFIXES


def _is_url(argument: str) -> bool:
    return "://" in argument or argument.lower().startswith(("data:", "file:"))


def _files(sources: Sequence[str]) -> set[tuple[int, int]]:
    """Identify the files among the sources; two names or links of one file have the same identity."""
    found = set()
    for one in sources:
        with suppress(ImageError, OSError):
            source = parse_source(absolute(one))
            if source.kind == "file":
                found.add(_identity(source.address))
    return found


def _identity(path: str | Path) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116 - as above
    return status.st_dev, status.st_ino


def _is_one_of(files: set[tuple[int, int]], path: Path) -> bool:
    try:
        return _identity(path) in files
    except OSError:
        return False
