"""Answers about videos by id, the latest few of each tenant; their files belong to whoever detects in videos."""

from collections import OrderedDict
from pathlib import Path
from typing import Literal

from dinox_mcp.errors import NotFoundError
from dinox_mcp.video.schema import VideoResult

KEPT = 10
"""As many of a tenant's answers are kept as temporary files of a call are."""
MAX_FILE_BYTES = 64 * 1024 * 1024
Part = Literal["video", "frames", "sheet", "answer"]


class Videos:
    """Keeps answers about videos, apart for each tenant."""

    def __init__(self) -> None:
        self._results: OrderedDict[tuple[str, str], VideoResult] = OrderedDict()

    def put(self, result: VideoResult, tenant: str = "") -> VideoResult:
        """Keep an answer; the tenant's oldest leaves where there are too many."""
        self._results[tenant, result.result_id] = result
        own = [key for key in self._results if key[0] == tenant]
        for key in own[:-KEPT]:
            del self._results[key]
        return result

    def get(self, result_id: str, tenant: str = "") -> VideoResult:
        """Fetch an answer.

        Raises:
            NotFoundError: it was never given, given to another tenant, or has left to make room.
        """
        try:
            return self._results[tenant, result_id]
        except KeyError:
            raise NotFoundError(
                f"there is no result {result_id[:40]!r} of a video (the last {KEPT} are kept); call detect_video again"
            ) from None

    def file(self, result_id: str, part: Part, tenant: str = "") -> bytes:
        """Read one of the files of an answer. Slow: call it in a thread.

        Raises:
            NotFoundError: there is no such file, or no more, or it is too large for a message.
        """
        path = getattr(self.get(result_id, tenant).files, part)
        if path is None:
            raise NotFoundError(f"the result {result_id[:40]!r} has no {part} file; call detect_video again")
        try:
            if Path(path).stat().st_size > MAX_FILE_BYTES:
                raise NotFoundError(f"the {part} file is too large for a message; open {path} on this server's machine")
            return Path(path).read_bytes()
        except OSError as error:
            raise NotFoundError(f"the {part} file is gone ({error.strerror}); call detect_video again") from None
