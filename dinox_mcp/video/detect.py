"""Detection in videos: what there is to choose, what is refused, and where the files go."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Unpack

import anyio
import anyio.to_thread

from dinox_mcp.backends.registry import Backends
from dinox_mcp.detect import capabilities
from dinox_mcp.detect.options import Options, caller_of, make_request
from dinox_mcp.detect.pipeline import Pipeline
from dinox_mcp.detect.routing import Plan
from dinox_mcp.drawing.output import stem_of
from dinox_mcp.errors import InputError, UnsupportedError
from dinox_mcp.settings import Settings
from dinox_mcp.store.kept import PerTenant
from dinox_mcp.store.results import new_result_id
from dinox_mcp.types.detection import DetectionRequest, Output
from dinox_mcp.types.video import VideoResult

if TYPE_CHECKING:
    from dinox_mcp.video.output import OutputPaths

EVERY_S = 0.5  # from one key frame to the next, unless the caller chooses others
_AT_A_TIME = 2
_MAX_BYTES = 2 * 1024**3  # of temporary files, of all callers together
_TEXTS: frozenset[Output] = frozenset({"caption", "category", "text"})


class VideoOptions(Options, total=False):
    """The options of a video, besides those of an image; see `VideoDetector.detect`."""

    every_s: float
    max_calls: int | None
    start_s: float
    end_s: float | None
    folder: Path | None
    stem: str | None
    save: bool
    stopped: Callable[[VideoResult], None]


class VideoDetector:
    """Finds objects in the key frames of videos, and follows them from one to the next.

    Without a folder to write to, the files of a call are temporary. Those of the last ten calls of each caller are kept
    until `close`, within a limit for all callers together.
    """

    def __init__(self, settings: Settings, backends: Backends, pipeline: Pipeline) -> None:
        self._settings, self._backends, self._pipeline = settings, backends, pipeline
        self._running = anyio.Semaphore(_AT_A_TIME)
        self._temporary: TemporaryDirectory[str] | None = None
        self._folders: PerTenant[Path] = PerTenant(_MAX_BYTES)

    def close(self) -> None:
        """Remove the temporary files."""
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

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
        """Find objects in a video and follow them.

        The backend searches key frames; between them objects are followed in the pixels. The number of calls is
        the first progress message, before the first call. A cancelled call stops within a frame and completes the
        files. When the backend fails after its first answer, the result so far is returned, and its notes say so.

        Args:
            video: The path of a video file.
            prompts: What to find; None for everything.
            every_s: Seconds from one key frame to the next; more where `max_calls` needs it.
            max_calls: The most calls to the backend; by default, and at most, `video_max_calls` of the settings.
            start_s: Where the part to process begins, in seconds.
            end_s: Where it ends; None for the end of the video.
            folder: The folder for the files; by default the output folder of the settings, else a temporary one.
            stem: What the names of the files begin with.
            save: Whether to write files: the annotated video, its objects frame by frame, a contact sheet, the result.
            stopped: Gets the result so far when the call is cancelled.
            options: As of an image. Of `include`, each track gets caption, category and text, as far as the backend
                gives them; masks of every frame are in the files.

        Raises:
            InputError: An argument or the video is wrong.
            BackendError: The backend cannot answer.
            SettingsError: The folder cannot be written.
        """
        # Imported with the first video: a server starts faster without them.
        from dinox_mcp.video.key_frames import check_mask_frames, open_job
        from dinox_mcp.video.run import Run
        from dinox_mcp.video.scan import Limits

        request = make_request(prompts, options)
        settings, has_key = self._settings, caller_of(options).api_key is not None
        allowed = settings.video_max_calls
        if max_calls is not None and not 1 <= max_calls <= allowed:
            raise InputError(f"max_calls is {max_calls}; choose 1 to {allowed}, or raise DINOX_MCP_VIDEO_MAX_CALLS")
        plan, follower = self._plan(request, caller_has_key=has_key), None
        if "masks" in request.include:
            follower = capabilities.follower(plan.main.backend, self._backends, caller_has_key=has_key)
            if not save:
                raise InputError(
                    "masks of a video are only in its files; name a folder for them (--out), or leave masks out"
                )
        limits = Limits(settings.video_max_s, settings.video_max_frames, start_s, end_s)
        most = max_calls or allowed
        async with self._running:
            job = await anyio.to_thread.run_sync(open_job, video, settings, limits, every_s, most, request.tiles)
            with job.video:
                if follower:
                    check_mask_frames(job, settings.video_max_mask_frames)
                result_id = new_result_id()
                paths = self._paths(folder, stem or f"{stem_of(job.video.name)}-{result_id}") if save else None
                run = Run(self._pipeline, settings, job, request, options, plan, follower, result_id, paths, stopped)
                try:
                    return await run.result()
                finally:
                    with anyio.CancelScope(shield=True):
                        await anyio.to_thread.run_sync(self._keep_within_limits, paths, caller_of(options).tenant)

    def _plan(self, request: DetectionRequest, *, caller_has_key: bool) -> Plan:
        """Plan the request for each key frame.

        Outputs that would take a second call for each key frame, or that a track cannot have, are refused.
        """
        if unfit := sorted(request.include - _TEXTS - {"masks"}):
            raise InputError(
                f"include is {', '.join(unfit)}: of a video there are boxes, masks, caption, category and text; "
                "call detect_objects with an image of it for the rest"
            )
        bare = request.model_copy(update={"include": frozenset()})
        plan = self._pipeline.router.plan(bare, caller_has_key=caller_has_key, thorough=False)
        name, texts = plan.main.backend, request.include - {"masks"}
        given = self._backends.get(name).capabilities(plan.main.request.model).outputs
        if missing := sorted(texts - given):
            raise UnsupportedError(
                f"the backend {name} does not give {' and '.join(missing)} with what it finds in a video; "
                "leave it out, and call describe_regions with an image of it"
            )
        return plan.including(texts)

    def _paths(self, folder: Path | None, stem: str) -> "OutputPaths":
        from dinox_mcp.video.output import OutputPaths

        folder = folder or self._settings.output_folder
        if folder is None:
            self._temporary = self._temporary or TemporaryDirectory(
                prefix="dinox-mcp-video-", ignore_cleanup_errors=True
            )
            folder = Path(self._temporary.name) / f"{stem}-{new_result_id()}"
        return OutputPaths(folder, stem)

    def _keep_within_limits(self, paths: "OutputPaths | None", tenant: str) -> None:
        """Remove temporary files of earlier calls, after a call of a tenant has written its own. Blocks."""
        if paths is None or self._temporary is None or paths.folder.parent != Path(self._temporary.name):
            return
        try:
            size = sum(path.lstat().st_size for path in paths.folder.iterdir())
        except OSError:
            size = 0
        if not size:
            shutil.rmtree(paths.folder, ignore_errors=True)
            return
        for old in self._folders.put(tenant, paths.folder.name, paths.folder, size):
            shutil.rmtree(old, ignore_errors=True)
