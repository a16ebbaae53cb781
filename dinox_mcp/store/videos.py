"""Results of videos and their files, by unguessable id: bounded, and separate for each tenant."""

from contextlib import suppress
from pathlib import Path
from typing import Literal

import anyio.to_thread

from dinox_mcp.errors import DinoxError, NotFoundError
from dinox_mcp.store import uris
from dinox_mcp.store.files import open_regular
from dinox_mcp.store.kept import KEPT, Kept, PerTenant
from dinox_mcp.store.shared import SharedStore, kept_here_alone
from dinox_mcp.types.video import VideoResult

MAX_FILE_BYTES = 64 * 1024 * 1024
_MAX_ANSWER_BYTES = 64 * 1024 * 1024
Part = Literal["video", "frames", "sheet", "answer"]
_SHARED_PARTS: tuple[Part, ...] = ("sheet", "frames", "video")


class Videos:
    """Keeps results of videos, separate for each tenant."""

    def __init__(self, shared: SharedStore | None = None) -> None:
        self._shared = shared
        self._results: Kept[VideoResult] = Kept(
            "video",
            PerTenant(_MAX_ANSWER_BYTES),
            shared,
            lambda result: result.model_dump_json().encode(),
            VideoResult.model_validate_json,
        )

    async def put(self, result: VideoResult, tenant: str = "") -> VideoResult:
        """Keep a result; older ones are removed if there are too many.

        Returns:
            The result, with a note if other servers cannot read it.
        """
        try:
            await self._results.put(tenant, result.result_id, result)
            if self._shared is not None:
                await anyio.to_thread.run_sync(_share_files, self._shared, result, tenant)
        except DinoxError as error:
            return result.model_copy(update={"notes": (*result.notes, kept_here_alone(error))})
        return result

    async def get(self, result_id: str, tenant: str = "") -> VideoResult:
        """Fetch a result.

        Raises:
            NotFoundError: it never existed, belongs to another tenant, or was removed.
        """
        result = await self._results.get(tenant, result_id)
        if result is None:
            raise _unknown(result_id)
        return result

    async def check_absent(self, result_id: str, tenant: str = "") -> None:
        """Refuse the id of a video where the result of an image is needed.

        Raises:
            NotFoundError: a video has this id.
        """
        if await self._results.get(tenant, result_id) is not None:
            raise _of_a_video(result_id)

    def check_not_own(self, result_id: str, tenant: str = "") -> None:
        """Refuse the id of a video of this process where the result of an image is needed.

        Raises:
            NotFoundError: a video has this id.
        """
        if self._results.own(tenant, result_id) is not None:
            raise _of_a_video(result_id)

    def file(self, result_id: str, part: Part, tenant: str = "") -> bytes:
        """Read one of the files of a result. Slow: call it in a thread.

        Raises:
            NotFoundError: there is no such file, or no more, or it is too large for a message.
        """
        own = self._results.own(tenant, result_id)
        # The paths of a result of another server are that server's: only bytes are read from the shared store.
        data = _read(own, part) if own else self._shared_file(result_id, part, tenant)
        if data is None:
            raise NotFoundError(f"the result {result_id[:40]!r} has no {part} file; call detect_video again")
        return data

    def _shared_file(self, result_id: str, part: Part, tenant: str) -> bytes | None:
        if self._shared is None:
            raise _unknown(result_id)
        data = self._shared.get(tenant, f"video-{part}", result_id)
        if data is None and self._shared.get(tenant, "video", result_id) is None:
            raise _unknown(result_id)
        return data


def _share_files(shared: SharedStore, result: VideoResult, tenant: str) -> None:
    """Put the files of a result that are not too large for a message into the shared store. Blocks."""
    for part in _SHARED_PARTS:
        with suppress(NotFoundError):
            data = _read(result, part)
            if data is not None:
                shared.put(tenant, f"video-{part}", result.result_id, data)


def _read(result: VideoResult, part: Part) -> bytes | None:
    """Read a file of a result of this process; None if it has no such file."""
    path = getattr(result.files, part)
    if path is None:
        return None
    try:
        with open_regular(Path(path)) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise NotFoundError(f"the {part} file is gone ({error.strerror}); call detect_video again") from None
    if len(data) > MAX_FILE_BYTES:
        raise NotFoundError(f"the {part} file is too large for a message; open {path} on this server's machine")
    return data


def _unknown(result_id: str) -> NotFoundError:
    return NotFoundError(
        f"there is no result {result_id[:40]!r} of a video (the last {KEPT} are kept); call detect_video again"
    )


def _of_a_video(result_id: str) -> NotFoundError:
    video = uris.VIDEO.replace("{result_id}", result_id)
    return NotFoundError(
        f"{result_id[:40]!r} is the result of a video, not of an image; read {video}, or /sheet.jpg and "
        "/annotated.mp4 below it, or pass the result_id of an image"
    )
