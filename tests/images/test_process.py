"""Programs that write too much, take too long, or do not read."""

import sys
from collections.abc import Sequence

import pytest

from dinox_mcp.images.process import run

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


def python(code: str) -> Sequence[str]:
    return [sys.executable, "-S", "-c", code]


async def test_what_a_program_reads_and_writes() -> None:
    code = "import sys; sys.stdout.write(sys.stdin.read()[::-1]); sys.stderr.write('oh\\n'); sys.exit(3)"
    done = await run(python(code), limit_s=30, max_bytes=10, stdin=b"abc")
    assert (done.output, done.errors, done.status) == (b"cba", "oh", 3)


async def test_without_input_there_is_nothing_to_read() -> None:
    done = await run(python("import sys; print(len(sys.stdin.read()))"), limit_s=30, max_bytes=10)
    assert done.output.strip() == b"0"


async def test_a_program_that_writes_forever_is_ended() -> None:
    done = await run(python("while True: print('x' * 1000)"), limit_s=30, max_bytes=5000)
    assert len(done.output) == 5001
    assert done.status != 0


async def test_a_program_that_floods_its_errors_is_bounded() -> None:
    code = "import sys; sys.stderr.write('x' * 1_000_000); print('done')"
    done = await run(python(code), limit_s=30, max_bytes=10)
    assert done.output.strip() == b"done"
    assert len(done.errors) <= 2000


async def test_a_program_that_does_not_read_is_ended_at_the_limit() -> None:
    with pytest.raises(TimeoutError):
        await run(python("import time; time.sleep(600)"), limit_s=0.5, max_bytes=10, stdin=b"x" * 1_000_000)


async def test_a_program_that_ends_without_reading() -> None:
    done = await run(python("print('no')"), limit_s=30, max_bytes=10, stdin=b"x" * 1_000_000)
    assert done.output.strip() == b"no"


async def test_a_program_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        await run(["/nowhere/at-all"], limit_s=30, max_bytes=10)
