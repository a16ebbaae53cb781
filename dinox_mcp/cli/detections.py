"""Runs `dinox-mcp detect`: detects in each image or video of the command line, and names the files that it writes."""

import argparse
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

import anyio
from tqdm import tqdm

from dinox_mcp.cli import terminal
from dinox_mcp.cli.detect import absolute, is_video, request_options, split_arguments
from dinox_mcp.cli.results import print_error, print_image, print_video
from dinox_mcp.detect.options import parse_prompts
from dinox_mcp.detector import Detector
from dinox_mcp.drawing.output import WRITABLE, save_annotated, stem_of, write_annotated
from dinox_mcp.drawing.style import Style, doubtful
from dinox_mcp.errors import DinoxError, ImageError, InputError, SettingsError
from dinox_mcp.images.sources import parse_source
from dinox_mcp.settings import Settings
from dinox_mcp.store.results import Stored
from dinox_mcp.types.detection import DetectionResult
from dinox_mcp.video.detect import EVERY_S
from dinox_mcp.video.output import ANNOTATED, OutputPaths
from dinox_mcp.viewer.page import PageFile

# ruff: noqa: PTH110, PTH111, PTH112
# os.path returns False where pathlib raises: a name too long, a folder that may not be entered, an unknown home.

Job = Callable[[Detector], Awaitable[None]]
"""Detects in one image or video, and prints the result."""
_IMAGES_ONLY = ("like", "describe")


def detect_all(settings: Settings, options: argparse.Namespace) -> bool:
    """Detect in every image or video of the command line; return False where one of them has no result.

    Raises:
        SettingsError: No argument is an image, a prompt is wrong, or flags do not fit together.
        DinoxError: Stdout or the page cannot be written.
    """
    sources, prompts = split_arguments(options.arguments)
    if not sources:
        raise SettingsError(f"none of {' '.join(options.arguments)!r:.80} is an image; name a file or a URL first")
    check_request(options, prompts)
    videos = [source for source in sources if is_video(source)]
    if 0 < len(videos) < len(sources):
        raise SettingsError("images and videos need separate requests; run the command once for each")
    page = page_file(options, len(sources))
    if videos:
        jobs = _video_jobs(settings, options, videos, prompts, page)
    else:
        paths = zip(sources, output_paths(options.out, sources), strict=True)
        jobs = [(image, partial(_detect_image, options, image, prompts, path, page)) for image, path in paths]
    shows_bar = len(jobs) > 1 and not videos and sys.stderr.isatty()
    return anyio.run(partial(_run, settings, options, jobs, page, shows_bar=shows_bar))


def page_file(options: argparse.Namespace, images: int) -> PageFile | None:
    """Return the page of --html or --open, which shows some images; None where neither is given.

    Raises:
        SettingsError: --html does not name a page, or there are too many images for one.
    """
    if options.html is None and not options.open:
        return None
    path = None if options.html is None else Path(os.path.expanduser(options.html))
    return PageFile(path, images, opens=options.open)


def check_request(options: argparse.Namespace, prompts: Sequence[str]) -> None:
    """Refuse a wrong request once, before it is refused for every image.

    Raises:
        SettingsError: A prompt is wrong, or there are several requests.
    """
    if prompts:
        try:
            parse_prompts(prompts)
        except InputError as error:
            raise SettingsError(str(error)) from None
    requests = [f"the prompts {' '.join(prompts)!r:.60}"] if prompts else []
    requests += [f"--{name}" for name in _IMAGES_ONLY if getattr(options, name) is not None]
    if len(requests) > 1:
        raise SettingsError(f"{' and '.join(requests)} are separate requests; run the command once for each")


async def _run(
    settings: Settings,
    options: argparse.Namespace,
    jobs: Sequence[tuple[str, Job]],
    page: PageFile | None,
    *,
    shows_bar: bool,
) -> bool:
    complete = True
    with tqdm(jobs, unit="image", leave=False, disable=not shows_bar) as bar:
        async with Detector(settings) as detector:
            for source, job in bar:
                try:
                    await job(detector)
                except SettingsError:
                    raise
                except DinoxError as error:
                    complete = False
                    print_error(source, error, as_json=options.json)
    if page and (where := page.finish()):
        terminal.note(where)
    return complete


