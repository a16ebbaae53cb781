"""One call on its way: what is decoded, asked, followed and drawn at the same time, and what is left when it stops."""

import time as clocks
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread
import numpy as np

from dinox_mcp.backends.base import Progress, silent
from dinox_mcp.backends.concurrency import gather
from dinox_mcp.detect import capabilities
from dinox_mcp.detect.options import Options, caller_of, labels_of, make_call, max_objects
from dinox_mcp.detect.pipeline import Answer
from dinox_mcp.detect.routing import Plan
from dinox_mcp.errors import BackendError, ImageError
from dinox_mcp.images.sources import shorten
from dinox_mcp.types.detection import Detection, DetectionRequest, certainty, count_labels
from dinox_mcp.types.video import VideoFiles, VideoInfo, VideoResult, clock
from dinox_mcp.video import key_frames, summary
from dinox_mcp.video.drawing import SHEET_FRAMES, Sheet
from dinox_mcp.video.job import Job, Record, pause
from dinox_mcp.video.key_frames import KeyFrame, KeyFrames
from dinox_mcp.video.masking import Masking
from dinox_mcp.video.output import Output, Place, write_answer, write_sheet
from dinox_mcp.video.track import Path, Trail, looks
from dinox_mcp.video.tracking import SURE, Tracker

if TYPE_CHECKING:
    from dinox_mcp.detector import Detector

T = TypeVar("T")
_MASKS_SHARE = 0.8  # of the time that a video takes with masks: each frame is looked at, not only key frames


