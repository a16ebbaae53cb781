"""The way of a video through a call: read, ask about key frames, track, draw, sum up."""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Unpack

import anyio
import anyio.to_thread

from dinox_mcp.detect import capabilities
from dinox_mcp.detect.options import Options, caller_of, make_request
from dinox_mcp.detect.routing import Plan
from dinox_mcp.drawing.output import stem_of
from dinox_mcp.errors import InputError, UnsupportedError
from dinox_mcp.store.results import new_result_id
from dinox_mcp.store.videos import Shelf
from dinox_mcp.types.detection import DetectionRequest, Output
from dinox_mcp.types.video import VideoResult
from dinox_mcp.video.job import EVERY_S

if TYPE_CHECKING:
    from dinox_mcp.detector import Detector
    from dinox_mcp.video.output import Place

_AT_A_TIME = 2
_MAX_BYTES = 2 * 1024**3  # of temporary files, of all callers together
_WORDS: frozenset[Output] = frozenset({"caption", "category", "text"})


class VideoOptions(Options, total=False):
    """What there is to choose of a video, besides what there is of a picture; see `VideoDetector.detect`."""

    every_s: float
    max_calls: int | None
    start_s: float
    end_s: float | None
    folder: Path | None
    stem: str | None
    save: bool
    stopped: Callable[[VideoResult], None]


class VideoDetector:
    """Finds objects in videos with a detector of pictures.

    Without a folder to write to, the files of a call lie in a temporary one. Those of the last ten calls of each caller
    are kept until `close`, as far as there is room for all callers.
    """

    def __init__(self, detector: "Detector") -> None:
        self._detector = detector
        self._turns = anyio.Semaphore(_AT_A_TIME)
        self._scratch: TemporaryDirectory[str] | None = None
        self._folders: Shelf[Path] = Shelf(_MAX_BYTES)

    def close(self) -> None:
        """Remove the temporary files."""
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    async def detect(
        self,
        video: str,
        prompts: str | Sequence[str] | None = None,
        *,
        every_s: float = EVERY_S,
        max_calls: int | None = None,
        start_s: float = 0,
        end_s: float | None = None,
        folder: Path | None = None,
        stem: str | None = None,
        save: bool = True,
        stopped: Callable[[VideoResult], None] = lambda _: None,
        **options: Unpack[Options],
    ) -> VideoResult:
        """Find things in a video, and follow them.

        The backend is asked about key frames `every_s` seconds apart, or further, so that `max_calls` (by default, and
        at most, `video_max_calls` of the settings) are enough; how many it will be is told as progress before the
        first. Between them things are followed in the pixels. `video` is the path of a file; `start_s` and `end_s`
        choose a part of it. With `save`, the annotated video, its objects frame by frame, a contact sheet and the
        answer are written into `folder`, by default the output folder of the settings, under names that begin with
        `stem`. Of `include`, words are answered for each track: caption, category, text; masks are followed through all
        frames by a backend that can, and are in the files.

        When the call is cancelled, it stops within a frame, finishes the files, and gives `stopped` the answer so far.
        When the backend fails after it answered once, the answer so far is returned, and says so.

        Raises:
            InputError: an argument or the video is wrong.
            BackendError: the backend cannot answer.
            SettingsError: the folder cannot be written.
        """
        from dinox_mcp.video.job import opened
        from dinox_mcp.video.masking import check_cost
        from dinox_mcp.video.run import Run

        request = make_request(prompts, options)
        settings = self._detector.settings
        most = _calls(max_calls, settings.video_max_calls)
        plan = self._check(request, options)
        if "masks" in request.include and not save:
            raise InputError(
                "masks of a video are only in its files; name a folder for them (--out), or leave masks out"
            )
        async with self._turns:
            opening = partial(opened, video, settings, every_s, most, start_s, end_s, request.tiles)
            with await anyio.to_thread.run_sync(opening) as job:
                if "masks" in request.include:
                    check_cost(job, settings.video_max_mask_frames)
                result_id = new_result_id()
                place = self._place(folder, stem or f"{stem_of(job.video.name)}-{result_id}") if save else None
                try:
                    return await Run(self._detector, job, request, options, plan, result_id, place, stopped).result()
                finally:
                    with anyio.CancelScope(shield=True):
                        await anyio.to_thread.run_sync(self._make_room, place, caller_of(options).tenant)

    def _check(self, request: DetectionRequest, options: Options) -> Plan:
        """Plan what is asked of each key frame; refuse what no track can hold, or takes a second call for each."""
        if unfit := sorted(request.include - _WORDS - {"masks"}):
            raise InputError(
                f"include is {', '.join(unfit)}: of a video there are boxes, masks, caption, category and text; "
                "ask detect_objects about a picture of it for the rest"
            )
        plan = self._detector.plan(request.model_copy(update={"include": frozenset()}), options, thorough=False)
        name = plan.main.backend
        backends = self._detector.backends
        if "masks" in request.include:
            has_key = caller_of(options).api_key is not None
            capabilities.follower(name, backends, caller_has_key=has_key)
        able = backends.get(name).capabilities(plan.main.request.model).outputs
        if missing := sorted(request.include - able - {"masks"}):
            raise UnsupportedError(
                f"the backend {name} does not give {' and '.join(missing)} with what it finds in a video; "
                "leave it out, and ask describe_regions about a picture of it"
            )
        return plan.including(request.include - {"masks"})

    def _place(self, folder: Path | None, stem: str) -> "Place":
        from dinox_mcp.video.output import Place

        folder = folder or self._detector.settings.output_folder
        if folder is None:
            self._scratch = self._scratch or TemporaryDirectory(prefix="dinox-mcp-video-", ignore_cleanup_errors=True)
            folder = Path(self._scratch.name) / f"{stem}-{new_result_id()}"
        return Place(folder, stem)

    def _make_room(self, place: "Place | None", tenant: str) -> None:
        """Remove temporary files of earlier calls, now that a call of a tenant has written its own. Blocks."""
        if place is None or self._scratch is None or place.folder.parent != Path(self._scratch.name):
            return
        try:
            size = sum(path.lstat().st_size for path in place.folder.iterdir())
        except OSError:
            size = 0
        if not size:
            shutil.rmtree(place.folder, ignore_errors=True)
            return
        for old in self._folders.put(tenant, place.folder.name, place.folder, size):
            shutil.rmtree(old, ignore_errors=True)


def _calls(wanted: int | None, allowed: int) -> int:
    if wanted is None:
        return allowed
    if not 1 <= wanted <= allowed:
        raise InputError(f"max_calls is {wanted}; choose 1 to {allowed}, or raise DINOX_MCP_VIDEO_MAX_CALLS")
    return wanted
