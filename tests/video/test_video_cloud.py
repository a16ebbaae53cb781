"""A video over the cloud backend, whose calls are paid for."""

from pathlib import Path

import pytest

from dinox_mcp.detector import Detector
from dinox_mcp.settings import Settings
from tests.emulator import Emulator

pytestmark = pytest.mark.anyio


async def test_as_many_calls_are_paid_as_were_said_and_none_twice(emulator: Emulator, film: Path) -> None:
    settings = Settings.load(api_key=emulator.key, api_base_url=emulator.url, video_max_calls=4)
    async with Detector(settings) as detector:
        result = await detector.detect_video(str(film), ["car"], save=False)
        assert (result.backend, result.calls.planned, result.calls.made) == ("dinox", 4, 4)
        assert emulator.stats().paid == 4
        again = await detector.detect_video(str(film), ["car"], save=False)
        assert (again.calls.made, again.calls.memory) == (0, 4)
        assert emulator.stats().paid == 4