async def _detect_image(
    options: argparse.Namespace,
    image: str,
    prompts: Sequence[str],
    path: Path | None,
    page: PageFile | None,
    detector: Detector,
) -> None:
    result = await detect_image(detector, options, absolute(image), prompts)
    folder = detector.settings.output_folder
    drawn = None
    if path is not None or folder is not None:
        drawn = await detector.draw(partial(_draw, path, folder, await detector.fetch(result.result_id)))
    if page:
        await page.add(detector, result)
    print_image(image, result, drawn, as_json=options.json)


async def detect_image(
    detector: Detector, options: argparse.Namespace, image: str, prompts: Sequence[str]
) -> DetectionResult:
    """Detect in one image what the flags and prompts say."""
    chosen = request_options(options)
    if options.like:
        return await detector.detect_by_example(image, options.like, **chosen)
    if options.describe is not None:
        return await detector.find_by_description(image, options.describe, **chosen)
    return await detector.detect(image, prompts or None, **chosen)


def _draw(path: Path | None, folder: Path | None, stored: Stored) -> Path | None:
    """Write the annotated image to the path of --out, or else into the folder of the settings, if there is one."""
    picture, objects, style = stored.picture, stored.result.objects, Style(doubtful=doubtful(stored.result))
    if path is not None:
        return write_annotated(path, picture, objects, style)
    return folder and save_annotated(folder, picture, objects, style)


def _video_jobs(
    settings: Settings,
    options: argparse.Namespace,
    videos: Sequence[str],
    prompts: Sequence[str],
    page: PageFile | None,
) -> list[tuple[str, Job]]:
    if given := [f"--{name}" for name in _IMAGES_ONLY if getattr(options, name)]:
        raise SettingsError(f"{' and '.join(given)}: not for videos; name an image, or leave it out")
    folder = output_folder(options.out)
    if page and folder is None and settings.output_folder is None:
        raise SettingsError("the page of a video shows its contact sheet; name a folder for it with --out")
    names = video_names(videos, folder)
    return [
        (video, partial(_detect_video, options, video, prompts, folder, name, page))
        for video, name in zip(videos, names, strict=True)
    ]


async def _detect_video(
    options: argparse.Namespace,
    video: str,
    prompts: Sequence[str],
    folder: Path | None,
    name: str,
    page: PageFile | None,
    detector: Detector,
) -> None:
    print_result = partial(print_video, video, as_json=options.json)
    chosen = request_options(options)
    with terminal.progress_bar() as chosen["progress"]:
        result = await detector.detect_video(
            absolute(video),
            prompts or None,
            every_s=EVERY_S if options.every is None else options.every,
            max_calls=options.max_calls,
            start_s=options.start,
            end_s=options.end,
            folder=folder,
            stem=name if folder else None,
            save=folder is not None or detector.settings.output_folder is not None,
            stopped=print_result,
            **chosen,
        )
    print_result(result)
    if page:
        page.add_video(result)


def output_paths(out: str | None, images: Sequence[str]) -> list[Path | None]:
    """Name the file of each annotated image: --out for one image, files in that folder for several."""
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
    """Return the folder for the files of videos, None where --out is not given."""
    if out is None:
        return None
    path = Path(os.path.expanduser(out))
    if _names_folder(out, path):
        return path
    raise SettingsError(f"--out {out} is not a folder, as several files are written for a video; end the name with /")


def video_names(videos: Sequence[str], folder: Path | None) -> list[str]:
    """Name the files of each video after it, so that no file replaces a video or another file."""
    return _free_names(videos, lambda name: OutputPaths(folder or Path(), name).path(ANNOTATED))


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
        for attempt in count(1):
            name = stem if attempt == 1 else f"{stem}-{attempt}"
            path = path_of(name)
            if path.name.casefold() not in taken and not _is_one_of(files, path):
                break
        names.append(name)
        taken.add(path.name.casefold())
    return names


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
