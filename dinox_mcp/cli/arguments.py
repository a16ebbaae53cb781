"""The words of `dinox-mcp detect`: which are pictures, prompts and examples, and which files come of --out."""

import glob
import os
import re
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from dinox_mcp.detect.options import Options
from dinox_mcp.detect.prompts import split_at_commas
from dinox_mcp.detect.visual_prompts import Pointer
from dinox_mcp.drawing.output import WRITABLE, stem_of
from dinox_mcp.errors import ImageError, InputError, SettingsError
from dinox_mcp.images.formats import SUFFIXES
from dinox_mcp.images.sources import parse_source
from dinox_mcp.video.source import SUFFIXES as VIDEO_SUFFIXES

# ruff: noqa: PTH110, PTH111, PTH112, PTH207
# os.path answers where pathlib raises: a name too long, a folder that may not be entered, a home that is unknown.


_SEPARATOR = re.compile(f"([{re.escape(os.sep + (os.altsep or ''))}]+)")
_WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]|\\\\[^\\]")
"""How a path begins that is full on Windows: `C:\\` or `\\\\server`."""


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell pictures (and videos) from prompts; patterns become the files that they match, sorted."""
    pictures: list[str] = []
    prompts: list[str] = []
    for word in words:
        if _is_picture(word):
            pictures.append(word)
        elif matches := _matches(word):
            pictures.extend(matches)
        elif _ends_like_a_picture(word):
            pictures.append(word)
        else:
            prompts.extend(split_at_commas(word))
    return pictures, prompts


def address_of(picture: str) -> str:
    """Give the URL as it is, and a file by its full path: what a person names is named from where the person is.

    A path that is full on Windows stays as it is, also under WSL, unless there is a file of this odd name here.
    """
    if _is_url(picture) or (_WINDOWS_PATH.match(picture) and not os.path.exists(picture)):
        return picture
    return os.path.abspath(os.path.expanduser(picture))  # noqa: PTH100 - as above


def output_paths(out: str | None, pictures: Sequence[str]) -> list[Path | None]:
    """Say where each annotated picture goes: into a file for one, a folder for several, never over a source.

    Raises:
        SettingsError: it is no .jpg, .png or folder, a source, or one file for several pictures.
    """
    if out is None:
        return [None] * len(pictures)
    if not out.strip():
        raise SettingsError("--out is empty; name a .jpg, a .png or a folder")
    path = Path(os.path.expanduser(out))
    if os.path.isdir(path) or out.endswith(("/", os.sep)) or not path.suffix:
        return [*_paths_in(path, pictures)]
    if path.suffix.lower() not in WRITABLE:
        raise SettingsError(f"--out {out} is neither .jpg nor .png; end the name with / where it is a folder")
    if len(pictures) > 1:
        raise SettingsError(f"--out {out} is one file for {len(pictures)} pictures; name a folder")
    if _is_one_of(_files(pictures), path):
        raise SettingsError(f"--out {out} is the picture itself, which is not overwritten; choose another name")
    return [path]


def pointer_of(word: str, *, negative: bool = False) -> Pointer:
    """Read an example: [LABEL=]X1,Y1,X2,Y2[@PICTURE], [LABEL=]X,Y[@PICTURE], or [LABEL=]NAME of a saved prompt.

    Raises:
        InputError: it is none of these.
    """
    label, equals, rest = word.partition("=")
    place, _, image = (rest if equals else word).partition("@")
    named = label.strip() or None if equals else None
    parts = place.split(",")
    if len(parts) == 1 and not image:
        return Pointer(saved=place.strip(), label=named, negative=negative)
    try:
        numbers = tuple(float(part) for part in parts)
        where = address_of(image) if image else None
        if len(numbers) == 4:  # noqa: PLR2004 - two corners
            return Pointer(bbox=numbers, label=named, image=where, negative=negative)
        if len(numbers) == 2:  # noqa: PLR2004 - a point
            return Pointer(point=numbers, label=named, image=where, negative=negative)
    except ValueError:
        pass
    raise InputError(
        f"{word!r:.80} is no example; write X1,Y1,X2,Y2 or X,Y in pixels, with @PICTURE for another picture and LABEL= "
        "before it for a name, or the name of a saved prompt"
    )


def asking(options: Namespace) -> Options:
    """Read how to ask, of a picture or a video, from the flags of `dinox-mcp detect`."""
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


def _paths_in(folder: Path, pictures: Sequence[str]) -> list[Path]:
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise SettingsError(f"--out {folder} is a file that is no .jpg or .png; choose another name")
    sources = _files(pictures)
    paths: list[Path] = []
    taken: set[str] = set()  # in one case, as some disks know no other
    for picture in pictures:
        stem = stem_of(picture)
        for number in count(1):
            path = folder / f"{stem}{'' if number == 1 else f'-{number}'}-annotated.jpg"
            if path.name.casefold() not in taken and not _is_one_of(sources, path):
                break
        paths.append(path)
        taken.add(path.name.casefold())
    return paths


def _is_picture(word: str) -> bool:
    """Tell whether a word is certainly one, taken literally: a file name may look like a pattern."""
    if _is_url(word) or (_WINDOWS_PATH.match(word) and not glob.has_magic(word)):
        return True
    named_as_path = os.sep in word or bool(os.altsep and os.altsep in word)
    return (named_as_path or _ends_like_a_picture(word)) and os.path.exists(os.path.expanduser(word))


def _matches(word: str) -> list[str]:
    """Give the files that a pattern matches; a folder that exists is meant by its name, brackets and all."""
    if not glob.has_magic(word):
        return []
    pattern = ""
    *folders, name = _SEPARATOR.split(os.path.expanduser(word))
    for folder, separator in zip(folders[::2], folders[1::2], strict=True):
        literal = pattern + glob.escape(folder)
        pattern = (literal if glob.glob(literal) else pattern + folder) + separator
    return sorted(glob.glob(pattern + name, recursive=True))


def is_video(word: str) -> bool:
    """Tell whether a word that is a picture or a video is a video, by its ending."""
    return Path(word.partition("?")[0]).suffix.lower() in VIDEO_SUFFIXES


def _ends_like_a_picture(word: str) -> bool:
    return Path(word).suffix.lower() in SUFFIXES | VIDEO_SUFFIXES


def _is_url(word: str) -> bool:
    return "://" in word or word.lower().startswith(("data:", "file:"))


def _files(pictures: Sequence[str]) -> set[tuple[int, int]]:
    """Identify the files among the pictures, by whatever names and links."""
    found = set()
    for picture in pictures:
        with suppress(ImageError, OSError):
            source = parse_source(address_of(picture))
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
