"""Runs `dinox-mcp detect`: detects in every image or video of the command line, one after the other."""

import argparse
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

import anyio
from tqdm import tqdm

from dinox_mcp.backends.base import Progress
from dinox_mcp.cli import terminal
from dinox_mcp.cli.arguments import (
    absolute,
    is_video,
    output_folder,
    output_paths,
    request_options,
    split_arguments,
    video_names,
)
from dinox_mcp.cli.results import print_error, print_image, print_note, print_video
from dinox_mcp.detect.options import parse_prompts
from dinox_mcp.detector import Detector
from dinox_mcp.drawing.output import save_annotated, tag_of, write_annotated
from dinox_mcp.drawing.style import Style
from dinox_mcp.errors import DinoxError, InputError, SettingsError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import DetectedObject, DetectionResult
from dinox_mcp.video.detect import EVERY_S
from dinox_mcp.viewer.files import PageFile, begin_page

Job = Callable[[Detector], Awaitable[None]]
"""Detects in one image or video, and prints the result."""
_IMAGES_ONLY = ("like", "describe")


def detect_all(settings: Settings, options: argparse.Namespace) -> bool:
    """Detect in every image or video of the command line.

    Returns:
        False where one could not be answered.

    Raises:
        SettingsError: No argument is an image, a prompt is wrong, or flags do not fit together.
        DinoxError: Stdout or the page cannot be written.
    """
    terminal.write("")  # where stdout cannot be written, nothing need be detected or paid
    sources, prompts = split_arguments(options.arguments)
    if not sources:
        raise SettingsError(f"none of {' '.join(options.arguments)!r:.80} is an image; name a file or a URL first")
    _check_prompts(prompts)
    _check_one_request(options, prompts)
    videos = [source for source in sources if is_video(source)]
    if 0 < len(videos) < len(sources):
        raise SettingsError("images and videos need separate requests; run the command once for each")
    page = begin_page(options.html, len(sources), opens=options.open)
    prepare = _video_jobs if videos else _image_jobs
    jobs = list(zip(sources, prepare(settings, options, sources, prompts, page), strict=True))
    shows_bar = len(jobs) > 1 and not videos and sys.stderr.isatty()
    return anyio.run(partial(_run, settings, options, jobs, page, shows_bar=shows_bar))


def _check_prompts(prompts: Sequence[str]) -> None:
    """Refuse wrong prompts once, before they are refused for every image."""
    if prompts:
        try:
            parse_prompts(prompts)
        except InputError as error:
            raise SettingsError(str(error)) from None


def _check_one_request(options: argparse.Namespace, prompts: Sequence[str]) -> None:
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
        print_note(where)
    return complete


def _image_jobs(
    _settings: Settings,
    options: argparse.Namespace,
    images: Sequence[str],
    prompts: Sequence[str],
    page: PageFile | None,
) -> list[Job]:
    paths = output_paths(options.out, images)
    return [
        partial(_detect_image, options, image, prompts, path, page) for image, path in zip(images, paths, strict=True)
    ]


async def _detect_image(
    options: argparse.Namespace,
    image: str,
    prompts: Sequence[str],
    path: Path | None,
    page: PageFile | None,
    detector: Detector,
) -> None:
    result = await _request(detector, options, absolute(image), prompts)
    folder = detector.settings.output_folder
    drawn = None
    if path is not None or folder is not None:
        picture = detector.result(result.result_id).picture
        drawn = await detector.draw(partial(_draw, path, folder, picture, result.objects))
    if page:
        await page.add(detector, result)
    print_image(image, result, drawn, as_json=options.json)


async def _request(
    detector: Detector, options: argparse.Namespace, image: str, prompts: Sequence[str]
) -> DetectionResult:
    chosen = request_options(options)
    if options.like:
        return await detector.detect_by_example(image, options.like, **chosen)
    if options.describe is not None:
        return await detector.find_by_description(image, options.describe, **chosen)
    return await detector.detect(image, prompts or None, **chosen)


def _draw(path: Path | None, folder: Path | None, picture: Picture, objects: Sequence[DetectedObject]) -> Path | None:
    """Write the annotated image to the path of --out, or else into the folder of the settings, if there is one."""
    style = Style()
    if path is not None:
        return write_annotated(path, picture, objects, style)
    return folder and save_annotated(folder, picture, objects, style, tag_of(picture, objects, style))


def _video_jobs(
    settings: Settings,
    options: argparse.Namespace,
    videos: Sequence[str],
    prompts: Sequence[str],
    page: PageFile | None,
) -> list[Job]:
    if given := [f"--{name}" for name in _IMAGES_ONLY if getattr(options, name)]:
        raise SettingsError(f"{' and '.join(given)}: not for videos; name an image, or leave it out")
    folder = output_folder(options.out)
    if page and folder is None and settings.output_folder is None:
        raise SettingsError("the page of a video shows its contact sheet; name a folder for it with --out")
    names = video_names(videos, folder)
    return [
        partial(_detect_video, options, video, prompts, folder, name, page)
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
    with tqdm(total=1.0, bar_format="{percentage:3.0f}% {desc}", leave=False, disable=not sys.stderr.isatty()) as bar:
        chosen = request_options(options)
        chosen["progress"] = _progress(bar)
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


def _progress(bar: "tqdm[NoReturn]") -> Progress:
    """Print the first message, which is the cost, and show later ones in a bar."""
    printed = False

    async def progress(share: float, message: str) -> None:
        nonlocal printed
        if not printed:
            printed = True
            print_note(message)
        elif not bar.disable:
            bar.n = max(bar.n, share)
            bar.set_description_str(terminal.printable(message))

    return progress
