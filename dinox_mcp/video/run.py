"""One call: key frames are decoded, answered, followed and drawn at the same time, and summed up at the end."""

import time as clocks
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import anyio
import numpy as np
from anyio.to_thread import run_sync

from dinox_mcp.backends.base import Follower, gather, silent
from dinox_mcp.detect.answers import Answer
from dinox_mcp.detect.options import Options, caller_of, make_call, max_objects
from dinox_mcp.detect.pipeline import Pipeline
from dinox_mcp.detect.routing import Plan
from dinox_mcp.errors import BackendError, ImageError
from dinox_mcp.images.sources import shorten
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import DetectionRequest, certainty
from dinox_mcp.types.video import VideoFiles, VideoResult, clock
from dinox_mcp.video.key_frames import Job, KeyFrame, KeyFrames, Masking
from dinox_mcp.video.motion import Path, appearances, follow
from dinox_mcp.video.output import SHEET, SHEET_FRAMES, ContactSheet, FrameFiles, OutputPaths, write_file, write_result
from dinox_mcp.video.summary import Answers, video_result
from dinox_mcp.video.tracking import Tracker, TrackHistory

_MASKS_SHARE = 0.8  # of the time of a video with masks, as every frame is processed and not only key frames


@dataclass
class Run:
    """Carries out one call; `result` is awaited once.

    Attributes:
        plan: The request as it is put to the backends, for each key frame.
        follower: The backend that follows masks; None for a call without masks.
        paths: Where the files go; None for a call without files.
        stopped: Gets the result so far when the call is cancelled.
    """

    pipeline: Pipeline
    settings: Settings
    job: Job
    request: DetectionRequest
    options: Options
    plan: Plan
    follower: Follower | None
    result_id: str
    paths: OutputPaths | None
    stopped: Callable[[VideoResult], None]

    def __post_init__(self) -> None:
        keys = self.job.keys
        self._key_times = [self.job.scan.times[key] for key in keys]
        self._tracker = Tracker(self.job.every_s, single=len(keys) == 1)
        self._answers = Answers(self.job.calls_each)
        self._sheet = ContactSheet(self.job.scan.size)
        most = min(SHEET_FRAMES, len(keys))
        self._on_sheet = {round(at * (len(keys) - 1) / max(1, most - 1)) for at in range(most)}
        self._began = clocks.monotonic()
        self._files: FrameFiles | None = None
        self._masking: Masking | None = None
        if self.follower:
            call, progress = make_call(self.options), partial(self._report_part, "masks")
            self._masking = Masking(self.follower, self.job, call, progress)
        self._done = {"keys": 0.0, "masks": 0.0}

    async def result(self) -> VideoResult:
        """Carry out the call.

        Raises:
            BackendError: The backend does not answer, not even once.
            ImageError: No frame can be decoded.
            SettingsError: The folder cannot be written.
        """
        await self._report(0.0, self._cost())
        complete = False
        try:
            if self.paths is not None:
                self._files = await run_sync(FrameFiles, self.paths, self.job.video, self.job.scan, self.job.keys)
            with await run_sync(KeyFrames, self.job) as reader:
                complete = await self._answer_key_frames(reader)
            complete = complete and await self._write_rest()
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                result = await run_sync(partial(self._finish, complete=False))
            if self._answers.times:
                self.stopped(result)
            raise
        except BaseException:
            with anyio.CancelScope(shield=True):
                await run_sync(self._discard)
            raise
        return await run_sync(partial(self._finish, complete=complete))

    def _cost(self) -> str:
        found, calls = self.job.scan, self.job.planned_calls
        masks = f", and masks in {len(found.times)} frames, seconds each on a CPU" if self._masking else ""
        return (
            f"{found.duration_s:.1f} s of video, a key frame every {self.job.every_s:.2g} s: "
            f"at most {calls} call{'s'[: calls != 1]} to the backend {self.plan.backend}{masks}"
        )

    async def _answer_key_frames(self, reader: KeyFrames) -> bool:
        """Search all key frames; False where the backend failed after its first answer.

        Meanwhile the frames before are written, and the next key frame is decoded.
        """
        frame = await run_sync(reader.next)
        for number in range(len(self._key_times)):
            if frame is None:
                if self._answers.times:
                    self._answers.note(f"frames after {clock(self._answers.times[-1])} cannot be decoded")
                break
            works: list[Callable[[], Awaitable[Any]]] = [
                partial(self._search, number, frame),
                partial(self._follow, frame),
                partial(run_sync, reader.next),
                partial(self._write_until, number - 1 - self._tracker.max_missed),
            ]
            try:
                answer, followed, upcoming, _ = await gather(works, len(works))
            except BackendError as error:
                if not self._answers.times:
                    raise
                self._answers.note(f"stopped at {clock(frame.time)} by an error of the backend: {error}")
                return False
            self._add(frame, answer, followed)
            frame = upcoming
        if not self._answers.times:
            raise ImageError(f"'{shorten(self.job.video.name)}' has no frame that can be decoded; pass an intact file")
        self._note_shortcomings(reader)
        return True

    def _note_shortcomings(self, reader: KeyFrames) -> None:
        """Note unknown prompts, damaged frames, and frames of another size."""
        answers = self._answers
        if answers.unknown:
            has_key = caller_of(self.options).api_key is not None
            router, unknown = self.pipeline.router, answers.unknown
            answers.note(router.explain(unknown, self.plan, found=answers.found, caller_has_key=has_key))
        if damaged := reader.reader.damaged:
            answers.note(f"{damaged} damaged parts of the file were left out")
        if len(reader.reader.sizes) > 1:
            (width, height), shown = self.job.scan.size, [f"{x}x{y}" for x, y in reader.reader.sizes][:4]
            answers.note(
                f"the size of the frames changes on the way ({', '.join(shown)}); "
                f"boxes are in pixels of {width}x{height}, into which all frames are fitted"
            )

    async def _search(self, number: int, frame: KeyFrame) -> Answer:
        total = len(self._key_times)
        left = ""
        if number and not self._masking:  # masks report the time left themselves
            seconds = (clocks.monotonic() - self._began) / number * (total - number)
            left = f", about {clock(seconds)} left" if seconds >= 1 else ""
        message = f"key frame {number + 1} of {total} at {clock(frame.time)}{left}"

        async def progress(part: float, of_backend: str) -> None:
            await self._report_part("keys", (number + part) / total, f"{message}: {of_backend}")

        await self._report_part("keys", number / total, message)
        call = replace(make_call(self.options), progress=progress)
        return await self.pipeline.answer(self.plan, frame.picture, call, explain=False)

    async def _follow(self, frame: KeyFrame) -> list[Path | None]:
        """Follow the active tracks from the key frame before to this one."""
        boxes = [track.current_box for track in self._tracker.active]
        if len(frame.grays) == 1 or not any(boxes):  # no key frame comes before the first one
            return [None] * len(boxes)
        size = self.job.scan.size
        return list(await run_sync(follow, frame.times, frame.grays, boxes, size))

    def _add(self, frame: KeyFrame, answer: Answer, followed: Sequence[Path | None]) -> None:
        """Add the answer about a key frame to the tracks, the sheet and the answers."""
        found = answer.found.objects
        best = sorted(found, key=certainty, reverse=True)[: max_objects(self.options)]
        best = [one.model_copy(update={"bbox": frame.fit.box(one.bbox)}) for one in best]
        if len(best) < len(found):
            self._answers.note(f"of a key frame, only the {len(best)} surest objects were followed; raise max_objects")
        self._tracker.update(frame.time, best, partial(appearances, np.asarray(frame.image)), followed)
        if len(self._answers.times) in self._on_sheet:
            self._sheet.add(frame.time, frame.image)
        self._answers.add(frame.time, answer)

    async def _write_until(self, key: int, *, last: bool = False) -> None:
        """Write the frames up to a key frame; tracks up to there must be final, as none can come back."""
        if key < 0:
            return
        self._tracker.number(key)
        time = self.job.scan.times[-1] if last else self._key_times[key]
        tracks = [track for track in self._tracker.confirmed() if track.id is not None]
        if self._masking is not None:
            while (until := await self._masking.next(None if last else time, tracks)) is not None:
                await self._write(until, tracks)
        else:
            await self._write(time, tracks)
        for track in tracks:
            track.drop_followed_boxes(time)

    async def _write(self, time: float, tracks: Sequence[TrackHistory]) -> None:
        if self._files is not None:
            masks = self._masking.masks if self._masking else {}
            await run_sync(self._files.write, time, tracks, masks)

    async def _write_rest(self) -> bool:
        """Write the frames that are left after the last answer; False where their masks fail."""
        try:
            await self._write_until(len(self._key_times) - 1, last=True)
        except BackendError as error:
            self._answers.note(f"stopped by an error of the backend: {error}")
            return False
        return True

    def _discard(self) -> None:
        """Remove the files of a failed call; those of an earlier call stay. Blocks."""
        if self._masking:
            self._masking.close()
        if self._files:
            self._files.discard()

    def _finish(self, *, complete: bool) -> VideoResult:
        """Close the files, draw the contact sheet, and sum up. Blocks."""
        answers = self._answers
        self._tracker.number(len(self._key_times))
        if self._masking:
            self._masking.close()
            for note in self._masking.notes():
                answers.note(note)
        files = self._files.close() if self._files else VideoFiles()
        if self._files and self.job.scan.sound:
            answers.note("the annotated video has no sound")
        if not complete and answers.times:
            written = f"; the annotated video has its first {self._files.written} frames" if self._files else ""
            answers.note(f"stopped after key frame {len(answers.times)} of {len(self._key_times)}{written}")
        if self.paths is not None and self._sheet.frames:
            files = files.model_copy(update={"sheet": self._write_sheet(self.paths)})
        result = video_result(
            self.job,
            self._tracker,
            answers,
            self.plan.request.model_copy(update={"include": self.request.include}),
            result_id=self.result_id,
            backend=self.plan.backend,
            complete=complete,
            files=files,
        )
        return write_result(self.paths, result) if self.paths is not None and answers.times else result

    def _write_sheet(self, paths: OutputPaths) -> str:
        settings, tracks = self.settings, self._tracker.confirmed()
        masks = self._masking.at_keys if self._masking else {}
        data = self._sheet.draw(tracks, settings.preview_max_side, settings.preview_max_bytes, masks)
        return write_file(paths, SHEET, data)

    async def _report_part(self, kind: str, part: float, message: str) -> None:
        """Report how far the key frames or the masks are, as a part of the call."""
        self._done[kind] = part
        share = _MASKS_SHARE if self._masking else 0.0
        await self._report((1 - share) * self._done["keys"] + share * self._done["masks"], message)

    async def _report(self, part: float, message: str) -> None:
        await self.options.get("progress", silent)(part, message)