@dataclass
class Run:
    """Carries out one job; `result` may be awaited once."""

    detector: "Detector"
    job: Job
    request: DetectionRequest
    options: Options
    plan: Plan
    result_id: str
    place: Place | None
    stopped: Callable[[VideoResult], None]
    files: VideoFiles = field(default_factory=VideoFiles)

    def __post_init__(self) -> None:
        plan, found = self.job.plan, self.job.scan
        self._record = Record(self.job.calls_each)
        self._keys = [found.times[key] for key in plan.keys]
        self._tracker = Tracker(plan.every_s, single=len(plan.keys) == 1)
        self._reach = plan.every_s / 2
        self._sheet = Sheet(found.size)
        most = min(SHEET_FRAMES, len(self._keys))
        self._shown = {round(at * (len(self._keys) - 1) / max(1, most - 1)) for at in range(most)}
        self._planned = len(plan.keys) * self.job.calls_each
        self._limiter = anyio.CapacityLimiter(4)  # threads of this call: it does three things at once
        self._began = clocks.monotonic()
        self._output: Output | None = None
        self._masking: Masking | None = None
        if "masks" in self.request.include:
            has_key = caller_of(self.options).api_key is not None
            follower = capabilities.follower(self.plan.main.backend, self.detector.backends, caller_has_key=has_key)
            self._masking = Masking(follower, self.job, make_call(self.options), partial(self._advance, "masks"))
        self._parts = {"keys": 0.0, "masks": 0.0}

    async def result(self) -> VideoResult:
        """Do the job.

        Raises:
            BackendError: the backend cannot answer, not even once.
            ImageError: no frame can be decoded.
            SettingsError: the folder cannot be written.
        """
        scan_, plan = self.job.scan, self.job.plan
        await self._tell(
            0.0,
            f"{scan_.duration_s:.1f} s of video, a key frame every {plan.every_s:.2g} s: "
            f"at most {self._planned} call{'s'[: self._planned != 1]} to the backend {self.plan.backend}"
            + (f", and masks in {len(scan_.times)} frames, seconds each on a CPU" if self._masking else ""),
        )
        complete = False
        try:
            if self.place is not None:
                self._output = await self._thread(partial(Output, self.place, self.job.video, scan_, plan.keys))
            with await self._thread(partial(KeyFrames, self.job)) as reader:
                complete = await self._ask_all(reader)
            if complete:
                complete = await self._draw_rest()
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                result = await self._finished(complete=False)
            if self._record.asked:
                self.stopped(result)
            raise
        except BaseException:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._discard)
            raise
        return await self._finished(complete=complete)

    async def _ask_all(self, reader: KeyFrames) -> bool:
        """Ask about one key frame after the other, while the frames before are drawn and those after decoded."""
        frame = await self._thread(reader.next)
        for number in range(len(self._keys)):
            if frame is None:
                self._record.note(
                    f"frames after {clock(self._record.asked[-1])} cannot be decoded" if self._record.asked else ""
                )
                break
            works: list[Callable[[], Awaitable[Any]]] = [
                partial(self._ask, number, frame),
                partial(self._follow, frame),
                partial(self._thread, reader.next),
                partial(self._draw, number - 1 - self._tracker.patience),
            ]
            try:
                answer, followed, upcoming, _ = await gather(works, len(works))
            except BackendError as error:
                if not self._record.asked:
                    raise
                self._record.note(f"stopped at {clock(frame.time)} by an error of the backend: {error}")
                return False
            self._learn(frame, answer, followed)
            frame = upcoming
        if not self._record.asked:
            raise ImageError(f"'{shorten(self.job.video.name)}' has no frame that can be decoded; pass an intact file")
        if self._record.unknown:
            caller = caller_of(self.options)
            record = self._record
            record.note(self.detector.explain(record.unknown, self.plan, found=record.found, caller=caller))
        if reader.damaged:
            self._record.note(f"{reader.damaged} damaged parts of the file were left out")
        if len(reader.sizes) > 1:
            found, sizes = self.job.scan, ", ".join(f"{width}x{height}" for width, height in reader.sizes[:4])
            self._record.note(
                f"the size of the frames changes on the way ({sizes}); "
                f"boxes are in pixels of {found.size[0]}x{found.size[1]}, into which all frames are fitted"
            )
        return True

    async def _ask(self, number: int, frame: KeyFrame) -> Answer:
        total = len(self._keys)
        left = ""
        if number and not self._masking:  # which tell the time left themselves
            seconds = (clocks.monotonic() - self._began) / number * (total - number)
            left = f", about {clock(seconds)} left" if seconds >= 1 else ""
        where = f"key frame {number + 1} of {total} at {clock(frame.time)}{left}"

        async def progress(part: float, message: str) -> None:
            await self._advance("keys", (number + part) / total, f"{where}: {message}")

        await self._advance("keys", number / total, where)
        who: Options = {**self.options, "progress": progress}
        return await self.detector.ask(frame.picture, self.plan, caller=caller_of(who), progress=progress)

    async def _follow(self, frame: KeyFrame) -> list[Path | None]:
        """Follow the tracks from the key frame before."""
        boxes = [trail.now for trail in self._tracker.active]
        if len(frame.grays) < 2 or not any(boxes):  # noqa: PLR2004 - from one to the next
            return [None] * len(boxes)
        paths = await self._thread(
            partial(key_frames.follow, frame.times, frame.grays, boxes, self.job.scan.size, pause)
        )
        return list(paths)

    async def _draw(self, settled: int, *, last: bool = False) -> None:
        """Draw what is known for certain: up to a key frame after which no track can come back any more."""
        if settled < 0:
            return
        self._tracker.settle(settled)
        time = self.job.scan.times[-1] if last else self._keys[settled]
        trails = [trail for trail in self._tracker.trails() if trail.id is not None]
        if self._masking is not None:
            while (until := await self._masking.next(None if last else time, trails, self._reach)) is not None:
                await self._paint(until, trails)
        else:
            await self._paint(time, trails)
        for trail in trails:
            trail.forget(time)

    async def _paint(self, time: float, trails: Sequence[Trail]) -> None:
        if self._output is not None:
            masks = self._masking.masks if self._masking else {}
            await self._thread(partial(self._output.draw, time, trails, self._reach, pause, masks))

    async def _draw_rest(self) -> bool:
        """Draw what is left after the last key frame was answered; False where masks of it are not to be had."""
        try:
            await self._draw(len(self._keys) - 1, last=True)
        except BackendError as error:
            self._record.note(f"stopped by an error of the backend: {error}")
            return False
        return True

    def _learn(self, frame: KeyFrame, answer: Answer, followed: Sequence[Path | None]) -> None:
        found = answer.found
        surest = sorted(found.objects, key=certainty, reverse=True)[: max_objects(self.options)]
        surest = [one.model_copy(update={"bbox": frame.fit.box(one.bbox)}) for one in surest]
        if len(surest) < len(found.objects):
            self._record.note(f"of a key frame, only the {len(surest)} surest objects were followed; raise max_objects")
        self._tracker.step(frame.time, surest, partial(looks, np.asarray(frame.image)), followed)
        if len(self._record.asked) in self._shown:
            self._sheet.keep(frame.time, frame.image)
        self._record.add(frame.time, answer)

    async def _finished(self, *, complete: bool) -> VideoResult:
        return await anyio.to_thread.run_sync(partial(self._finish, complete=complete))

    def _discard(self) -> None:
        """Leave no files of a call that failed, and those of an earlier call as they were. Blocks."""
        if self._masking:
            self._masking.close()
        if self._output:
            self._output.discard()

    def _finish(self, *, complete: bool) -> VideoResult:
        """Close the files, draw the sheet, and sum up. Blocks."""
        self._tracker.settle(len(self._keys))
        if self._masking:
            self._masking.close()
            for note in self._masking.notes():
                self._record.note(note)
        drawn = self._output.drawn if self._output else 0
        files = self._output.close() if self._output else VideoFiles()
        trails = [trail for trail in self._tracker.trails() if trail.id is not None]
        if self._output and self.job.scan.sound:
            self._record.note("the annotated video has no sound")
        if not complete and self._record.asked:
            shown = f"; the annotated video has its first {drawn} frames" if self._output else ""
            self._record.note(f"stopped after key frame {len(self._record.asked)} of {len(self._keys)}{shown}")
        if self._sheet.kept and self.place is not None:
            settings = self.detector.settings
            masks = self._masking.at_keys if self._masking else {}
            data = self._sheet.draw(trails, self._reach, settings.preview_max_side, settings.preview_max_bytes, masks)
            files = files.model_copy(update={"sheet": write_sheet(self.place, data)})
        self.files = files
        result = self._summed_up(complete=complete)
        return write_answer(self.place, result) if self.place is not None and self._record.asked else result

    def _summed_up(self, *, complete: bool) -> VideoResult:
        scan_, tracker = self.job.scan, self._tracker
        until = scan_.times[-1] if complete or not self._record.asked else self._record.asked[-1]
        times = [time for time in scan_.times if time <= until]
        tracks = summary.tracks(tracker.trails(), times, self._reach, scan_.size)
        asked = [one for one in labels_of(self.request) if one not in self._record.unsearched]
        counts = count_labels((Detection(label=one.label, bbox=one.path.start) for one in tracks), asked)
        labels = list(counts)
        moments = summary.timeline(tracker.trails(), self._record.asked, self._reach, labels)
        for number, older in tracker.renumbered:
            self._record.note(
                f"{number} turned out to be {older} when its code was read; some frames in the files say {number}"
            )
        if tracker.dropped:
            self._record.note(
                f"{tracker.dropped} sightings below a score of {SURE} in a single key frame were taken for mistakes"
            )
        return VideoResult(
            result_id=self.result_id,
            backend=self._record.backend or self.plan.backend,
            model=self._record.model,
            video=VideoInfo(
                source=self.job.video.name,
                width=scan_.size[0],
                height=scan_.size[1],
                duration_s=round(scan_.duration_s, 3),
                fps=round(scan_.fps, 3),
                frames=len(scan_.times),
                rotation=scan_.orientation.rotation,
                mirrored=scan_.orientation.mirrored,
            ),
            request=self.plan.request.model_copy(update={"include": self.request.include}),
            every_s=round(self.job.plan.every_s, 3),
            tracks=tracks,
            counts=counts,
            peaks=summary.peaks(moments, labels),
            timeline=tuple(moments),
            calls=self._record.calls(self._planned),
            complete=complete,
            files=self.files,
            notes=(*scan_.notes, *self._record.notes()),
        )

    async def _advance(self, kind: str, part: float, message: str) -> None:
        """Tell how far key frames or masks are, as a part of the whole."""
        self._parts[kind] = part
        share = _MASKS_SHARE if self._masking else 0.0
        await self._tell((1 - share) * self._parts["keys"] + share * self._parts["masks"], message)

    async def _tell(self, part: float, message: str) -> None:
        progress: Progress = self.options.get("progress", silent)
        await progress(part, message)

    async def _thread(self, work: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(work, limiter=self._limiter)
